"""Stations that recordings were lost with: from several on, a recording is suspected."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dropscribe.errors import EngineDiedError
from dropscribe.pipeline.attempt import Outcome, Work
from dropscribe.pipeline.problem import FaultKind, Problem

#: Lost stations after which a recording is suspected.
MOST_LOSSES = 3


class Losses:
    """Counts, by recording, of the stations that were lost while they worked on it. Owned by one thread."""

    def __init__(self) -> None:
        self._count: dict[Path, int] = {}

    def recognised(self, path: Path) -> None:
        """Note that a station has recognised a recording."""
        self._count.pop(path, None)

    def lost(self, works: Iterable[Work], station: str, reason: str) -> list[Outcome]:
        """Outcomes of attempts that were lost with a station."""
        works = list(works)
        for path in {work.path for work in works}:
            self._count[path] = self._count.get(path, 0) + 1
        said = f"the station {station} was lost while it worked on this recording: {reason}"
        return [
            Outcome(
                work.ticket,
                Problem(
                    EngineDiedError.code,
                    said,
                    "it is tried again at another one",
                    FaultKind.NODE if self._count[work.path] < MOST_LOSSES else FaultKind.ENGINE,
                ),
            )
            for work in works
        ]
