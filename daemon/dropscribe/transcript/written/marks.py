"""Punctuation marks of a transcript: a code for the mark after each token, so that marks and times stay together."""

from __future__ import annotations

NONE = 0
COMMA = 1
FULL_STOP = 2
QUESTION = 3
#: Between the items of an enumeration.
PAUSE = 4

#: The mark of each code, as Chinese has it.
WIDE = ("", "，", "。", "？", "、")
#: The same after a word of a script that uses spaces.
NARROW = ("", ",", ".", "?", ",")
#: Codes that end a sentence.
ENDS = frozenset({FULL_STOP, QUESTION})
