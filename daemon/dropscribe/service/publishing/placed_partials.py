"""Partial texts by place: a file system that hangs holds up the partial texts of its own place only."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path

from dropscribe.config import Settings
from dropscribe.ledger.records import Claim
from dropscribe.pipeline.assembly import Heard
from dropscribe.service.publishing.partial_writer import Partials


def place_of(claim: Claim, settings: Settings) -> Path:
    """Where the transcripts of a recording go: its folder, or the `output_dir` of its profile."""
    profile = settings.profiles.get(claim.profile) or settings.profiles["default"]
    return profile.output_dir or claim.folder


class PlacedPartials:
    """A `Partials`, and so a thread, for each place. `end` may be called by any thread, all else is the main thread's."""

    def __init__(
        self, make: Callable[[Callable[[Path], bool]], Partials], settings: Callable[[], Settings]
    ) -> None:
        """`make` is given which of the files that a killed daemon left are to be removed first."""
        self._make = make
        self._settings = settings
        #: None: what was left in places that are not configured any more. Replaced as a whole: lanes read it.
        self._places: dict[Path | None, Partials] = {}
        #: By job.
        self._shown: dict[int, Partials] = {}

    def start(self) -> None:
        """Begin with removing what a killed daemon left."""
        settings = self._settings()
        targets = {settings.profile(f.profile).output_dir or f.path for f in settings.folders}

        def owner(path: Path) -> Path | None:
            return max(
                (t for t in targets if path.is_relative_to(t)), key=lambda t: len(t.parts), default=None
            )

        def mine(place: Path | None) -> Callable[[Path], bool]:
            return lambda path: owner(path) == place

        self._places = {place: self._make(mine(place)) for place in (None, *targets)}
        for partials in self._places.values():
            partials.start()

    def wants(self, claim: Claim, heard: Heard, now: float) -> bool:
        """Whether `put` would be of use now (monotonic seconds)."""
        return self._of(claim).wants(claim, heard, now)

    def put(self, claim: Claim, texts: tuple[str, ...], heard: Heard, now: float) -> None:
        """Have it written soon; what waits for the same job is replaced. Never waits for the disk."""
        partials = self._shown[claim.job_id] = self._of(claim)
        partials.put(claim, texts, heard, now)

    def drop(self, job_id: int) -> None:
        """The job is not worked on any more: its partial text goes soon. Never waits for the disk."""
        partials = self._shown.pop(job_id, None)
        if partials is not None:
            partials.drop(job_id)

    def end(self, place: Path, jobs: Collection[int], waiting: Callable[[], None]) -> None:
        """The transcripts of these are on disk: when this returns, their partial texts are not. `waiting`: called meanwhile."""
        partials = self._places.get(place)
        if partials is not None:
            partials.end(jobs, waiting)

    def stop(self, timeout_s: float) -> bool:
        """Remove what is there and stop; False when a file system does not answer in time."""
        deadline = time.monotonic() + timeout_s
        for partials in self._places.values():
            partials.ask_to_stop()
        return all([p.join(max(0.0, deadline - time.monotonic())) for p in self._places.values()])  # noqa: C419

    def _of(self, claim: Claim) -> Partials:
        place = place_of(claim, self._settings())
        partials = self._places.get(place)
        if partials is None:
            partials = self._make(lambda _: False)
            self._places = {**self._places, place: partials}
            partials.start()
        return partials
