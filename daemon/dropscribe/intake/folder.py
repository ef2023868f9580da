"""One watched folder: follows hints, scans, settles its files and says what became of them."""

from __future__ import annotations

import math
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dropscribe.config import Folder
from dropscribe.errors import StorageError
from dropscribe.files import FileSignature, is_there, opened, status_beneath
from dropscribe.intake.file_table import FileTable
from dropscribe.intake.folder_lock import FolderLocks
from dropscribe.intake.names import DONE_SUFFIX, Kind, Names
from dropscribe.intake.root_monitor import RootMonitor, Standing
from dropscribe.intake.scan import Scan, below_root, examine, foreign, walk
from dropscribe.intake.settling import Candidate, Complete, Decision, Inspect, Refuse, Settling, Wait, Writer
from dropscribe.intake.types import Arrival, Completeness, Gone, Known, Notice, Skip
from dropscribe.intake.writer_probe import probe

#: Least time between two scans that events ask for (a directory went away, events were lost), seconds.
SOON_S = 1.0
#: Time until what is on record is asked for again, when storage refuses to say, seconds.
AGAIN_S = 2.0
#: Files whose containers are inspected together: each exchange with the process that does it costs more than an inspection.
INSPECTED_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a folder needs of the rest of the program."""

    #: The files of a folder that are on record. StorageError, also while they are read: it is asked again later.
    known: Callable[[Path], Iterable[Known]]
    #: Of recordings in a watched folder, in turn.
    completeness: Callable[[Path, Sequence[Path]], Iterable[Completeness]]
    sink: Callable[[Notice], None]
    clock: Callable[[], float]  #: monotonic seconds
    wall: Callable[[], float]  #: epoch seconds
    rescan_s: float
    holds: FolderLocks


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file that only its container can prove complete."""

    path: str
    candidate: Candidate
    writer: Writer
    marked: bool


