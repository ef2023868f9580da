"""Words of Chinese text, which has no spaces. Words are those of jieba, by its port `rjieba`."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

#: Half a character, which has no UTF-8 form and cannot be passed on.
_SURROGATE = re.compile("[\ud800-\udfff]")
#: One thread at a time reads the dictionary (0.2 s at the first text).
_LOADING = threading.Lock()


@lru_cache(64)
def word_lengths(text: str) -> Sequence[int]:
    """Lengths of the words, marks and spaces of a text, in order; text that is not Chinese may count letter by letter.

    Cached, because several files of a recording divide the same text.
    """
    lengths = tuple(map(len, _jieba().cut(_SURROGATE.sub("?", text), True)))
    # Each character belongs to one word; otherwise the lengths would mean nothing.
    return lengths if sum(lengths) == len(text) else (1,) * len(text)


def _jieba() -> Any:
    with _LOADING:
        return _loaded()


@cache
def _loaded() -> Any:
    import rjieba  # noqa: PLC0415 - reads its dictionary

    return rjieba.Jieba()
