"""One writer of partial texts per output location, so that a file system that hangs delays only its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path

from dropscribe.config import Settings
from dropscribe.ledger.records import Claim
from dropscribe.pipeline.assembly import Heard
from dropscribe.service.publishing.partial_writer import Partials


def place_of(claim: Claim, settings: Settings) -> Path:
    """Output location of a recording: its folder, or the `output_dir` of its profile."""
    profile = settings.profiles.get(claim.profile) or settings.profiles["default"]
    return profile.output_dir or claim.folder


class PlacedPartials:
    """A `Partials`, hence a thread, per output location. `end`: any thread; all other methods: main thread only."""

    def __init__(
        self, make: Callable[[Callable[[Path], bool]], Partials], settings: Callable[[], Settings]
    ) -> None:
        """`make` creates a `Partials`; its argument is the `mine` of `Partials`."""
        self._make = make
        self._settings = settings
        #: By output location; None: leftover files outside all configured ones. Copied on write, because lanes read it.
        self._places: dict[Path | None, Partials] = {}
        #: By job with a partial text.
        self._shown: dict[int, Partials] = {}

    def start(self) -> None:
        """Start the threads, which first remove the files that a killed daemon left."""
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
        """See `Partials.wants`."""
        return self._of(claim).wants(claim, heard, now)

    def put(self, claim: Claim, texts: tuple[str, ...], heard: Heard, now: float) -> None:
        """See `Partials.put`."""
        partials = self._shown[claim.job_id] = self._of(claim)
        partials.put(claim, texts, heard, now)

    def drop(self, job_id: int) -> None:
        """See `Partials.drop`."""
        partials = self._shown.pop(job_id, None)
        if partials is not None:
            partials.drop(job_id)

    def end(self, place: Path, jobs: Collection[int], waiting: Callable[[], None]) -> None:
        """See `Partials.end`; all `jobs` must have the output location `place`."""
        partials = self._places.get(place)
        if partials is not None:
            partials.end(jobs, waiting)

    def stop(self, timeout_s: float) -> bool:
        """Remove all partial texts and end the threads; False if a file system does not answer in time."""
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
