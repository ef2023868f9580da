"""How words become text, and where words stand when a model does not say. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from daemon.transcript.types import Token

#: Start and end of a word or token, ms.
Span = tuple[int, int]
#: The same of many: all starts, all ends.
Columns = tuple[list[int], list[int]]

#: Scripts written without spaces: CJK ideographs and extension A, kana, full-width forms and their signs.
_UNSPACED = re.compile(r"[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef0-9]")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")


def join(words: Sequence[str]) -> str:
    """`["yesterday", "was", "星", "期", "一"]` → `yesterday was 星期一`; figures stand close, too."""
    text = ""
    for word in words:
        if text and word and not (_UNSPACED.match(text[-1]) and _UNSPACED.match(word[0])):
            text += " "
        text += word
    return text


@lru_cache(1 << 16)
def stands_alone(word: str) -> bool:
    """Whether a token is a whole word for sure, written without spaces: one CJK character."""
    return len(word) == 1 and _CJK.match(word) is not None


def split(text: str) -> list[str]:
    """Words of a text: each CJK character by itself, anything else by spaces."""
    return _CJK.sub(lambda m: f" {m.group()} ", text).split()


def spread(words: Sequence[str], start_ms: int, end_ms: int) -> tuple[Token, ...]:
    """Words placed evenly between two instants, for models that give no positions."""
    step = (end_ms - start_ms) / max(1, len(words))
    return tuple(
        Token(word, start_ms + round(i * step), start_ms + round((i + 1) * step))
        for i, word in enumerate(words)
    )
