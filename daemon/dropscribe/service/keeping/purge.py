"""Purge a recording: its files, its rows, its words in the search index, and the log of the database.

The files go first, then the rows that say which files are ours: a kill in between leaves something to purge again.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dropscribe.config import Settings
from dropscribe.errors import OutputNameError, StaleLeaseError, StorageError
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.keeping import PurgePlan
from dropscribe.ledger.records import JobState, OwnedOutput
from dropscribe.service.publishing.output_plan import root_over, sizes_of
from dropscribe.transcript.placing.publish import sweep, withdraw
from dropscribe.transcript.placing.standing import standing_at

#: Pages of the search index rewritten in one transaction: it locks the database for less than 20 ms.
PAGES = 50
#: Longest wait for readers that keep the log of the database, seconds, and between two attempts.
LOG_WAIT_S = 10.0
LOG_RETRY_S = 0.2
#: Endings of copies of the database that other commands and upgrades leave beside it.
_COPIES = (".backup-*", ".before-restore-*", ".before-repair-*", ".damaged-*")


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of a recording besides the database."""

    ours: tuple[Path, ...]  #: files that are as dropscribe wrote them
    changed: tuple[Path, ...]  #: files at their paths that are not: they stay
    recordings: tuple[Path, ...]  #: the recording, where it is now; it stays


@dataclass(frozen=True, slots=True)
class Purged:
    """The result of a purge. `log_cut` False: a reader keeps the log of the database, in which text may be left."""

    log_cut: bool


def find(plans: Sequence[PurgePlan], settings: Settings) -> Found:
    """Look for the files of these recordings. Raises OSError."""
    ours: list[Path] = []
    changed: list[Path] = []
    for path, rows in _by_path(plans).items():
        found = standing_at(path, root_over(path, settings), sizes_of(rows))
        if found is not None:
            (ours if found in sizes_of(rows) else changed).append(path)
    recordings = [p.departed or p.path for p in plans if p.departure != "deleted"]
    there = dict.fromkeys(path for path in recordings if path.exists())
    return Found(tuple(ours), tuple(changed), tuple(there))


def purge(ledger: Ledger, plans: Sequence[PurgePlan], settings: Settings) -> Purged:
    """Purge these recordings. Raises StorageError; what was not done then is done by the next call."""
    keeping = ledger.keeping
    now = time.time()
    for plan in plans:
        for job in plan.jobs:
            if job.state is JobState.QUEUED:
                # A daemon may have ended it since.
                with contextlib.suppress(StaleLeaseError):
                    ledger.cancel(job.job_id, now, "it is purged")
    # A daemon may have written files since.
    again = keeping.purge_plans(plans[0].jobs[0].job_id)
    current = [p for p in again if p.recording_id in {q.recording_id for q in plans}]
    _remove_files(current, settings)
    keeping.purge([p.recording_id for p in current], time.time())
    while keeping.merge_search(PAGES):
        pass
    deadline = time.monotonic() + LOG_WAIT_S
    while not (cut := keeping.shrink_log()) and time.monotonic() < deadline:
        time.sleep(LOG_RETRY_S)
    return Purged(cut)


def copies(ledger: Ledger, location: DatabaseLocation) -> list[Path]:
    """Copies of the database that may have what was purged: backups on record that are there, and those beside it."""
    # One that is missing stays on record: its disk may be away.
    on_record = [path for path, _ in ledger.keeping.backups() if os.path.lexists(path)]
    beside = [p for ending in _COPIES for p in location.directory.glob(location.file.name + ending)]
    return sorted({*beside, *on_record})


def _remove_files(plans: Sequence[PurgePlan], settings: Settings) -> None:
    by_path = _by_path(plans)
    for path, rows in by_path.items():
        withdraw(path, sizes_of(rows), root_over(path, settings))
    for directory in dict.fromkeys(path.parent for path in by_path):
        # Parts of files that a killed daemon left.
        with contextlib.suppress(StorageError, OutputNameError):
            sweep(directory, root_over(directory, settings))


def _by_path(plans: Sequence[PurgePlan]) -> dict[Path, list[OwnedOutput]]:
    found: dict[Path, list[OwnedOutput]] = {}
    for plan in plans:
        for file in plan.files:
            found.setdefault(file.path, []).append(file)
    return found
