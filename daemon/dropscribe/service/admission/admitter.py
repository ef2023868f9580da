"""Admit complete files: hash them in a few threads (`FolderPool`), record them in batches in one thread.

One commit admits all files hashed since the previous one, so that ten thousand files dropped at once need hundreds of
commits, and a single file is admitted at once. Skipped files are recorded when no recordings wait to be.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dropscribe import logs
from dropscribe.config import Settings
from dropscribe.errors import (
    DropscribeError,
    RecordingChangedError,
    RecordingGoneError,
    StorageError,
    UnusableLedgerError,
)
from dropscribe.escapes import readable
from dropscribe.files import content_hash, piece_memory
from dropscribe.intake.types import Arrival, FolderHealth, Gone, Notice, Skip
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import Admission, SkippedFile
from dropscribe.pipeline.sizing import hasher_count
from dropscribe.service.activity import Activities, Activity
from dropscribe.service.admission.skip_report import SkipReport
from dropscribe.service.storage.folder_pool import FolderPool
from dropscribe.service.storage.storage_retry import StorageRetry

#: Most admissions in one transaction.
BATCH = 128
#: Most skipped files in one transaction: recordings wait for it, some 20 ms.
SKIPS_AT_ONCE = 500
#: Reason of cancelling the job of a removed file.
REMOVED = "the recording was removed before it was transcribed"
#: Longest wait of the recording thread for the next record, seconds, without and with skipped files to be recorded.
TICK_S = 0.5
SKIPS_TICK_S = 0.05
#: Most files that a thread hashes before it hands them over, and the time after which it hands over what it has, seconds.
HASHED_AT_ONCE = 16
HASHED_S = 0.1
#: Size above which a file counts as large, bytes: one per folder is hashed at a time, beside the smaller files.
LARGE_BYTES = 1 << 30
#: Longest `stop` waits, seconds.
STOP_S = 5.0


class _Stopped(Exception):  # noqa: N818 - no error: the daemon stops
    """Raised to abandon the hashing of a file."""


@dataclass(frozen=True, slots=True)
class _Hashed:
    """An arrival with its SHA-256; `renamed_from`: as in `Admission`, known once it is `traced`."""

    arrival: Arrival
    sha256: str
    traced: bool = False
    renamed_from: int | None = None


_Record = _Hashed | Gone


class Renames(Protocol):
    """Tells renamed recordings from new ones: see `RenameFinder`."""

    def may_be_renamed(self, hashed: Sequence[tuple[Arrival, str]]) -> Sequence[bool]: ...
    def renamed_from(self, arrival: Arrival, sha256: str, activity: Activity) -> int | None: ...


class Admitter:
    """Admit the files that intake reports through `take`, which never blocks intake. Uses its own threads."""

    def __init__(
        self, ledger: Ledger, settings: Callable[[], Settings], storage_retry: StorageRetry, *,
        admitted: Callable[[], None], folder: Callable[[FolderHealth], None], activities: Activities,
        renames: Renames,
        renamed: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """`admitted` is called after new jobs were queued, `folder` with each change in a folder's health.

        `renamed` is called after recordings that were renamed were recorded.
        """
        self._ledger = ledger
        self._storage_retry = storage_retry
        self._settings = settings
        self._admitted = admitted
        self._renames = renames
        self._renamed = renamed
        self._folder = folder
        self._forget: Callable[[Path], None]
        self._unreadable: Callable[[Path, str], None]
        self._log = logs.get("service")
        self._records: queue.SimpleQueue[_Record | None] = queue.SimpleQueue()
        self._skips: queue.SimpleQueue[Skip] = queue.SimpleQueue()
        #: Owned by the recording thread.
        self._report = SkipReport()
        self._stopping = threading.Event()
        self._activities = activities
        #: Hash arrivals, and look where those were that may have been renamed.
        self._hashers: FolderPool[Arrival | _Hashed] = FolderPool(
            "admission", self._hash, threads=hasher_count(), batch=HASHED_AT_ONCE, divided=True,
            activities=activities, died=self._died,
        )  # fmt: skip

        self._thread = threading.Thread(target=self._record, name="admit", daemon=True)
        #: First exception that ended a thread; read by `alive`.
        self.failure: BaseException | None = None

    def start(self, forget: Callable[[Path], None], unreadable: Callable[[Path, str], None]) -> None:
        """Start the threads; `take` may be called afterwards.

        `forget(path)` makes intake settle a file anew, `unreadable(path, reason)` makes it try again later.
        """
        self._forget = forget
        self._unreadable = unreadable
        self._hashers.start()
        self._thread.start()

    def take(self, notice: Notice) -> None:
        """Queue one notice from intake; never blocks."""
        match notice:
            case Arrival():
                large = notice.signature.size > LARGE_BYTES
                self._hashers.put(notice.folder, notice, large=large)
            case FolderHealth():
                self._folder(notice)
            case Skip():
                self._skips.put(notice)
            case Gone():
                self._records.put(notice)

    def alive(self) -> bool:
        """False once a thread has died; the daemon must then stop."""
        return self.failure is None

    def tend(self) -> None:
        """Replace hashing threads blocked by a slow file system; call it periodically."""
        self._hashers.tend()

    def stop(self) -> bool:
        """End the threads; False if one is blocked by a file system that does not answer.

        Files not admitted yet are found by the scan of the next start.
        """
        self._stopping.set()
        ended = self._hashers.stop(STOP_S)
        self._records.put(None)
        if self._thread.ident is not None:
            self._thread.join(STOP_S)
        return ended and not self._thread.is_alive()

    def _died(self, cause: BaseException) -> None:
        self.failure = cause

    def _hash(self, folder: Path, items: list[Arrival | _Hashed], activity: Activity) -> None:
        done: list[_Hashed] = []
        memory = piece_memory()
        began = time.monotonic()
        # At a stop: those that were not handed over are found by the next start.
        with contextlib.suppress(_Stopped):
            for item in items:
                if isinstance(item, _Hashed):
                    older = self._renames.renamed_from(item.arrival, item.sha256, activity)
                    done.append(_Hashed(item.arrival, item.sha256, traced=True, renamed_from=older))
                    continue
                with activity.storage("hash", folder, item.path) as answered:
                    sha256 = self._hash_one(item, answered, memory)
                if sha256 is not None:
                    done.append(_Hashed(item, sha256))
                if time.monotonic() - began >= HASHED_S:
                    self._hand_over(done)
                    done, began = [], time.monotonic()
            self._hand_over(done)

    def _hash_one(self, arrival: Arrival, answered: Callable[[], None], memory: memoryview) -> str | None:
        """SHA-256 of a file; None if it cannot be read as it was, which intake is told."""

        def between() -> None:
            answered()
            if self._stopping.is_set():
                raise _Stopped

        try:
            return content_hash(arrival.path, arrival.folder, arrival.signature, between, memory)
        except (RecordingGoneError, RecordingChangedError):
            # The recording was replaced while it was hashed: intake must settle the file that is at its path now.
            self._forget(arrival.path)
        except DropscribeError as e:
            self._unreadable(arrival.path, f"it cannot be read ({e.reason}); {e.remedy}")
        return None

    def _hand_over(self, done: list[_Hashed]) -> None:
        """Pass files on to the recording thread."""
        for one in done:
            self._records.put(one)

    def _admissions(self, hashed: Sequence[_Hashed]) -> list[Admission]:
        settings = self._settings()
        folders = {f.path: (f.profile, f.priority) for f in settings.folders}
        recipes: dict[str, str] = {}
        found = []
        for one in hashed:
            arrival = one.arrival
            name, priority = folders.get(arrival.folder, ("default", 0))
            if name not in recipes:
                recipes[name] = settings.recipe(name)
            profile = settings.profiles[name]
            found.append(
                Admission(
                    path=arrival.path,
                    folder=arrival.folder,
                    size=arrival.signature.size,
                    mtime_ns=arrival.signature.mtime_ns,
                    inode=arrival.signature.inode,
                    sha256=one.sha256,
                    profile=name,
                    recipe=recipes[name],
                    share_result=profile.duplicates == "reference",
                    settle_s=arrival.settle_s,
                    max_attempts=profile.max_attempts,
                    priority=priority,
                    renamed_from=one.renamed_from,
                )
            )
        return found

    def _record(self) -> None:
        activity = self._activities.enter("admission")
        try:
            while self._record_batch(activity):
                pass
        except StorageError as e:
            # Raised only during shutdown, after `StorageRetry.give_up`. The scan of the next start finds these files.
            logs.problem(self._log, logs.Action.STORAGE, f"files are left to the next start: {e}")
        except UnusableLedgerError:
            # The main thread stops the daemon. The scan of the next start finds these files.
            return
        except BaseException as e:
            self.failure = e
            raise
        finally:
            self._activities.leave(activity)

    def _next_batch(self) -> list[_Record | None]:
        """Up to `BATCH` queued records, after a wait for the first."""
        batch: list[_Record | None] = []
        with contextlib.suppress(queue.Empty):  # an empty queue ends the batch
            batch.append(self._records.get(timeout=TICK_S if self._skips.empty() else SKIPS_TICK_S))
            while len(batch) < BATCH:
                batch.append(self._records.get_nowait())
        return batch

    def _record_batch(self, activity: Activity) -> bool:
        """Record one batch; False once it contained the end marker of `stop`."""
        activity.idle()
        batch = self._next_batch()
        activity.begin()
        self._record_in_order(batch, activity)
        ending = None in batch
        if not ending and self._records.empty():
            self._record_skips(activity)
        self._log_skips(ending=ending)
        return not ending

    def _record_in_order(self, batch: list[_Record | None], activity: Activity) -> None:
        """Record admissions together, but those of a path in order with its removals.

        Else the removal of a file would cancel the job of the file that has its name since.
        """
        now = time.time()
        hashed: list[_Hashed] = []
        for record in self._traced(batch):
            match record:
                case _Hashed():
                    hashed.append(record)
                case Gone():
                    if any(h.arrival.path == record.path for h in hashed):
                        self._admit(hashed, now, activity)
                        hashed = []
                    self._record_gone(record, now, activity)
        self._admit(hashed, now, activity)

    def _traced(self, batch: Sequence[_Record | None]) -> list[_Record]:
        """The records without those files that may have been renamed: they go back to be traced first."""
        untraced = [r for r in batch if isinstance(r, _Hashed) and not r.traced]
        answers = self._renames.may_be_renamed([(r.arrival, r.sha256) for r in untraced])
        back = {id(r) for r, may_be in zip(untraced, answers, strict=True) if may_be}
        for r in untraced if back else ():
            if id(r) in back:
                self._hashers.put(r.arrival.folder, r)
        return [r for r in batch if r is not None and id(r) not in back]

    def _admit(self, hashed: list[_Hashed], now: float, activity: Activity) -> None:
        if not hashed:
            return
        admissions = self._admissions(hashed)
        made = self._storage_retry.insist(lambda: self._ledger.admit(admissions, now), activity.working)
        # Bound once: the logger that is kept is set up anew for each line.
        log = self._log.bind()
        for admission, admitted in zip(admissions, made, strict=True):
            if admitted.created:
                log.debug(
                    "admitted",
                    action=str(logs.Action.ADMITTED),
                    job=admitted.job_id,
                    path=str(admission.path),
                )
            if admitted.renamed:
                message = f"{readable(admission.path.name)}: renamed; it keeps job {admitted.job_id}"
                logs.event(
                    self._log, logs.Action.RENAMED, message, job=admitted.job_id, path=str(admission.path)
                )
        if any(one.renamed for one in made):
            self._renamed()
        self._admitted()

    def _record_skips(self, activity: Activity) -> None:
        """Record some of the skipped files. Those left at a stop are found again by the next start."""
        skips: list[Skip] = []
        with contextlib.suppress(queue.Empty):
            while len(skips) < SKIPS_AT_ONCE:
                skips.append(self._skips.get_nowait())
        if not skips:
            return
        rows = [SkippedFile(s.path, s.folder, s.code, s.reason, at_start=s.at_start) for s in skips]
        self._storage_retry.insist(lambda: self._ledger.skip(rows, time.time()), activity.working)
        now = time.monotonic()
        for skip in skips:
            self._report.take(skip, now)
            self._log.debug(
                f"{skip.path.name}: skipped: {skip.reason}",
                action=str(logs.Action.SKIPPED), path=str(skip.path), code=skip.code,
            )  # fmt: skip

    def _log_skips(self, *, ending: bool) -> None:
        more = not self._skips.empty()
        for line in self._report.due(time.monotonic(), more=more, ending=ending):
            keys = {"count": line.count} if line.path is None else {"path": str(line.path)}
            logs.event(
                self._log, logs.Action.SKIPPED, line.message, folder=str(line.folder), code=line.code, **keys
            )

    def _record_gone(self, gone: Gone, now: float, activity: Activity) -> None:
        def cancel() -> list[int]:
            return self._ledger.cancel_gone(gone.path, now, REMOVED)

        for job in self._storage_retry.insist(cancel, activity.working):
            logs.event(self._log, logs.Action.JOB_CANCELLED, REMOVED, job=job, path=str(gone.path))
