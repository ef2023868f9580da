"""How settings say what is kept and for how long: `keep`, `move:done`, `delete after 30 d`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

#: What is never removed.
KEEP = "keep"
_UNIT_S = {"h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}
_DELETE = re.compile(r"delete after (\d{1,6}(?:\.\d{1,3})?) ?([hdw])")
_MOVE = re.compile(r"move: ?(\S.*)", re.DOTALL)


class Fate(Enum):
    """What becomes of a recording after it was transcribed."""

    KEEP = "keep"
    MOVE = "move"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class AfterDone:
    """What becomes of a recording `after_s` seconds after its job was done. `directory`: as written, of MOVE."""

    fate: Fate
    directory: Path | None = None
    after_s: float = 0.0


def after_done(text: str) -> AfterDone:
    """Parse `keep`, `move:DIR` or `delete after 30 d`. Raises ValueError for anything else."""
    if text == KEEP:
        return AfterDone(Fate.KEEP)
    moved = _MOVE.fullmatch(text)
    if moved:
        return AfterDone(Fate.MOVE, Path(moved[1]))
    after_s = _delete_after(text)
    if after_s is None:
        raise ValueError(
            f"'{text}' is not one of: keep, move:DIR, delete after 30 d (h: hours, d: days, w: weeks)"
        )
    return AfterDone(Fate.DELETE, after_s=after_s)


def kept_for(text: str) -> float | None:
    """Parse `keep` (None) or `delete after 30 d`, seconds. Raises ValueError for anything else."""
    if text == KEEP:
        return None
    after_s = _delete_after(text)
    if after_s is None:
        raise ValueError(f"'{text}' is not one of: keep, delete after 30 d (h: hours, d: days, w: weeks)")
    return after_s


def _delete_after(text: str) -> float | None:
    found = _DELETE.fullmatch(text)
    return None if found is None else float(found[1]) * _UNIT_S[found[2]]
