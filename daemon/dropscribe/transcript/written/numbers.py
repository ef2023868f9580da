"""Write spoken numbers in figures (inverse text normalisation).

Pure. Rules for each language find numbers in the text of the tokens and give their form in figures. A form is taken
only if it begins and ends at token borders and a second reading of the spoken and the written number gives the same
value, so that no number and no other word is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import Protocol

from dropscribe.transcript.written.numerals import chinese, english
from dropscribe.transcript.written.numerals.forms import Form
from dropscribe.transcript.written.token_text import Bounds, piece
from dropscribe.transcript.written.types import Replacement

#: Stands for a mark between tokens; no number reaches across it.
_BORDER = "\n"
#: English numerals as `_worded` returns them.
_ENGLISH_PIECES = frozenset(f"{word} " for word in english.WORDS)
_CACHED_NUMBERS = 1 << 14
_CACHED_TOKENS = 1 << 14


class _Language(Protocol):
    """The rules of a language: a module of `numerals`."""

    def forms(self, text: str) -> list[Form]: ...
    def keeps_value(self, said: str, written: str) -> bool: ...
    def __hash__(self) -> int: ...


def replacements(texts: Sequence[str], marks: bytes = b"") -> tuple[Replacement, ...]:
    """Numbers among the tokens with texts `texts`, each as the tokens it replaces and its form in figures, in order.

    `marks`: codes of the marks after the tokens (0: none), or empty; no number reaches across a mark.
    """
    pieces: Sequence[str] = texts if isinstance(texts, str) else list(map(_worded, texts))
    text = "".join(pieces)
    languages: list[_Language] = [chinese] if chinese.NUMERAL.search(text) else []
    # Single characters are no English words.
    if not isinstance(texts, str) and _may_have_english(texts, pieces):
        languages.append(english)
    if not languages:
        return ()
    if any(marks):
        pieces = _with_borders(pieces, marks)
        text = "".join(pieces)
    found = [(form, language) for language in languages for form in language.forms(text)]
    if not found:
        return ()
    found.sort(key=lambda pair: pair[0].start)
    return tuple(_taken(text, pieces, found))


@lru_cache(_CACHED_TOKENS)
def _worded(token: str) -> str:
    """Text of a token, with the numerals of `twenty-three` apart."""
    word = piece(token)
    return (
        word.replace("-", " ") if "-" in word and english.WORDS.issuperset(word.strip().split("-")) else word
    )


def _may_have_english(texts: Sequence[str], pieces: Sequence[str]) -> bool:
    """False if no piece is an English numeral; words in parts and with hyphens are not looked at one by one."""
    return not _ENGLISH_PIECES.isdisjoint(pieces) or any(map("".join(texts).__contains__, ("@@", "-")))


def _with_borders(pieces: Sequence[str], marks: bytes) -> list[str]:
    """The pieces, those before a mark with a border at their end."""
    borders = [_BORDER if mark else "" for mark in marks]
    return [piece + border for piece, border in zip_longest(pieces, borders[: len(pieces)], fillvalue="")]


def _taken(
    text: str, pieces: Sequence[str], found: Sequence[tuple[Form, _Language]]
) -> Iterator[Replacement]:
    """Replacements of the forms that begin and end at the bounds of pieces and keep their value."""
    bounds = Bounds(pieces)
    for form, language in found:
        tokens = bounds.tokens(form.start, form.end)
        if tokens is not None and _keeps_value(language, text[form.start : form.end], form.text):
            yield Replacement(*tokens, form.text)


@lru_cache(_CACHED_NUMBERS)
def _keeps_value(language: _Language, said: str, written: str) -> bool:
    return language.keeps_value(said, written)
