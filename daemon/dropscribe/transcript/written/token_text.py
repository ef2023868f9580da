"""Text of tokens, for rules that look for words in it, and the tokens that a part of the text consists of. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

_PIECE_START = "\u2581"
_CACHED_TOKENS = 1 << 14


@lru_cache(_CACHED_TOKENS)
def piece(token: str) -> str:
    """Text of a token in lower case; a word of a script that uses spaces is followed by one."""
    core = token.removeprefix(_PIECE_START).strip()
    if core.endswith("@@"):
        return core[:-2].lower()
    core = core.lower().replace("\u2019", "'")
    if not core:
        return ""
    return f"{core} " if not "\u3040" <= core[-1] <= "\ufaff" else core


class Bounds:
    """Where each piece ends in the text that they make together. Space at the end of a piece belongs to no token."""

    __slots__ = ("_ends", "_pieces")

    def __init__(self, pieces: Sequence[str]) -> None:
        self._pieces = pieces
        self._ends = list(accumulate(map(len, pieces)))

    def tokens(self, start: int, end: int) -> tuple[int, int] | None:
        """First token, and the one after the last, of the characters `[start, end)`; None if these divide a token."""
        # Empty pieces before the first are no part of it.
        first = bisect_right(self._ends, start)
        last = bisect_right(self._ends, end - 1)
        begins = self._ends[last] - len(self._pieces[last])
        if self._ends[first] - len(self._pieces[first]) != start:
            return None
        return (first, last + 1) if begins + len(self._pieces[last].rstrip()) == end else None
