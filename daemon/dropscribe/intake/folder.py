"""Watch one folder: follow hints, scan, settle its files, and send notices."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dropscribe.config import Folder
from dropscribe.errors import StorageError
from dropscribe.files import FileSignature, is_there, opened, status_beneath
from dropscribe.intake.file_table import Access, FileTable
from dropscribe.intake.folder_lock import FolderLocks
from dropscribe.intake.names import DONE_SUFFIX, Kind, Names
from dropscribe.intake.root_monitor import RootMonitor, Standing
from dropscribe.intake.scan import Scan, below_root, examine, foreign, judge, walk
from dropscribe.intake.settling import (
    Candidate,
    Complete,
    Decision,
    Inspect,
    Refuse,
    Settling,
    Wait,
    Writer,
    downloading,
)
from dropscribe.intake.types import Arrival, Completeness, Gone, Known, Notice, Skip, UnsettledFile
from dropscribe.intake.writer_probe import probe

#: Shortest interval of scans that events cause (a directory was removed, events were lost), seconds.
SOON_S = 1.0
#: Retry delay after the ledger failed to list the known files, seconds.
AGAIN_S = 2.0
#: Unreadable files tried again in one turn, so that recordings are not delayed by many of them.
RETRIES_AT_ONCE = 200
#: Files inspected in one exchange with an inspection process, which costs more than an inspection itself.
INSPECTED_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Dependencies of a folder."""

    #: Files of a folder that are on record. May raise StorageError, also during iteration; it is then called later.
    known: Callable[[Path], Iterable[Known]]
    #: Completeness of recordings in a watched folder, in order.
    completeness: Callable[[Path, Sequence[Path]], Iterable[Completeness]]
    sink: Callable[[Notice], None]
    clock: Callable[[], float]  #: monotonic seconds
    wall: Callable[[], float]  #: epoch seconds
    rescan_s: Callable[[], float]  #: seconds; may change
    locks: FolderLocks


@dataclass(frozen=True, slots=True)
class _Uninspected:
    """A file that passed all checks but that of its container."""

    path: Path
    candidate: Candidate
    writer: Writer
    marked: bool


