"""Join words to text, and place words for models without timestamps. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from dropscribe.transcript.types import Tokens

#: Start and end of a word or token, ms.
Span = tuple[int, int]
#: Spans in columns: all starts, all ends.
Columns = tuple[Sequence[int], Sequence[int]]

#: Characters that are words on their own: CJK ideographs, extensions, compatibility forms, kana, U+3005 to U+3007.
CJK = r"[\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]"
_CJK = re.compile(CJK)
_ALL_CJK = re.compile(f"{CJK}*")
#: Characters written without spaces around them: those of `_CJK`, full-width forms and CJK punctuation.
_UNSPACED = re.compile(rf"{CJK}|[\u3000-\u303f\uff00-\uffef]")
#: Words in the cache.
_CACHED_WORDS = 1 << 14


def is_cjk(character: str) -> bool:
    """True if a character is a word on its own."""
    return _CJK.match(character) is not None


def join(words: Sequence[str]) -> str:
    """Join words to text: `["yesterday", "was", "星", "期", "一"]` → `yesterday was 星期一`.

    Words are separated by spaces, except two CJK characters, two numbers, or a CJK character and a word that has a
    digit or consists of symbols (`2024年`, `用5g网络`).
    """
    parts: list[str] = []
    before = _NO_EDGES
    for word in filter(None, words):
        edges = _edges(word)
        if parts and not _touch(before, edges):
            parts.append(" ")
        parts.append(word)
        before = edges
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class _Edges:
    """Properties of a word that determine the spaces around it."""

    begins_unspaced: bool
    ends_unspaced: bool
    number: bool  #: digits only
    close: bool  #: has a digit, or only symbols: no space to a CJK character


_NO_EDGES = _Edges(begins_unspaced=False, ends_unspaced=False, number=False, close=False)


@lru_cache(_CACHED_WORDS)
def _edges(word: str) -> _Edges:
    return _Edges(
        _UNSPACED.match(word[0]) is not None,
        _UNSPACED.match(word[-1]) is not None,
        word.isdecimal(),
        any(map(str.isdecimal, word)) or not any(map(str.isalnum, word)),
    )


def _touch(before: _Edges, after: _Edges) -> bool:
    """True if two words are written without a space between them."""
    if before.ends_unspaced:
        return after.begins_unspaced or after.close
    if after.begins_unspaced:
        return before.close
    return before.number and after.number


def all_cjk(text: str) -> bool:
    """True if every character is a word on its own."""
    return _ALL_CJK.fullmatch(text) is not None


def unspaced(words: Sequence[str]) -> str | None:
    """Text of words that are all single CJK characters and need no joining; None if any is not."""
    if isinstance(words, str):
        return words if all_cjk(words) else None
    text = "".join(words)
    return text if len(text) == len(words) and all(words) and all_cjk(text) else None


def split(text: str) -> list[str]:
    """Split a text into words: each CJK character is a word, other words are separated by spaces."""
    return _CJK.sub(lambda m: f" {m.group()} ", text).split()


def spread(words: Sequence[str], start_ms: int, end_ms: int, confidence: bytes = b"") -> Tokens:
    """Spread words evenly between two positions, for models without timestamps."""
    step = (end_ms - start_ms) / max(1, len(words))
    bounds = [start_ms + round(i * step) for i in range(len(words) + 1)]
    return Tokens(words, bounds[:-1], bounds[1:], confidence)
