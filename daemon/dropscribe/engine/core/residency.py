"""Decide which models to unload, so that another one fits into the memory for models. Pure policy: no clock, no torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

#: Time for which a model that was just loaded is kept although nothing has used it yet, seconds: its recordings may be on
#: their way.
UNUSED_KEPT_S = 60.0


@dataclass(frozen=True, slots=True)
class Part:
    """A model in its role (see `dropscribe.transcript.roles`). Recordings that name the same one share it."""

    role: str
    name: str


@dataclass(frozen=True, slots=True)
class Resident:
    """A loaded model."""

    part: Part
    size: int  #: of its weights, bytes
    streams: int  #: recordings in the engine that use it
    used_at: float  #: end of its latest use, or of its loading, monotonic seconds
    was_used: bool  #: since it was loaded

    def may_go(self, now: float) -> bool:
        """True if it may be unloaded for another model; `now`: monotonic seconds."""
        return self.streams == 0 and (self.was_used or now - self.used_at >= UNUSED_KEPT_S)


def room_for(
    size: int, residents: Iterable[Resident], keep: Collection[Part], budget: int, now: float
) -> tuple[Part, ...] | None:
    """Models to unload before one of `size` bytes is loaded; None while there is no room.

    The least recently used ones go first, none with recordings in the engine, none in `keep`, and no more than need be.
    `budget`: bytes for all models together.
    """
    residents = list(residents)
    excess = size + sum(r.size for r in residents) - budget
    idle = [r for r in residents if r.part not in keep and r.may_go(now) and r.size > 0]
    chosen: list[Resident] = []
    for one in sorted(idle, key=lambda r: r.used_at):
        if excess <= 0:
            break
        chosen.append(one)
        excess -= one.size
    if excess > 0:
        return None
    for one in reversed(chosen.copy()):
        # A large one may have made the unloading of smaller ones needless.
        if excess + one.size <= 0:
            chosen.remove(one)
            excess += one.size
    return tuple(r.part for r in chosen)
