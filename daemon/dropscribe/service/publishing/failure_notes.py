"""Keep a note `NAME.failed.txt` where the transcript of a failed or held recording would be.

The ledger decides which notes there are to be: a recording gets one while its newest job has failed, or waits because a file
could not be read or written. This module makes the folders agree with it: after each end of a job, at the start, and from
time to time for all recordings that have a note. It so follows whatever happens between a job and its note, a kill
included. A note that a person deletes is not written again. One that cannot be written is left out.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path

from dropscribe import logs
from dropscribe.config import Settings
from dropscribe.errors import DropscribeError, StorageError, UnusableLedgerError
from dropscribe.escapes import readable
from dropscribe.files import is_there
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import FAILED_NOTE, Claim, JobState, NotedRecording, OutputIntent, OwnedOutput
from dropscribe.service.activity import Activities, Activity
from dropscribe.service.publishing.directory_cache import DirectoryCache
from dropscribe.service.publishing.group_facts import GroupFacts, Places
from dropscribe.service.publishing.output_plan import (
    directory_state,
    intended_by,
    root_over,
    sizes_of,
    standing,
)
from dropscribe.service.storage.folder_pool import FolderPool
from dropscribe.transcript import naming
from dropscribe.transcript.placing.publish import PendingFile, publish, sweep, withdraw

#: Interval of checking the recordings that have a note, seconds, and most of them at a time.
CHECK_S = 10.0
CHECKED = 200
#: Age of failures that get a note at the start, seconds: a daemon that was killed may not have written it.
RECENT_S = 24 * 3600.0
#: Most recordings handled together.
BATCH = 64
#: Most recordings whose missing note is remembered as logged: they may be gone, which nothing says.
REMEMBERED = 1000
#: The item that stands for finding the notes on record, at the start.
_RECORD = Path()


def note_text(noted: NotedRecording) -> bytes:
    """Content of a note: what, reason and remedy in one line each."""
    what = "was not transcribed" if noted.state is JobState.FAILED else "waits"
    lines = [f"{readable(noted.path.name)} {what} (dropscribe, job {noted.job_id})."]
    lines += [
        f"{title}: {' '.join(text.split())}"
        for title, text in (("Reason", noted.reason), ("What to do", noted.remedy))
        if text
    ]
    lines.append("This file goes when the recording is transcribed, replaced or removed.")
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")


class FailureNotes:
    """All methods are called by the main thread and do not block, except `stop`."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Callable[[], Settings],
        died: Callable[[BaseException], None],
        *,
        activities: Activities,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`died` is called with the exception that ended a thread. `clock`: monotonic seconds, `wall`: epoch seconds."""
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._wall = wall
        self._log = logs.get("service")
        self._lanes: FolderPool[Path] = FolderPool(
            "failure notes", self._run, threads=1, batch=BATCH, activities=activities, died=died
        )
        self._lock = threading.Lock()
        #: Set while the database refuses, which is logged once.
        self._waits = threading.Event()
        #: Recordings with a note on record, by watched folder; those checked last at the end.
        self._noted: dict[Path, dict[Path, None]] = {}
        #: Recordings whose note could not be written, which is logged once; the newest `REMEMBERED`.
        self._refused: dict[Path, None] = {}
        self._check_at = clock() + CHECK_S

    def start(self) -> None:
        self._lanes.start()
        self._lanes.put(_RECORD, _RECORD)

    def take(self, claim: Claim, *, done: bool) -> None:
        """Update the note of a recording whose job has ended or was requeued."""
        with self._lock:
            noted = self._noted.setdefault(claim.folder, {})
            if done and claim.path not in noted:
                return
            # Before the ledger is read, so that a later end of the job is not missed.
            noted[claim.path] = None
        self._lanes.put(claim.folder, claim.path)

    def tend(self) -> None:
        """Check recordings that have a note if due; call it periodically."""
        self._lanes.tend()
        now = self._clock()
        if now < self._check_at:
            return
        self._check_at = now + CHECK_S
        with self._lock:
            for folder, recordings in self._noted.items():
                for path in list(recordings)[:CHECKED]:
                    recordings[path] = recordings.pop(path)
                    self._lanes.put(folder, path)

    def stop(self, timeout_s: float) -> bool:
        """Handle what is queued, then end the threads; False if one is blocked by a file system."""
        return self._lanes.finish(timeout_s)

    def _run(self, folder: Path, paths: list[Path], activity: Activity) -> None:
        try:
            if folder == _RECORD:
                due = self._ledger.notes_due(self._wall() - RECENT_S)
                some = [due[i : i + BATCH] for i in range(0, len(due), BATCH)]
                for noted in itertools.chain.from_iterable(map(self._ledger.notes_of, some)):
                    with self._lock:
                        self._noted.setdefault(noted.folder, {})[noted.path] = None
                    self._lanes.put(noted.folder, noted.path)
                self._waits.clear()
                return
            with self._lock:
                self._noted.setdefault(folder, {}).update(dict.fromkeys(paths))
            for noted in self._ledger.notes_of(list(dict.fromkeys(paths))):
                self._update(noted, activity)
            self._waits.clear()
        except StorageError as e:
            # The next check does it. A server may be away for hours.
            if not self._waits.is_set():
                self._waits.set()
                logs.problem(self._log, logs.Action.STORAGE, f"notes of failed jobs wait: {e}")
        except UnusableLedgerError:
            return  # The main thread stops the daemon.

    def _update(self, noted: NotedRecording, activity: Activity) -> None:
        left = True
        try:
            with activity.storage("write a note", noted.folder, noted.path):
                left = self._write(noted) if self._is_wanted(noted) else self._remove(noted.notes)
        except UnusableLedgerError:
            raise
        except (DropscribeError, OSError) as e:
            # The log and the history have the reason of the job; its note is a convenience.
            left = bool(noted.notes)
            with self._lock:
                told = noted.path in self._refused
                self._refused[noted.path] = None
                if len(self._refused) > REMEMBERED:
                    del self._refused[next(iter(self._refused))]
            if not told:
                message = f"{noted.path.name}: no note beside it: {e}"
                logs.event(self._log, logs.Action.STORAGE, message, job=noted.job_id)
        else:
            with self._lock:
                self._refused.pop(noted.path, None)
        if not left:
            with self._lock:
                self._noted.get(noted.folder, {}).pop(noted.path, None)

    def _is_wanted(self, noted: NotedRecording) -> bool:
        failed = noted.state is JobState.FAILED
        waits = noted.state in {JobState.QUEUED, JobState.RUNNING} and noted.reason_code == StorageError.code
        if not (failed or waits) or not self._settings().profile(noted.profile).failed_note:
            return False
        # A note at work stays until the job has ended, but none is written for it.
        if noted.state is JobState.RUNNING and not noted.notes:
            return False
        return is_there(noted.path, noted.folder)

    def _write(self, noted: NotedRecording) -> bool:
        """Write the note unless it is on record; returns True, because it stays on record. Raises as `publish` does."""
        data = note_text(noted)
        digest = hashlib.sha256(data).hexdigest()
        if noted.state is JobState.RUNNING or any(n.published and n.sha256 == digest for n in noted.notes):
            return True
        settings = self._settings()
        _, root = Places(settings).of(noted, settings.profile(noted.profile))
        if any(not n.published for n in noted.notes):
            # A daemon was killed while it wrote one.
            for directory in {n.path.parent for n in noted.notes}:
                sweep(directory, root if directory.is_relative_to(root) else None, intended_by(self._ledger))
        path, there = self._path(noted, root, settings)
        new = OwnedOutput(
            noted.job_id, noted.path, path, FAILED_NOTE, digest, published=False, size=len(data)
        )
        self._ledger.intend_note(noted, OutputIntent(FAILED_NOTE, path, digest, size=len(data)), self._wall())
        sha256, size = (None, None) if there is None else (there.sha256, there.size)
        publish([PendingFile(path, data, sha256, size, root)])
        older = [n for n in noted.notes if (n.path, n.sha256) != (path, digest)]
        self._ledger.settle_notes([new], [n for n in older if n.path == path])
        self._remove([n for n in older if n.path != path])
        return True

    def _path(self, noted: NotedRecording, root: Path, settings: Settings) -> tuple[Path, OwnedOutput | None]:
        """Path of the note, and our note that is there and may be replaced."""
        profile = settings.profile(noted.profile)
        directory = naming.target_directory(noted.path, folder=noted.folder, output_dir=profile.output_dir)
        for path in {n.path: None for n in noted.notes if n.path.parent == directory}:
            there = standing(path, root, [n for n in noted.notes if n.path == path])
            if there is not None:
                return path, there
        with GroupFacts([noted], settings, self._ledger) as facts:
            place = facts.place(noted, profile)
            state = directory_state(noted, [FAILED_NOTE], place, facts=facts, index=DirectoryCache())
        return naming.plan_names(noted.path, [FAILED_NOTE], state).paths[FAILED_NOTE], None

    def _remove(self, notes: tuple[OwnedOutput, ...] | list[OwnedOutput]) -> bool:
        """Remove notes from disk and record; returns whether some are left, because their folder is away."""
        left = False
        for path in {n.path: None for n in notes}:
            mine = [n for n in notes if n.path == path]
            if withdraw(path, sizes_of(mine), root_over(path, self._settings())):
                self._ledger.settle_notes([], mine)
            else:
                left = True
        return left
