"""Write spoken numbers in figures (inverse text normalisation).

Pure. Rules for each language find numbers in the text of the tokens and give their form in figures. A form is taken
only if it begins and ends at token borders and a second reading of the spoken and the written number gives the same
value, so that no number and no other word is lost.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple, Protocol

from dropscribe.transcript.written.numerals import chinese, english
from dropscribe.transcript.written.numerals.forms import Form
from dropscribe.transcript.written.types import Replacement

#: Texts without any of these have no number to write.
_CHINESE_NUMERAL = re.compile(f"[{chinese.NUMERALS}]")
#: Stands for a mark between tokens; no number reaches across it.
_BORDER = "\n"
_PIECE_START = "\u2581"
_CACHED_TOKENS = 1 << 14
_CACHED_NUMBERS = 1 << 14


class _Language(Protocol):
    """The rules of a language: a module of `numerals`."""

    def forms(self, text: str) -> list[Form]: ...
    def keeps_value(self, said: str, written: str) -> bool: ...
    def __hash__(self) -> int: ...


class _Text(NamedTuple):
    """Text of tokens, in lower case, and where each begins in it."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


def replacements(texts: Sequence[str], marks: bytes = b"") -> tuple[Replacement, ...]:
    """Numbers among the tokens with texts `texts`, each as the tokens it replaces and its form in figures, in order.

    `marks`: codes of the marks after the tokens (0: none), or empty; no number reaches across a mark.
    """
    if isinstance(texts, str):
        if _CHINESE_NUMERAL.search(texts) is None:
            return ()
        # Letter by letter: there are no English words.
        return _taken(_of_characters(texts, marks), chinese)
    pieces = list(map(_piece, texts))
    joined = "".join(pieces)
    found: tuple[Replacement, ...] = ()
    if _CHINESE_NUMERAL.search(joined) is not None:
        found = _taken(_of_pieces(pieces, marks), chinese)
    if joined.isascii() or " " in joined:
        found += _taken(_of_pieces(pieces, marks), english)
        found = tuple(sorted(found, key=lambda r: r.first))
    return found


def _of_characters(texts: str, marks: bytes) -> _Text:
    if not any(marks):
        return _Text(texts, range(len(texts)), range(1, len(texts) + 1))
    return _of_pieces(texts, marks)


def _of_pieces(pieces: Sequence[str], marks: bytes) -> _Text:
    if not any(marks):
        return _located(pieces, "".join(pieces))
    borders = [_BORDER if mark else "" for mark in marks[: len(pieces)]]
    borders += [""] * (len(pieces) - len(borders))
    marked = [p + b for p, b in zip(pieces, borders, strict=True)]
    return _located(marked, "".join(marked))


def _located(pieces: Sequence[str], text: str) -> _Text:
    until = list(accumulate(map(len, pieces)))
    ends = [e - len(p) + len(p.rstrip()) for e, p in zip(until, pieces, strict=True)]
    return _Text(text, [0, *until[:-1]], ends)


@lru_cache(_CACHED_TOKENS)
def _piece(token: str) -> str:
    """Text of a token in lower case, with the space that separates it from the next word."""
    core = token.removeprefix(_PIECE_START).strip()
    if core.endswith("@@"):
        return core[:-2].lower()
    core = core.lower().replace("\u2019", "'")
    if "-" in core and english.WORDS.issuperset(core.split("-")):
        core = core.replace("-", " ")
    if not core:
        return ""
    return f"{core} " if not "\u3040" <= core[-1] <= "\ufaff" else core


def _taken(text: _Text, language: _Language) -> tuple[Replacement, ...]:
    found = []
    for form in language.forms(text.text):
        first = bisect_right(text.starts, form.start) - 1
        # Empty tokens before the number are not part of it, those inside are.
        last = bisect_right(text.starts, form.end - 1) - 1
        if text.starts[first] != form.start or text.ends[last] != form.end:
            continue
        if _keeps_value(language, text.text[form.start : form.end], form.text):
            found.append(Replacement(first, last + 1, form.text))
    return tuple(found)


@lru_cache(_CACHED_NUMBERS)
def _keeps_value(language: _Language, said: str, written: str) -> bool:
    return language.keeps_value(said, written)