class FolderWatch:
    """Owned by one thread; every `now` is monotonic seconds."""

    def __init__(self, folder: Folder, hint: Callable[[str], None], around: Surroundings) -> None:
        self.folder = folder
        self.post = RootMonitor(folder, hint, around.sink, around.wall, around.holds)
        #: When it last asked something of the disk, monotonic seconds; None while it has nothing to do. Others read it.
        self.asked_at: float | None = None
        self._path = str(folder.path)
        self._around = around
        self._names = Names(folder)
        self._files = FileTable(Settling(folder))
        #: What is on record has to be asked before what a walk finds can be called new.
        self._unsure = True
        self._next_scan = -math.inf
        self._last_scan = -math.inf
        self._checked = False

    def turn(self, now: float, hints: Iterable[str]) -> None:
        """Everything that is due at `now`, after following what was hinted."""
        for path in hints:
            self._follow(path, now)
        if now >= self._next_scan:
            self._scan(now)
        due = self._files.take_due(now)
        for i in range(0, len(due), INSPECTED_AT_ONCE):
            self._look_at(due[i : i + INSPECTED_AT_ONCE], now)
        self._confirm_missing(now)
        self.asked_at = None

    def _ask(self) -> None:
        self.asked_at = self._around.clock()

    def next_turn(self) -> float:
        """When `turn` has something to do even without a hint, monotonic seconds."""
        due = self._files.next_due()
        return self._next_scan if due is None else min(due, self._next_scan)

    def scan_now(self) -> None:
        """Scan at the next turn."""
        self._next_scan = -math.inf

    def forget(self, path: str, now: float) -> None:
        """Look at the file as if it had never been seen."""
        self._files.forget(path)
        self._follow(path, now)

    def reconfigure(self, folder: Folder) -> None:
        """Go on under other settings of the same folder, without forgetting its files."""
        self.folder = folder
        self.post.change(folder)
        self._names = Names(folder)
        self._files.settling = Settling(folder)
        self.scan_now()

    def unsettled(self) -> int:
        return len(self._files)

    def _follow(self, path: str, now: float) -> None:
        """Something happened at `path`; find out what."""
        self._ask()
        if self.post.troubled or path == self._path:
            self._scan_soon(now)
            return
        relative = below_root(path, self._path)
        try:
            with opened(self.folder.path) as folder:
                status = status_beneath(folder, Path(relative))
        except OSError:
            self._vanished(path, now)
            return
        name = path.rpartition("/")[2]
        if stat.S_ISDIR(status.st_mode):
            if self.folder.recursive and not self._names.prunes(name, relative):
                self._take(self._find(path, self._files.settled), now)
            return
        if self.folder.done_marker and name.endswith(DONE_SUFFIX):
            path, name = path.removesuffix(DONE_SUFFIX), name.removesuffix(DONE_SUFFIX)
            relative = relative.removesuffix(DONE_SUFFIX)
        kind = self._names.kind(name)
        if kind in {Kind.SIDECAR, Kind.TEMPORARY} or self._names.excludes(relative):
            return
        looked = foreign(path) if kind is Kind.FOREIGN else examine(path, self._path)
        if isinstance(looked, Refuse):
            self._refuse(path, looked, None)
        elif looked is not None:
            self._files.saw(path, looked, now)

    def _vanished(self, path: str, now: float) -> None:
        self._files.drop(path)
        self._files.miss(path, now + self.folder.quiet_s)
        if self.post.watches(path):
            # A directory went, and with it an unknown number of files.
            self._scan_soon(now)

    def _scan_soon(self, now: float) -> None:
        self._next_scan = min(self._next_scan, max(now, self._last_scan + SOON_S))

    def _scan(self, now: float) -> None:
        """Look at the whole folder. The next scan is counted from the end of this one, so that a slow disk gets
        its rest.
        """
        self._ask()
        standing = self.post.check(inhabited=self._files.inhabited())
        again_s = math.inf
        # What stands there at the start is taken for what stood there when the files became known, unless it is
        # empty: then it may be a share that is not mounted yet.
        first, self._checked = not self._checked, True
        if standing is Standing.TROUBLE:
            self._files.pause()
        else:
            trusting = first and not self.post.empty
            if standing is Standing.RENEWED:
                # The jobs of recordings that were away may have been cancelled: those recordings are new again.
                self._unsure = True
                if not trusting:
                    self._files.disown()
            self._follow_mounts()
            if not self._walk_all(now, trusting=trusting):
                again_s = AGAIN_S
                self._checked = self._checked and not first
        self._last_scan = self._around.clock()
        every = min(self._around.rescan_s, again_s)
        if self.post.polled and standing is not Standing.TROUBLE:
            every = min(every, self.folder.poll_s)
        self._next_scan = self._last_scan + every

    def _follow_mounts(self) -> list[str]:
        """Take note of what was mounted or unmounted in the folder; returns the directories that were unmounted."""
        gone, came = self.post.mounts()
        for directory in gone:
            self._files.disown(directory)
        if came:
            self._unsure = True
            self.scan_now()
        return gone

    def _walk_all(self, now: float, *, trusting: bool) -> bool:
        """False when nothing could be made of it, because storage does not say what is on record."""
        found = self._find(self._path, {} if self._unsure else self._files.settled)
        # If the folder changed under the walk, what the walk did not see proves nothing.
        whole = self.post.holds()
        if self._unsure:
            try:
                self._files.learn(found, self._around.known(self.folder.path), trusting=trusting and whole)
            except StorageError:
                return False
            self._unsure = not whole
        self._take(found, now)
        if whole:
            self._files.close_walk(found, now + self.folder.quiet_s)
            self.post.keep(found.directories)
        return True

    def _find(self, start: str, known: Mapping[str, FileSignature]) -> Scan:
        return walk(start, self._path, self._names, known, self._enter, recursive=self.folder.recursive)

    def _take(self, found: Scan, now: float) -> None:
        self._files.take_walk(found, now)
        for path, refusal in found.refused:
            self._refuse(path, refusal, None)

    def _enter(self, directory: str, descriptor: int) -> Refuse | None:
        self._ask()
        taken = self.post.elsewhere(directory, descriptor)
        if taken is not None:
            self._files.disown(directory)
            return Refuse(
                "watched_elsewhere", f"another daemon ({taken.holder}) watches this folder by itself"
            )
        self.post.enter(directory, descriptor)
        return None

    def _look_at(self, paths: list[str], now: float) -> None:
        """The time of these files has come: are they complete?"""
        seen = [s for s in (self._look(path, now) for path in paths) if s is not None]
        if not seen:
            return
        self._ask()
        inspected = self._around.completeness(self.folder.path, [Path(s.path) for s in seen])
        for s, completeness in zip(seen, inspected, strict=True):
            self._ask()
            decision = self._files.settling.decide(
                s.candidate, now, writer=s.writer, marked=s.marked, completeness=completeness
            )
            self._conclude(s.path, s.candidate, decision, now)

    def _look(self, path: str, now: float) -> _Seen | None:
        """What was seen of the file, if its container has to be inspected before anything is decided."""
        self._ask()
        looked = examine(path, self._path)
        before = self._files.candidate(path)
        if looked is None:
            self._files.drop(path)
            return None
        if isinstance(looked, Refuse):
            self._refuse(path, looked, None)
            return None
        candidate = self._files.settling.observe(before, looked, now)
        ripe = self._files.settling.ripe(candidate)
        if now < ripe:
            self._files.wait(path, candidate, ripe)
            return None
        writer = probe(Path(path), self.folder.path)
        if writer is Writer.FREE and not self.post.sees_writers:
            writer = Writer.UNKNOWN
        marked = not self.folder.done_marker or self._is_there(path + DONE_SUFFIX)
        decision = self._files.settling.decide(candidate, now, writer=writer, marked=marked)
        if isinstance(decision, Inspect):
            return _Seen(path, candidate, writer, marked)
        self._conclude(path, candidate, decision, now)
        return None

    def _conclude(self, path: str, candidate: Candidate, decision: Decision, now: float) -> None:
        match decision:
            case Refuse():
                self._refuse(path, decision, candidate.signature)
            case Complete():
                self._files.settle(path, candidate.signature)
                took = now - candidate.first_seen
                self._around.sink(
                    Arrival(self.folder.path, Path(path), candidate.signature, took, self._around.wall())
                )
            case Wait(until):
                self._files.wait(path, candidate, until)

    def _refuse(self, path: str, refusal: Refuse, signature: FileSignature | None) -> None:
        if self._files.refuse(path, refusal, signature):
            self._around.sink(
                Skip(self.folder.path, Path(path), refusal.code, refusal.reason, self._around.wall())
            )

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
            self._ask()
            if not (lost and path.startswith(lost)) and self._is_gone(path):
                self._files.gone(path)
                self._around.sink(Gone(self.folder.path, Path(path), self._around.wall()))

    def _is_there(self, path: str) -> bool:
        try:
            return is_there(Path(path), self.folder.path)
        except OSError:
            return False

    def _is_gone(self, path: str) -> bool:
        """Whether nothing stands at `path`; what we may not see, or cannot read now, is not gone."""
        try:
            return not is_there(Path(path), self.folder.path)
        except OSError:
            return False
