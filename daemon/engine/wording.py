"""How words become text, and where words stand when a model does not say. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from daemon.transcript.types import Tokens

#: Start and end of a word or token, ms.
Span = tuple[int, int]
#: The same of many: all starts, all ends.
Columns = tuple[Sequence[int], Sequence[int]]

#: Scripts written without spaces: CJK ideographs and extension A, kana, full-width forms and their signs.
_UNSPACED = re.compile(r"[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef0-9]")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
_ALL_CJK = re.compile(rf"{_CJK.pattern}*")


def join(words: Sequence[str]) -> str:
    """`["yesterday", "was", "星", "期", "一"]` → `yesterday was 星期一`; figures stand close, too."""
    text = ""
    for word in words:
        if text and word and not (_UNSPACED.match(text[-1]) and _UNSPACED.match(word[0])):
            text += " "
        text += word
    return text


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
