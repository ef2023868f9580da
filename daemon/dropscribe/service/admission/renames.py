"""Tell a renamed recording from a new one of the same content."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
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

    def __call__(self, arrival: Arrival, sha256: str, activity: Activity) -> int | None:
        """Number on record of the recording that was renamed to this path; None if it is a new one."""
        settings = self._settings()
        watched = {f.path: f.profile for f in settings.folders}
        if not settings.profile(watched.get(arrival.folder, "default")).follow_renames:
            return None
        # Without an answer it counts as a new recording, which is transcribed by reference.
        with contextlib.suppress(StorageError, UnusableLedgerError, OSError):
            candidates = self._ledger.keeping.rename_candidates(arrival.path, arrival.signature, sha256)
            for one in candidates:
                if one.folder not in watched or not self._is_watched(one.folder):
                    continue
                with activity.storage("look for", one.folder, one.path):
                    gone = not is_there(one.path, one.folder)
                if gone:
                    return one.recording_id
        return None
