"""Tell a renamed recording from a new one of the same content."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Sequence
from pathlib import Path

from dropscribe.config import Settings
from dropscribe.errors import StorageError, UnusableLedgerError
from dropscribe.files import is_there
from dropscribe.intake.types import Arrival
from dropscribe.ledger.interface import Ledger
from dropscribe.service.activity import Activity


class RenameFinder:
    """A recording was renamed or moved to the path of an arrival if all of this holds:

    1. It has the same content, size and time of change (a copy has another time, unless it was asked to keep it).
    2. Its folder is watched, and there: what is missing in a folder that is away was not removed.
    3. There is nothing at its path any more.

    Thread-safe.
    """

    def __init__(
        self, ledger: Ledger, settings: Callable[[], Settings], is_watched: Callable[[Path], bool]
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._is_watched = is_watched

    def may_be_renamed(self, hashed: Sequence[tuple[Arrival, str]]) -> list[bool]:
        """Whether 1. holds for each of these arrivals, which are given with their SHA-256. Waits for the ledger alone."""
        settings = self._settings()
        follows = {f.path: settings.profile(f.profile).follow_renames for f in settings.folders}
        default = settings.profile("default").follow_renames
        asked = [i for i, (arrival, _) in enumerate(hashed) if follows.get(arrival.folder, default)]
        answers = [False] * len(hashed)
        if asked:
            # Without an answer they count as new recordings, which are transcribed by reference.
            with contextlib.suppress(StorageError, UnusableLedgerError):
                # One question for all: hardly ever is one of them on record.
                contents = [(hashed[i][0].signature, hashed[i][1]) for i in asked]
                for i, there in zip(asked, self._ledger.keeping.on_record(contents), strict=True):
                    answers[i] = there
        return answers

    def renamed_from(self, arrival: Arrival, sha256: str, activity: Activity) -> int | None:
        """Number on record of the recording that was renamed to the path of an arrival; None for a new one.

        Waits for file systems, for one that `may_be_renamed`.
        """
        watched = {f.path for f in self._settings().folders}
        with contextlib.suppress(StorageError, UnusableLedgerError, OSError):
            return self._find(arrival, sha256, watched, activity)
        return None

    def _find(
        self, arrival: Arrival, sha256: str, watched: Container[Path], activity: Activity
    ) -> int | None:
        for one in self._ledger.keeping.rename_candidates(arrival.path, arrival.signature, sha256):
            if one.folder not in watched or not self._is_watched(one.folder):
                continue
            with activity.storage("look for", one.folder, one.path):
                gone = not is_there(one.path, one.folder)
            if gone:
                return one.recording_id
        return None
