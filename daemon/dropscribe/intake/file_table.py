"""State of the files of one folder while the daemon runs: settled, settling, missing, refused.

In memory: no disk access, no clock. Paths are absolute strings.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from dropscribe.files import FileSignature
from dropscribe.intake.names import marker
from dropscribe.intake.scan import Scan
from dropscribe.intake.settling import Candidate, Refuse, Settling, reread_delay_s
from dropscribe.intake.types import Known, WaitReason


class Access(NamedTuple):
    """What changes when somebody makes a file readable: its time of change (ns), mode, owner and group."""

    changed_ns: int
    mode: int
    uid: int
    gid: int


@dataclass(slots=True)
class _Settling:
    candidate: Candidate
    due: float
    reason: WaitReason


@dataclass(slots=True)
class _Unreadable:
    """A file that was passed on and whose content could not be read.

    `due`: next attempt, monotonic seconds; infinite while one is under way or has succeeded.
    """

    access: Access
    tries: int
    due: float


class FileTable:
    """Files of one folder by state. Owned by the folder's thread.

    `settled` has the recorded files that exist, with the signature they had when they were passed on. A file is only
    reported as gone if it has been seen since the folder got its current root directory (`_present`): after the folder
    was recreated or mounted, a file that it does not contain may be elsewhere.
    """

    def __init__(self, settling: Settling) -> None:
        self.settling = settling
        self.settled: dict[str, FileSignature] = {}
        self._present: set[str] = set()
        self._settling: dict[str, _Settling] = {}
        #: Heap of (due, path); entries that a later `wait` replaced stay until they are due.
        self._queue: list[tuple[float, str]] = []
        self._refused: dict[str, FileSignature] = {}
        #: Path → codes of the refusals reported so far.
        self._reported: dict[str, set[str]] = {}
        self._unreadable: dict[str, _Unreadable] = {}
        #: Heap of (due, path) of these; entries that a change replaced stay until they are due.
        self._retries: list[tuple[float, str]] = []
        #: Path of a file or folder → files that marked it as incomplete when they were last seen (`names.marker`).
        self._markers: dict[str, set[str]] = {}
        #: Path → when to confirm that the file is gone, monotonic seconds.
        self._missing: dict[str, float] = {}

    def __len__(self) -> int:
        """Number of files that are settling."""
        return len(self._settling)

    def inhabited(self) -> bool:
        """True if any file has been seen in the folder's current root directory."""
        return bool(self._present or self._settling)

    def saw(self, path: str, signature: FileSignature, now: float) -> None:
        """Note a recording at `path` with this signature; it starts to settle if it is new or changed."""
        if self.settled.get(path) == signature or self._refused.get(path) == signature:
            self._settling.pop(path, None)
            return
        before = self._settling.get(path)
        candidate = self.settling.observe(None if before is None else before.candidate, signature, now)
        due = max(now, self.settling.ripe(candidate))
        if before is None or candidate is not before.candidate or due < before.due:
            self.wait(path, candidate, due, self.settling.quiet(candidate))

    def wait(self, path: str, candidate: Candidate, due: float, reason: WaitReason) -> None:
        """Check `path` again at `due` (monotonic seconds; infinite: when it is seen again)."""
        self._settling[path] = _Settling(candidate, due, reason)
        if due < math.inf:
            heapq.heappush(self._queue, (due, path))

    def candidate(self, path: str) -> Candidate | None:
        """Candidate at `path`, if it is settling."""
        settling = self._settling.get(path)
        return None if settling is None else settling.candidate

    def unsettled(self, limit: int) -> list[tuple[str, float, WaitReason]]:
        """Path, time of the first observation (monotonic seconds) and reason of files that settle; the first seen first."""
        listed = islice(self._settling.items(), limit)
        return [(path, s.candidate.first_seen, s.reason) for path, s in listed]

    def mark(self, path: str) -> str | None:
        """Note the file `path`, if it marks another as incomplete; returns the path of that other."""
        directory, _, name = path.rpartition("/")
        meaning = marker(name)
        if meaning is None:
            return None
        target = f"{directory}/{meaning.name}"
        self._markers.setdefault(target, set()).add(path)
        return target

    def markers(self, path: str, *, empty: bool) -> list[str]:
        """Files noted that mark `path`, which is `empty` or not, or a folder above it as incomplete.

        They may be gone: the caller must check, and call `unmark` for those that are.
        """
        found = []
        at = path
        while at:
            for one in self._markers.get(at, ()):
                meaning = marker(one.rpartition("/")[2])
                if meaning is not None and (meaning.any_size or (empty and at == path)):
                    found.append(one)
            at = at.rpartition("/")[0]
        return found

    def unmark(self, path: str) -> str | None:
        """Forget the file `path`, which is gone; returns the path that it marked, or None."""
        directory, _, name = path.rpartition("/")
        meaning = marker(name)
        target = None if meaning is None else f"{directory}/{meaning.name}"
        noted = self._markers.get(target) if target is not None else None
        if target is None or noted is None or path not in noted:
            return None
        noted.discard(path)
        if not noted:
            del self._markers[target]
        return target

    def take_due(self, now: float) -> list[str]:
        """Files that are due; the caller must call `settle`, `refuse`, `drop` or `wait` for each."""
        # A dict as an ordered set: a file that changed twice at one instant is queued twice for the same time.
        due: dict[str, None] = {}
        while self._queue and self._queue[0][0] <= now:
            at, path = heapq.heappop(self._queue)
            settling = self._settling.get(path)
            # Skip entries that a later `wait` replaced.
            if settling is not None and settling.due == at:
                due[path] = None
        return list(due)

    def next_due(self) -> float | None:
        """Time at which the next file is due, monotonic seconds; None if there is none."""
        times = list(self._missing.values())
        if self._queue:
            times.append(self._queue[0][0])
        if self._retries:
            times.append(self._retries[0][0])
        return min(times, default=None)

    def settle(self, path: str, signature: FileSignature) -> None:
        """Note that `path` was passed on with this signature."""
        self._settling.pop(path, None)
        self._missing.pop(path, None)
        self._refused.pop(path, None)
        if (unreadable := self._unreadable.get(path)) is not None:
            unreadable.due = math.inf
        self.settled[path] = signature
        self._present.add(path)

    def refuse(self, path: str, refusal: Refuse, signature: FileSignature | None) -> bool:
        """Refuse `path`, if `signature` is given until that changes; True if the caller must report it (first time)."""
        self._settling.pop(path, None)
        if signature is not None:
            self._refused[path] = signature
        reported = self._reported.setdefault(path, set())
        new = refusal.code not in reported
        reported.add(refusal.code)
        return new

    def unreadable(self, path: str, access: Access, now: float) -> None:
        """Note that the content of `path`, which was passed on, could not be read; it is tried again with growing delays."""
        before = self._unreadable.get(path)
        tries = 1 if before is None else before.tries + 1
        due = now + reread_delay_s(tries)
        self._unreadable[path] = _Unreadable(access, tries, due)
        heapq.heappush(self._retries, (due, path))

    def waiting_unreadable(self) -> list[str]:
        """Unreadable files that wait for their next attempt."""
        return [path for path, one in self._unreadable.items() if one.due < math.inf]

    def retry_changed(self, path: str, access: Access) -> bool:
        """True if `path` waits for its next attempt and its access has changed; it may then be passed on again."""
        one = self._unreadable.get(path)
        if one is None or one.due == math.inf or one.access == access:
            return False
        # Delays begin anew.
        one.tries = 0
        self._retry(path, one)
        return True

    def take_retries(self, now: float, most: int) -> list[str]:
        """Up to `most` unreadable files whose next attempt is due; they may be passed on again."""
        due: list[str] = []
        while self._retries and self._retries[0][0] <= now and len(due) < most:
            at, path = heapq.heappop(self._retries)
            one = self._unreadable.get(path)
            if one is not None and one.due == at:
                self._retry(path, one)
                due.append(path)
        return due

    def _retry(self, path: str, one: _Unreadable) -> None:
        one.due = math.inf
        self.settled.pop(path, None)
        self._present.discard(path)

    def drop(self, path: str) -> None:
        """Stop settling `path`, which does not exist."""
        self._settling.pop(path, None)
        self._refused.pop(path, None)
        self._unreadable.pop(path, None)

    def miss(self, path: str, confirm_at: float) -> None:
        """Note that a known file is missing; to be confirmed at `confirm_at`, since it may only be being replaced."""
        if path in self._present:
            self._missing.setdefault(path, confirm_at)

    def take_missing(self, now: float) -> list[str]:
        """Missing files that are due; the caller must confirm each and call `gone` if it is."""
        due = [path for path, at in self._missing.items() if at <= now]
        for path in due:
            del self._missing[path]
        return due

    def gone(self, path: str) -> None:
        """Note that `path` was reported as gone: a later file of that name is new, even with the same signature."""
        self.settled.pop(path, None)
        self._unreadable.pop(path, None)
        self._present.discard(path)

    def forget(self, path: str) -> None:
        """Discard the state of `path`: it will settle and be passed on again."""
        self.gone(path)
        self._missing.pop(path, None)
        self._refused.pop(path, None)
        self._reported.pop(path, None)

    def learn(self, walk: Scan, known: Iterable[Known], *, trusting: bool) -> None:
        """Set the settled files from `known`, the files on record, and remove unchanged ones from `walk`.

        `walk` must have been made as if every file were new. Files that were passed on but are not on record are so
        found again. `trusting`: assume that the folder is the one that contained the files on record; those with
        unfinished jobs then count as missing if the walk did not find them.
        """
        settled: dict[str, FileSignature] = {}
        present: set[str] = set()
        for path, signature, unfinished in known:
            found = walk.found.get(path)
            if found is None:
                if path in self._present or (trusting and unfinished):
                    present.add(path)
                continue
            settled[path] = signature
            walk.seen.add(path)
            if found == signature:
                del walk.found[path]
                self._settling.pop(path, None)
        self.settled, self._present = settled, present

    def take_walk(self, walk: Scan, now: float) -> None:
        """Take over the files found by a walk of the whole folder or a part of it."""
        self._present |= walk.seen
        for path in walk.markers:
            self.mark(path)
        for path, signature in walk.found.items():
            self.saw(path, signature, now)

    def close_walk(self, walk: Scan, confirm_at: float) -> None:
        """Compare with a complete walk: files it did not see are missing, and their refusals are discarded."""
        self._markers.clear()
        for path in walk.markers:
            self.mark(path)
        for path in self._present - walk.seen:
            self._missing.setdefault(path, confirm_at)
        if self._unreadable:
            found = (walk.seen, walk.found)
            self._unreadable = {p: one for p, one in self._unreadable.items() if any(p in f for f in found)}
        if self._refused or self._reported:
            self._refused = {p: s for p, s in self._refused.items() if p in walk.found}
            there = {path for path, _ in walk.refused}
            kept = (there, self._refused, self._unreadable)
            self._reported = {p: codes for p, codes in self._reported.items() if any(p in k for k in kept)}

    def disown(self, below: str | None = None) -> None:
        """Note that the folder (or the directory `below`) was replaced: its files count neither as present nor gone."""
        if below is None:
            self._present.clear()
            self.pause()
            return
        prefix = f"{below}/"
        self._present = {path for path in self._present if not path.startswith(prefix)}
        self._missing = {path: at for path, at in self._missing.items() if not path.startswith(prefix)}

    def pause(self) -> None:
        """Discard files that are settling or missing while the folder is unusable; a later walk finds them."""
        self._settling.clear()
        self._queue.clear()
        self._missing.clear()