class FolderWatch:
    """State and steps of one watched folder. Owned by one thread; every `now` is monotonic seconds."""

    def __init__(self, folder: Folder, hint: Callable[[str], None], around: Surroundings) -> None:
        self.folder = folder
        self.post = RootMonitor(
            folder, hint, around.sink, around.wall, around.locks, ignored=self._means_nothing
        )
        #: Start of the last file system call, monotonic seconds; None while idle. Read by other threads.
        self.asked_at: float | None = None
        self._path = str(folder.path)
        self._around = around
        #: Replaced as a whole: other threads read it.
        self._names = Names(folder)
        self._files = FileTable(Settling(folder))
        #: True if the known files must be read from the ledger before the next walk is evaluated.
        self._known_outdated = True
        #: True until the end of the first scan.
        self._starting = True
        self._next_scan = -math.inf
        self._last_scan = -math.inf
        self._checked = False

    def turn(self, now: float, hints: Iterable[str]) -> None:
        """Handle hints, then everything that is due at `now`."""
        for path in hints:
            self._follow(path, now)
        if now >= self._next_scan:
            self._scan(now)
        due = self._files.take_due(now)
        for i in range(0, len(due), INSPECTED_AT_ONCE):
            self._check_complete(due[i : i + INSPECTED_AT_ONCE], now)
        for path in self._files.take_retries(now, RETRIES_AT_ONCE):
            self._follow(path, now)
        self._confirm_missing(now)
        self.asked_at = None

    def _means_nothing(self, name: str) -> bool:
        """Whether a file of this name is nothing to look at, such as a transcript. Any thread."""
        return self._names.kind(name) is Kind.SIDECAR and not name.endswith(DONE_SUFFIX)

    def _mark_call(self) -> None:
        """Note the start of a file system call, for the detection of one that hangs."""
        self.asked_at = self._around.clock()

    def next_turn(self) -> float:
        """Time of the next due `turn` without a hint, monotonic seconds."""
        due = self._files.next_due()
        return self._next_scan if due is None else min(due, self._next_scan)

    def scan_now(self) -> None:
        """Scan at the next turn."""
        self._next_scan = -math.inf

    def forget(self, path: str, now: float) -> None:
        """Treat the file as never seen before."""
        self._files.forget(path)
        self._follow(path, now)

    def unreadable(self, path: str, reason: str, now: float) -> None:
        """Note that the content of an arrival could not be read.

        It is passed on again when its permissions or its content change, and else with growing delays.
        """
        self._mark_call()
        access = self._access(path)
        if access is None:
            self.forget(path, now)
            return
        self._files.unreadable(path, access, now)
        self._refuse(path, Refuse("unreadable", reason), None, at_start=True)

    def reconfigure(self, folder: Folder) -> None:
        """Use other settings of the same folder; the state of its files is kept."""
        self.folder = folder
        self.post.change(folder)
        self._names = Names(folder)
        self._files.settling = Settling(folder)
        self.scan_now()

    def unsettled(self) -> int:
        return len(self._files)

    def unsettled_files(self, limit: int, now: float) -> tuple[UnsettledFile, ...]:
        """The first seen of the files that settle; `now`: monotonic seconds."""
        began = self._around.wall() - now
        return tuple(
            UnsettledFile(Path(path), reason, began + first_seen)
            for path, first_seen, reason in self._files.unsettled(limit)
        )

    def _follow(self, path: str, now: float) -> None:
        """Examine `path` after a hint."""
        self._mark_call()
        if self.post.troubled or path == self._path:
            self._scan_soon(now)
            return
        seen, relative = path, below_root(path, self._path)
        try:
            with opened(self.folder.path) as folder:
                status = status_beneath(folder, relative)
                judged = judge(status, folder, self._path, relative)
        except OSError:
            self._vanished(path, now)
            return
        self._files.retry_changed(path, access_of(status))
        name = path.rpartition("/")[2]
        if stat.S_ISDIR(status.st_mode):
            if self.folder.recursive and not self._names.prunes(name, relative):
                self._take(self._find(path, self._files.settled), now)
            return
        if self.folder.done_marker and name.endswith(DONE_SUFFIX):
            path, name = path.removesuffix(DONE_SUFFIX), name.removesuffix(DONE_SUFFIX)
            relative = relative.removesuffix(DONE_SUFFIX)
        kind = self._names.kind(name)
        if kind is Kind.TEMPORARY:
            self._files.mark(path)
        if kind.ignored or self._names.excludes(relative):
            return
        examined: FileSignature | Refuse | None = judged
        if kind is Kind.FOREIGN:
            examined = foreign(path)
        elif path != seen:
            examined = examine(path, self._path)
        if isinstance(examined, Refuse):
            self._refuse(path, examined, None)
        elif examined is not None:
            self._files.saw(path, examined, now)

    def _vanished(self, path: str, now: float) -> None:
        marked = self._files.unmark(path)
        if marked is not None:
            self._follow(marked, now)
        self._files.drop(path)
        self._files.miss(path, now + self.folder.quiet_s)
        if self.post.watches(path):
            # A directory was removed, with an unknown number of files.
            self._scan_soon(now)

    def _scan_soon(self, now: float) -> None:
        self._next_scan = min(self._next_scan, max(now, self._last_scan + SOON_S))

    def _scan(self, now: float) -> None:
        """Scan the whole folder. The interval to the next scan starts at the end, to limit the load of a slow disk."""
        self._mark_call()
        standing = self.post.check(inhabited=self._files.inhabited())
        again_s = math.inf
        # At the start the folder counts as the one that contained the known files, unless it is empty: then it may be
        # a share that is not mounted yet.
        first, self._checked = not self._checked, True
        if standing is Standing.TROUBLE:
            self._files.pause()
        else:
            trusting = first and not self.post.empty
            if standing is Standing.RENEWED:
                # Jobs of recordings that were away may have been cancelled: such recordings count as new.
                self._known_outdated = True
                if not trusting:
                    self._files.disown()
            self._follow_mounts()
            if not self._walk_all(now, trusting=trusting):
                again_s = AGAIN_S
                self._checked = self._checked and not first
        self._last_scan = self._around.clock()
        every = min(self._around.rescan_s(), again_s)
        if self.post.polled and standing is not Standing.TROUBLE:
            every = min(every, self.folder.poll_s)
        self._next_scan = self._last_scan + every

    def _follow_mounts(self) -> list[str]:
        """Handle mounts and unmounts inside the folder; returns the unmounted directories."""
        gone, came = self.post.mounts()
        for directory in gone:
            self._files.disown(directory)
        if came:
            self._known_outdated = True
            self.scan_now()
        return gone

    def _walk_all(self, now: float, *, trusting: bool) -> bool:
        """Walk the whole folder and take over the result; False if the ledger failed to list the known files."""
        found = self._find(self._path, {} if self._known_outdated else self._files.settled)
        # If the root directory was replaced during the walk, a file not seen by it is not missing.
        whole = self.post.holds()
        if self._known_outdated:
            try:
                self._files.learn(found, self._around.known(self.folder.path), trusting=trusting and whole)
            except StorageError:
                return False
            self._known_outdated = not whole
        self._take(found, now)
        if whole:
            self._files.close_walk(found, now + self.folder.quiet_s)
            self.post.keep(found.directories)
        self._starting = False
        for path in self._files.waiting_unreadable():
            self._mark_call()
            access = self._access(path)
            if access is not None and self._files.retry_changed(path, access):
                self._follow(path, now)
        return True

    def _access(self, path: str) -> Access | None:
        """Access of a file; None if that cannot be determined."""
        try:
            with opened(self.folder.path) as folder:
                return access_of(status_beneath(folder, below_root(path, self._path)))
        except OSError:
            return None

    def _find(self, start: str, known: Mapping[str, FileSignature]) -> Scan:
        return walk(start, self._path, self._names, known, self._enter, recursive=self.folder.recursive)

    def _take(self, found: Scan, now: float) -> None:
        self._files.take_walk(found, now)
        for path, refusal in found.refused:
            self._refuse(path, refusal, None)

    def _enter(self, directory: str, descriptor: int) -> Refuse | None:
        """Watch a directory of a walk, unless another daemon watches it."""
        self._mark_call()
        taken = self.post.elsewhere(directory, descriptor)
        if taken is not None:
            self._files.disown(directory)
            return Refuse(
                "watched_elsewhere", f"another daemon ({taken.holder}) watches this folder by itself"
            )
        self.post.enter(directory, descriptor)
        return None

    def _check_complete(self, paths: list[str], now: float) -> None:
        """Check whether these files, which are due, are complete."""
        uninspected = [u for u in (self._check_outside(path, now) for path in paths) if u is not None]
        if not uninspected:
            return
        self._mark_call()
        inspected = self._around.completeness(self.folder.path, [u.path for u in uninspected])
        for u, completeness in zip(uninspected, inspected, strict=True):
            self._mark_call()
            decision = self._files.settling.decide(
                u.candidate, now, writer=u.writer, marked=u.marked, completeness=completeness
            )
            self._conclude(u.path, u.candidate, decision, now)

    def _check_outside(self, path: str, now: float) -> _Uninspected | None:
        """Check everything but the container; a result means that the container must be inspected to decide."""
        self._mark_call()
        examined = examine(path, self._path)
        before = self._files.candidate(path)
        if examined is None:
            self._files.drop(path)
            return None
        if isinstance(examined, Refuse):
            self._refuse(path, examined, None)
            return None
        candidate = self._files.settling.observe(before, examined, now)
        ripe = self._files.settling.ripe(candidate)
        if now < ripe:
            self._files.wait(path, candidate, ripe, self._files.settling.quiet(candidate))
            return None
        recording = Path(path)
        writer = probe(recording, self.folder.path)
        if writer is Writer.FREE and not self.post.sees_writers:
            writer = Writer.UNKNOWN
        marked = not self.folder.done_marker or self._is_there(path + DONE_SUFFIX)
        state_file = self._state_file(path, empty=candidate.signature.size == 0)
        if state_file is not None:
            self._files.wait(path, candidate, math.inf, downloading(Path(state_file).name))
            return None
        decision = self._files.settling.decide(candidate, now, writer=writer, marked=marked)
        if isinstance(decision, Inspect):
            return _Uninspected(recording, candidate, writer, marked)
        self._conclude(recording, candidate, decision, now)
        return None

    def _conclude(self, recording: Path, candidate: Candidate, decision: Decision, now: float) -> None:
        path = str(recording)
        match decision:
            case Refuse():
                self._refuse(path, decision, candidate.signature)
            case Complete():
                self._files.settle(path, candidate.signature)
                took = now - candidate.first_seen
                self._around.sink(
                    Arrival(self.folder.path, recording, candidate.signature, took, self._around.wall())
                )
            case Wait(until, reason):
                self._files.wait(path, candidate, until, reason)

    def _refuse(
        self, path: str, refusal: Refuse, signature: FileSignature | None, *, at_start: bool = False
    ) -> None:
        if self._files.refuse(path, refusal, signature):
            self._around.sink(
                Skip(
                    self.folder.path, Path(path), refusal.code, refusal.reason, self._around.wall(),
                    at_start=at_start or self._starting,
                )
            )  # fmt: skip

    def _confirm_missing(self, now: float) -> None:
        missing = self._files.take_missing(now)
        if not missing:
            return
        if not self.post.holds():
            self._files.pause()
            self._scan_soon(now)
            return
        lost = tuple(f"{directory}/" for directory in self._follow_mounts())
        for path in missing:
            self._mark_call()
            if not (lost and path.startswith(lost)) and self._is_gone(path):
                self._files.gone(path)
                self._around.sink(Gone(self.folder.path, Path(path), self._around.wall()))

    def _state_file(self, path: str, *, empty: bool) -> str | None:
        """A file beside the recording (or beside a folder above it) which says that it is still downloaded."""
        there = None
        for marker in self._files.markers(path, empty=empty):
            if self._is_there(marker):
                there = marker
            else:
                self._files.unmark(marker)
        return there

    def _is_there(self, path: str) -> bool:
        try:
            return is_there(Path(path), self.folder.path)
        except OSError:
            return False

    def _is_gone(self, path: str) -> bool:
        """True if `path` certainly does not exist; False if that cannot be determined."""
        try:
            return not is_there(Path(path), self.folder.path)
        except OSError:
            return False


def access_of(status: os.stat_result) -> Access:
    return Access(status.st_ctime_ns, status.st_mode, status.st_uid, status.st_gid)
