"""How words become text, and where words stand when a model does not say. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from dropscribe.transcript.types import Tokens

#: Start and end of a word or token, ms.
Span = tuple[int, int]
#: The same of many: all starts, all ends.
Columns = tuple[Sequence[int], Sequence[int]]

#: Letters that are words by themselves: CJK ideographs with their extensions and compatibility forms, kana, U+3005 to U+3007.
_CJK = re.compile(r"[\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
_ALL_CJK = re.compile(rf"{_CJK.pattern}*")
#: Characters written without a space to their neighbour: the above, full-width forms and CJK signs.
_UNSPACED = re.compile(rf"{_CJK.pattern}|[\u3000-\u303f\uff00-\uffef]")
_WORDS_KEPT = 1 << 14


def is_cjk(character: str) -> bool:
    """Whether a character is a word by itself."""
    return _CJK.match(character) is not None


def join(words: Sequence[str]) -> str:
    """`["yesterday", "was", "星", "期", "一"]` → `yesterday was 星期一`.

    A space stands between words, but not between two CJK characters, two numbers, or a CJK character and a word with a digit in
    it or a sign (`2024年`, `用5g网络`).
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
    """What decides about the spaces round a word."""

    begins_unspaced: bool
    ends_unspaced: bool
    number: bool  #: digits only
    close: bool  #: holds a digit, or nothing but signs: stands close to CJK characters


_NO_EDGES = _Edges(begins_unspaced=False, ends_unspaced=False, number=False, close=False)


@lru_cache(_WORDS_KEPT)
def _edges(word: str) -> _Edges:
    return _Edges(
        _UNSPACED.match(word[0]) is not None,
        _UNSPACED.match(word[-1]) is not None,
        word.isdecimal(),
        any(map(str.isdecimal, word)) or not any(map(str.isalnum, word)),
    )


def _touch(before: _Edges, after: _Edges) -> bool:
    """Whether no space stands between two words."""
    if before.ends_unspaced:
        return after.begins_unspaced or after.close
    if after.begins_unspaced:
        return before.close
    return before.number and after.number


def unspaced(words: Sequence[str]) -> str | None:
    """The text of words that are each one CJK character, and so whole for sure; None where any is not."""
    text = "".join(words)
    return text if len(text) == len(words) and all(words) and _ALL_CJK.fullmatch(text) else None


def split(text: str) -> list[str]:
    """Words of a text: each CJK character by itself, anything else by spaces."""
    return _CJK.sub(lambda m: f" {m.group()} ", text).split()


def spread(words: Sequence[str], start_ms: int, end_ms: int) -> Tokens:
    """Words placed evenly between two instants, for models that give no positions."""
    step = (end_ms - start_ms) / max(1, len(words))
    bounds = [start_ms + round(i * step) for i in range(len(words) + 1)]
    return Tokens(words, bounds[:-1], bounds[1:])
