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

    def __call__(
        self, folder: Path, hashed: Sequence[tuple[Arrival, str]], activity: Activity
    ) -> list[int | None]:
        """Number on record of the recording that was renamed to the path of each arrival of `folder`; None for a new one.

        `hashed`: the arrivals with their SHA-256.
        """
        found: list[int | None] = [None] * len(hashed)
        settings = self._settings()
        watched = {f.path: f.profile for f in settings.folders}
        if not hashed or not settings.profile(watched.get(folder, "default")).follow_renames:
            return found
        # Without an answer they count as new recordings, which are transcribed by reference.
        with contextlib.suppress(StorageError, UnusableLedgerError):
            # One question for all: hardly ever is one of them on record.
            known = self._ledger.keeping.on_record([(a.signature, sha256) for a, sha256 in hashed])
            for i, (arrival, sha256) in enumerate(hashed):
                if known[i]:
                    with contextlib.suppress(OSError):
                        found[i] = self._renamed_from(arrival, sha256, watched, activity)
        return found

    def _renamed_from(
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
