"""Records of this room."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Replacement:
    """Tokens `[first, end)` of a run of tokens are written as `text`; an empty text leaves them out.

    `text` has no space at either end; the caller separates it from its neighbours as it does words. A mark after a
    token before the last of the replaced ones has no place any more; a mark after the last one follows `text`.
    """

    first: int
    end: int
    text: str
