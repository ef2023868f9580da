"""Carry out what profiles say about keeping, in own threads: recordings, transcripts, text and logs of finished jobs.

A sweep reads a limited number of finished jobs from the ledger and queues what is due for the threads, by folder; text is removed
in short transactions. What was begun is on record, so that the next daemon finishes it after a kill. Nothing is touched in a folder
that is away.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dropscribe import logs
from dropscribe.config import Settings
from dropscribe.errors import DropscribeError, StorageError, UnusableLedgerError
from dropscribe.escapes import readable
from dropscribe.keeping_terms import Fate, after_done
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.keeping import Departure, FinishedRecording, Following
from dropscribe.ledger.records import OwnedOutput
from dropscribe.service.activity import Activities, Activity
from dropscribe.service.keeping import output_files, recording_files
from dropscribe.service.keeping.recording_files import Ended, LeavingRecording
from dropscribe.service.keeping.retention import Kind, Schedule, delay_s, free_names, is_due, target_of
from dropscribe.service.storage.folder_pool import FolderPool
from dropscribe.transcript.timing import TIMING

#: Interval of sweeps, seconds: while there is more to do, and otherwise.
SWEEP_S = 0.5
IDLE_S = 5.0
#: Interval of looking for moves that were begun and not finished, and for files that are to follow, seconds.
RESUME_S = 5.0
#: Finished jobs read in one step of a sweep.
STEP = 500
#: Most queued tasks before a sweep reads further jobs.
MOST_QUEUED = 500
#: Segments removed in one transaction: it locks the database for less than 20 ms.
SEGMENTS = 50
#: Pause between two such transactions, seconds: others get the lock.
BREATH_S = 0.02
#: Tasks of a folder done together.
BATCH = 32
#: Before every job, epoch seconds.
NEVER = -1e300
#: Most recordings whose problem is remembered as logged.
REMEMBERED = 1000
#: The folder that stands for the ledger.
_RECORD = Path()


class _Stopped(Exception):  # noqa: N818 - no error: the daemon stops
    """Raised to abandon a copy."""


@dataclass(frozen=True, slots=True)
class _Sweep:
    """Look for what is due."""


@dataclass(frozen=True, slots=True)
class _Due:
    """Remove or move something of a finished recording."""

    kind: Kind
    one: FinishedRecording


_Task = _Sweep | _Due | Departure | Following


class RetentionRunner:
    """All methods are called by the main thread and do not block, except `stop`; `renamed` by any thread."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Callable[[], Settings],
        is_watched: Callable[[Path], bool],
        wake: Callable[[], None],
        *,
        activities: Activities,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`is_watched`: whether a folder is there. `wake`: called when a thread has died. `clock`: monotonic seconds, `wall`: epoch seconds by this host's clock."""
        self._ledger = ledger
        self._keeping = ledger.keeping
        self._settings = settings
        self._is_watched = is_watched
        self._clock = clock
        self._wall = wall
        self._wake = wake
        #: Exception that ended a thread; read by `alive`.
        self.failure: BaseException | None = None
        self._log = logs.get("service")
        self._stopping = threading.Event()
        #: Set while the database refuses, which is logged once.
        self._waits = threading.Event()
        self._lanes: FolderPool[_Task] = FolderPool(
            "keeping", self._run, threads=2, batch=BATCH, activities=activities, died=self._on_death
        )
        self._lock = threading.Lock()
        #: Tasks queued or under way; recordings among them that are moved or whose files follow.
        self._queued = 0
        self._begun: set[int] = set()
        self._sweeping = False
        self._sweep_at = self._resume_at = float("-inf")
        #: Owned by the thread that sweeps.
        self._schedule = Schedule()
        self._reloaded = False
        #: Paths whose problem was logged; the newest `REMEMBERED`.
        self._told: dict[Path, None] = {}

    def start(self) -> None:
        self._lanes.start()

    def alive(self) -> bool:
        """False once a thread has died; the daemon must then stop."""
        return self.failure is None

    def _on_death(self, cause: BaseException) -> None:
        self.failure = cause
        self._wake()

    def renamed(self) -> None:
        """Let the files of a renamed recording follow at once."""
        self._sweep_at = self._resume_at = float("-inf")

    def reload(self) -> None:
        """Apply changed settings."""
        self._reloaded = True
        self._sweep_at = float("-inf")

    def tend(self) -> None:
        """Begin a sweep if due; call it periodically."""
        self._lanes.tend()
        with self._lock:
            if self._sweeping or self._clock() < self._sweep_at:
                return
            self._sweeping = True
        self._lanes.put(_RECORD, _Sweep())

    @property
    def busy(self) -> bool:
        """True while a sweep or what it has found is under way."""
        with self._lock:
            return self._sweeping or self._queued > 0

    def stop(self, timeout_s: float) -> bool:
        """End the threads; False if one is blocked by a file system. What is begun is finished after the next start."""
        self._stopping.set()
        return self._lanes.stop(timeout_s)

    def _run(self, folder: Path, tasks: list[_Task], activity: Activity) -> None:
        try:
            for task in tasks:
                if isinstance(task, _Sweep):
                    self._sweep(activity)
                elif self._stopping.is_set():
                    return
                else:
                    self._do(folder, task, activity)
        except StorageError as e:
            # The database: the next sweep tries again. A server may be away for hours.
            if not self._waits.is_set():
                self._waits.set()
                logs.problem(self._log, logs.Action.STORAGE, f"keeping waits: {e}")
        except UnusableLedgerError:
            return  # The main thread stops the daemon.

    def _sweep(self, activity: Activity) -> None:
        more = False
        try:
            more = self._find_due(activity)
        finally:
            with self._lock:
                self._sweeping = False
                self._sweep_at = max(self._sweep_at, self._clock() + (SWEEP_S if more else IDLE_S))

    def _find_due(self, activity: Activity) -> bool:
        """Queue what is due; True if there may be more."""
        settings, now = self._settings(), self._clock()
        if self._reloaded:
            self._reloaded = False
            self._schedule.restart()
        self._schedule.apply(settings)
        if now >= self._resume_at:
            self._resume_at = now + RESUME_S
            begun: list[Departure | Following] = [*self._keeping.departures()]
            begun += self._keeping.following(MOST_QUEUED)
            self._waits.clear()
            for task in begun:
                self._put(task.folder, task)
        cursor = self._schedule.due(now)
        if cursor is None or self._queued >= MOST_QUEUED:
            return cursor is not None
        wall = self._keeping.instant(self._wall())
        rows = self._keeping.finished(cursor.position, wall - cursor.after_s, STEP)
        due = [row for row in rows if is_due(cursor.kind, row, settings, wall)]
        if cursor.kind is Kind.TEXT:
            before = {
                name: NEVER if (after_s := delay_s(Kind.TEXT, profile)) is None else wall - after_s
                for name, profile in settings.profiles.items()
            }
            self._remove_text([row.job_id for row in due], before, activity)
        else:
            for row in due:
                if self._may_touch(row.folder):
                    self._put(row.folder, _Due(cursor.kind, row))
                else:
                    self._schedule.again_soon(cursor, now)
        self._schedule.stepped(cursor, rows, STEP, now)
        return len(rows) >= STEP

    def _put(self, folder: Path, task: _Due | Departure | Following) -> None:
        with self._lock:
            if not isinstance(task, _Due):
                if task.recording_id in self._begun:
                    return
                self._begun.add(task.recording_id)
            self._queued += 1
        self._lanes.put(folder, task)

    def _remove_text(self, jobs: list[int], before: dict[str, float], activity: Activity) -> None:
        left = jobs
        while left and not self._stopping.is_set():
            settled = set(
                self._keeping.remove_text(left, self._wall(), finished_before=before, most=SEGMENTS)
            )
            left = [job for job in left if job not in settled]
            activity.working()
            self._stopping.wait(BREATH_S)

    def _do(self, folder: Path, task: _Due | Departure | Following, activity: Activity) -> None:
        path = (
            task.one.path
            if isinstance(task, _Due)
            else (task.path if isinstance(task, Departure) else task.old)
        )
        try:
            if self._may_touch(folder):
                with activity.storage("keep", folder, path) as answered:
                    self._carry_out(task, answered)
            with self._lock:
                self._told.pop(path, None)
        except _Stopped:
            return
        except UnusableLedgerError:
            raise
        except (DropscribeError, OSError) as e:
            self._tell(path, e)
        finally:
            with self._lock:
                self._queued -= 1
                if not isinstance(task, _Due):
                    self._begun.discard(task.recording_id)

    def _tell(self, path: Path, error: Exception) -> None:
        """Log a problem of a file once."""
        with self._lock:
            told = path in self._told
            self._told[path] = None
            if len(self._told) > REMEMBERED:
                del self._told[next(iter(self._told))]
        if not told:
            message = f"{readable(path.name)}: stays as it is for now: {error}"
            logs.problem(self._log, logs.Action.KEEPING, message, path=str(path))

    def _may_touch(self, folder: Path) -> bool:
        return any(f.path == folder for f in self._settings().folders) and self._is_watched(folder)

    def _carry_out(self, task: _Due | Departure | Following, answered: Callable[[], None]) -> None:
        match task:
            case Departure():
                self._resume(task, answered)
            case Following():
                self._follow(task)
            case _Due(Kind.RECORDING):
                self._let_leave(task.one, answered)
            case _Due(Kind.FILES):
                outputs = output_files.transcripts(self._ledger.outputs_of(task.one.path))
                if _is_superseded(task.one, outputs):
                    return
                if output_files.remove(outputs, self._settings()):
                    self._keeping.files_removed([task.one.job_id], self._wall())
            case _Due():
                self._remove_logs(task.one)

    def _remove_logs(self, one: FinishedRecording) -> None:
        outputs = self._ledger.outputs_of(one.path) if one.newest else []
        if _is_superseded(one, outputs):
            return
        if output_files.remove([o for o in outputs if o.format == TIMING], self._settings()):
            self._keeping.remove_logs([one.job_id], self._wall())

    def _let_leave(self, one: FinishedRecording, answered: Callable[[], None]) -> None:
        """Move or delete a recording, if its transcripts are there."""
        settings = self._settings()
        folder = next((f for f in settings.folders if f.path == one.folder), None)
        if folder is None:  # not watched any more, since a reload a moment ago
            return
        outputs = self._ledger.outputs_of(one.path)
        verified = output_files.are_verified if one.files else output_files.are_removed
        if not verified(one.job_id, outputs, settings):
            return
        leaving = LeavingRecording(one.path, one.folder, one.signature, one.sha256, one.recording_id)
        if not recording_files.is_in_place(leaving):
            return
        if after_done(settings.profile(one.profile).after_done).fate is Fate.DELETE:
            departure = self._keeping.depart(one.job_id, None, self._wall())
            if departure is not None:
                self._move_or_delete(departure, answered)
            return
        directory = settings.moved_to(folder)
        if directory is None:
            return
        for target in free_names(target_of(one.path, one.folder, directory)):
            # A hint only: the move itself replaces nothing.
            if target.exists():
                continue
            departure = self._keeping.depart(one.job_id, target, self._wall())
            if departure is None or self._move_or_delete(departure, answered) is not Ended.TAKEN:
                return

    def _resume(self, departure: Departure, answered: Callable[[], None]) -> None:
        """Go on with what a killed daemon or an error left undone, unless the profile does not ask for it any more."""
        wanted = after_done(self._settings().profile(departure.profile).after_done).fate
        intended = Fate.DELETE if departure.target is None else Fate.MOVE
        if wanted is intended or not recording_files.give_back(_leaving(departure)):
            self._move_or_delete(departure, answered)
        else:
            self._keeping.stayed(departure.recording_id)

    def _move_or_delete(self, departure: Departure, answered: Callable[[], None]) -> Ended:
        """Carry out what is on record as intended, and record the end."""

        def between() -> None:
            answered()
            if self._stopping.is_set():
                raise _Stopped

        settings = self._settings()
        leaving = _leaving(departure)
        target = departure.target
        if target is None:
            ended = recording_files.delete(leaving, between)
        else:
            inside = target.is_relative_to(departure.folder)
            ended = recording_files.move(
                leaving, target, departure.folder if inside else _existing_root(target), between
            )
        if ended is not Ended.DONE:
            self._keeping.stayed(departure.recording_id)
            return ended
        follow = settings.profile(departure.profile).move_outputs
        self._keeping.departed(
            departure.recording_id, self._wall(), outputs_follow=follow and target is not None
        )
        self.renamed()
        done = "deleted" if target is None else f"moved to {readable(target)}"
        logs.event(
            self._log, logs.Action.KEEPING, f"{readable(departure.path.name)}: {done}, since it is transcribed",
            job=departure.job_id, path=str(departure.path),
        )  # fmt: skip
        return ended

    def _follow(self, one: Following) -> None:
        settings = self._settings()
        if output_files.are_away(one, settings):
            return
        moved = output_files.follow(one, output_files.target_directory(one, settings), settings)
        self._keeping.followed(one, moved, complete=True)
        if moved:
            logs.event(
                self._log, logs.Action.KEEPING,
                f"{readable(one.recording.name)}: its transcripts have its name now", path=str(one.recording),
            )  # fmt: skip


def _leaving(departure: Departure) -> LeavingRecording:
    return LeavingRecording(
        departure.path, departure.folder, departure.signature, departure.sha256, departure.recording_id
    )


def _is_superseded(one: FinishedRecording, outputs: Sequence[OwnedOutput]) -> bool:
    """True if a newer job has published since the finished ones were read: the files are its own now."""
    return any(o.job_id > one.job_id for o in outputs)


def _existing_root(target: Path) -> Path:
    """The nearest existing directory above a target outside the watched folder: the rest of its path is made below that."""
    return next(p for p in target.parents if p.is_dir())
