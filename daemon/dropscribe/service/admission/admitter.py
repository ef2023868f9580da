"""Admit complete files: hash them in a few threads (`FolderPool`), record them in batches in one thread.

One commit admits all files hashed since the previous one, so that ten thousand files dropped at once need hundreds of
commits, and a single file is admitted at once.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dropscribe import logs
from dropscribe.config import Settings
from dropscribe.errors import (
    DropscribeError,
    RecordingChangedError,
    RecordingGoneError,
    StorageError,
    UnusableLedgerError,
)
from dropscribe.files import content_hash
from dropscribe.intake.types import Arrival, FolderHealth, Gone, Notice, Skip
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import Admission, SkippedFile
from dropscribe.pipeline.sizing import hasher_count
from dropscribe.service.activity import Activities, Activity
from dropscribe.service.storage.folder_pool import FolderPool
from dropscribe.service.storage.storage_retry import StorageRetry

#: Most admissions in one transaction.
BATCH = 128
#: Delay before a file that could not be read is tried again, seconds.
REREAD_S = 5.0
#: Reason of cancelling the job of a removed file.
REMOVED = "the recording was removed before it was transcribed"
#: Longest wait of the recording thread for the next record, seconds; limits the delay of due retries.
TICK_S = 0.5
#: Size above which a file counts as large, bytes: one per folder is hashed at a time, beside the smaller files.
LARGE_BYTES = 1 << 30
#: Longest `stop` waits, seconds.
STOP_S = 5.0


class _Stopped(Exception):  # noqa: N818 - no error: the daemon stops
    """Raised to abandon the hashing of a file."""


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """A file that could not be read; it is tried again after `REREAD_S`."""

    skip: Skip


_Record = Admission | Skip | Gone | _Unreadable


class Admitter:
    """Admit the files that intake reports through `take`, which never blocks intake. Uses its own threads."""

    def __init__(
        self, ledger: Ledger, settings: Callable[[], Settings], storage_retry: StorageRetry, *,
        admitted: Callable[[], None], folder: Callable[[FolderHealth], None], activities: Activities,
    ) -> None:  # fmt: skip
        """`admitted` is called after new jobs were queued, `folder` with each change in a folder's health."""
        self._ledger = ledger
        self._storage_retry = storage_retry
        self._settings = settings
        self._admitted = admitted
        self._folder = folder
        self._forget: Callable[[Path], None]
        self._log = logs.get("service")
        self._records: queue.SimpleQueue[_Record | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        #: (monotonic seconds, path) of files to try again, in order of time; owned by the recording thread.
        self._later: deque[tuple[float, Path]] = deque()
        self._activities = activities
        self._hashers: FolderPool[Arrival] = FolderPool(
            "admission", self._hash, threads=hasher_count(), batch=1, activities=activities, died=self._died
        )
        self._thread = threading.Thread(target=self._record, name="admit", daemon=True)
        #: First exception that ended a thread; read by `alive`.
        self.failure: BaseException | None = None

    def start(self, forget: Callable[[Path], None]) -> None:
        """Start the threads; `take` may be called afterwards. `forget(path)` makes intake settle a file anew."""
        self._forget = forget
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
            case Skip() | Gone():
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

    def _hash(self, folder: Path, arrivals: list[Arrival], activity: Activity) -> None:
        for arrival in arrivals:
            with contextlib.suppress(_Stopped), activity.storage("hash", folder, arrival.path) as answered:
                self._hash_one(arrival, answered)

    def _hash_one(self, arrival: Arrival, answered: Callable[[], None]) -> None:
        def between() -> None:
            answered()
            if self._stopping.is_set():
                raise _Stopped

        try:
            sha256 = content_hash(arrival.path, arrival.folder, arrival.signature, between)
        except (RecordingGoneError, RecordingChangedError):
            # The recording was replaced while it was hashed: intake must settle the file that is at its path now.
            self._forget(arrival.path)
            return
        except DropscribeError as e:
            reason = f"{e.reason}; {e.remedy}"
            self._records.put(
                _Unreadable(Skip(arrival.folder, arrival.path, "unreadable", reason, time.time()))
            )
            return
        self._records.put(self._admission(arrival, sha256))

    def _admission(self, arrival: Arrival, sha256: str) -> Admission:
        settings = self._settings()
        name = next((f.profile for f in settings.folders if f.path == arrival.folder), "default")
        profile = settings.profiles[name]
        return Admission(
            path=arrival.path,
            folder=arrival.folder,
            size=arrival.signature.size,
            mtime_ns=arrival.signature.mtime_ns,
            inode=arrival.signature.inode,
            sha256=sha256,
            profile=name,
            recipe=settings.recipe(name),
            share_result=profile.duplicates == "reference",
            settle_s=arrival.settle_s,
            max_attempts=profile.max_attempts,
        )

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
        """Up to `BATCH` queued records, waiting at most `TICK_S` for the first."""
        batch: list[_Record | None] = []
        with contextlib.suppress(queue.Empty):  # an empty queue ends the batch
            batch.append(self._records.get(timeout=TICK_S))
            while len(batch) < BATCH:
                batch.append(self._records.get_nowait())
        return batch

    def _record_batch(self, activity: Activity) -> bool:
        """Record one batch; False once it contained the end marker of `stop`."""
        activity.idle()
        batch = self._next_batch()
        activity.begin()
        now = time.time()
        admissions = [n for n in batch if isinstance(n, Admission)]
        if admissions:
            made = self._storage_retry.insist(lambda: self._ledger.admit(admissions, now), activity.working)
            for admission, admitted in zip(admissions, made, strict=True):
                if admitted.created:
                    self._log.debug(
                        "admitted",
                        action=str(logs.Action.ADMITTED),
                        job=admitted.job_id,
                        path=str(admission.path),
                    )
            self._admitted()
        for record in batch:
            match record:
                case Skip():
                    self._record_skip(record, now, activity)
                case Gone():
                    self._record_gone(record, now)
                case _Unreadable():
                    self._record_skip(record.skip, now, activity)
                    self._later.append((time.monotonic() + REREAD_S, record.skip.path))
        while self._later and self._later[0][0] <= time.monotonic():
            self._forget(self._later.popleft()[1])
        return None not in batch

    def _record_skip(self, skip: Skip, now: float, activity: Activity) -> None:
        self._storage_retry.insist(
            lambda: self._ledger.skip([SkippedFile(skip.path, skip.folder, skip.code, skip.reason)], now),
            activity.working,
        )
        logs.event(
            self._log,
            logs.Action.SKIPPED,
            f"skipped {skip.path.name!r}: {skip.reason}",
            path=str(skip.path),
            code=skip.code,
        )

    def _record_gone(self, gone: Gone, now: float) -> None:
        for job in self._storage_retry.insist(lambda: self._ledger.cancel_gone(gone.path, now, REMOVED)):
            logs.event(self._log, logs.Action.JOB_CANCELLED, REMOVED, job=job, path=str(gone.path))
