"""Borders of words in Chinese text, which has no spaces. Words are those of jieba, by its port `rjieba`."""

from __future__ import annotations

import re
import threading
from collections.abc import Set as AbstractSet
from functools import cache
from itertools import accumulate
from typing import Any

#: Half a character, which has no UTF-8 form and cannot be passed on.
_SURROGATE = re.compile("[\ud800-\udfff]")
#: One thread at a time reads the dictionary (0.2 s at the first text).
_LOADING = threading.Lock()


def word_ends(text: str) -> AbstractSet[int]:
    """Offsets at which a word, a mark or a space ends. Text that is not Chinese may end a word at any letter."""
    ends = list(accumulate(map(len, _jieba().cut(_SURROGATE.sub("?", text), True))))
    # Each character belongs to one word; otherwise the offsets would mean nothing.
    return set(ends) if ends and ends[-1] == len(text) else range(1, len(text) + 1)  # type: ignore[return-value]


def _jieba() -> Any:
    with _LOADING:
        return _loaded()


@cache
def _loaded() -> Any:
    import rjieba  # noqa: PLC0415 - reads its dictionary

    return rjieba.Jieba()
