"""What is known of the files of one folder while the daemon runs: which are settled, watched, missing, refused.

Only memory: it neither looks at the disk nor at a clock. Paths are absolute strings.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass

from dropscribe.files import FileSignature
from dropscribe.intake.scan import Scan
from dropscribe.intake.settling import Candidate, Refuse, Settling
from dropscribe.intake.types import Known


@dataclass(slots=True)
class _Waiting:
    candidate: Candidate
    due: float


class FileTable:
    """Owned by the folder's thread.

    Of what is on record only what is there is in `settled`, with the signature it had then. A file is only ever reported as gone if it has been seen since the folder
    came to be what it is (`present`): a folder that was made anew or mounted says nothing of files it never had.
    """

    def __init__(self, settling: Settling) -> None:
        self.settling = settling
        self.settled: dict[str, FileSignature] = {}
        self._present: set[str] = set()
        self._waiting: dict[str, _Waiting] = {}
        self._queue: list[tuple[float, str]] = []
        self._refused: dict[str, FileSignature] = {}
        self._said: set[tuple[str, str]] = set()
        self._missing: dict[str, float] = {}

    def __len__(self) -> int:
        """How many files are under observation and not settled yet."""
        return len(self._waiting)

    def inhabited(self) -> bool:
        """Whether any file has been seen in the folder as it is now."""
        return bool(self._present or self._waiting)

    def saw(self, path: str, signature: FileSignature, now: float) -> None:
        """A recording stands at `path` with this signature; it is to be settled if that is news."""
        if self.settled.get(path) == signature or self._refused.get(path) == signature:
            self._waiting.pop(path, None)
            return
        before = self._waiting.get(path)
        candidate = self.settling.observe(None if before is None else before.candidate, signature, now)
        due = max(now, self.settling.ripe(candidate))
        if before is None or candidate is not before.candidate or due < before.due:
            self.wait(path, candidate, due)

    def wait(self, path: str, candidate: Candidate, due: float) -> None:
        """Look at `path` again at `due` (monotonic seconds; infinite: when it is seen again)."""
        self._waiting[path] = _Waiting(candidate, due)
        if due < math.inf:
            heapq.heappush(self._queue, (due, path))

    def candidate(self, path: str) -> Candidate | None:
        """The observation of `path`, if it is under any."""
        waiting = self._waiting.get(path)
        return None if waiting is None else waiting.candidate

    def take_due(self, now: float) -> list[str]:
        """The files whose time has come; each must be settled, refused, dropped or told to `wait` again."""
        # A dict, for its order and because a file that changed twice at one instant is queued twice for one time.
        due: dict[str, None] = {}
        while self._queue and self._queue[0][0] <= now:
            at, path = heapq.heappop(self._queue)
            waiting = self._waiting.get(path)
            # An entry that is not the current one was overtaken by a later `wait`.
            if waiting is not None and waiting.due == at:
                due[path] = None
        return list(due)

    def next_due(self) -> float | None:
        """When something has to be looked at next, monotonic seconds."""
        times = list(self._missing.values())
        if self._queue:
            times.append(self._queue[0][0])
        return min(times, default=None)

    def settle(self, path: str, signature: FileSignature) -> None:
        """`path` was handed over as it stands."""
        self._waiting.pop(path, None)
        self._missing.pop(path, None)
        self._refused.pop(path, None)
        self.settled[path] = signature
        self._present.add(path)

    def refuse(self, path: str, refusal: Refuse, signature: FileSignature | None) -> bool:
        """`path` is not taken, with `signature` not until that changes; True if this has not been said yet."""
        self._waiting.pop(path, None)
        if signature is not None:
            self._refused[path] = signature
        key = (path, refusal.code)
        new = key not in self._said
        self._said.add(key)
        return new

    def drop(self, path: str) -> None:
        """`path` is not there: nothing to settle."""
        self._waiting.pop(path, None)
        self._refused.pop(path, None)

    def miss(self, path: str, confirm_at: float) -> None:
        """A settled file is not where it was; to be confirmed, because files are also replaced."""
        if path in self._present:
            self._missing.setdefault(path, confirm_at)

    def take_missing(self, now: float) -> list[str]:
        """Files to be confirmed as gone; each must be passed to `gone` if it is."""
        due = [path for path, at in self._missing.items() if at <= now]
        for path in due:
            del self._missing[path]
        return due

    def gone(self, path: str) -> None:
        """`path` was reported as gone; a file of that name is new again, whatever it looks like."""
        self.settled.pop(path, None)
        self._present.discard(path)

    def forget(self, path: str) -> None:
        """Know nothing of `path`: it will be settled and handed over again."""
        self.gone(path)
        self._missing.pop(path, None)
        self._refused.pop(path, None)
        self._said = {key for key in self._said if key[0] != path}

    def learn(self, walk: Scan, known: Iterable[Known], *, trusting: bool) -> None:
        """`known` is what is on record now; `walk`, which found everything as if it were new, is told what is not.

        What was handed over and did not stay on record is so found again. `trusting`: the folder is taken for the
        one in which the files on record were, so that those with work to give up are missing if they are not there.
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
                self._waiting.pop(path, None)
        self.settled, self._present = settled, present

    def take_walk(self, walk: Scan, now: float) -> None:
        """What a walk found, of the whole folder or of a part."""
        self._present |= walk.seen
        for path, signature in walk.found.items():
            self.saw(path, signature, now)

    def close_walk(self, walk: Scan, confirm_at: float) -> None:
        """`walk` went through the whole folder: what it did not see is missing, and needs no remembering."""
        for path in self._present - walk.seen:
            self._missing.setdefault(path, confirm_at)
        if self._refused or self._said:
            self._refused = {p: s for p, s in self._refused.items() if p in walk.found}
            there = {path for path, _ in walk.refused}
            self._said = {key for key in self._said if key[0] in there or key[0] in self._refused}

    def disown(self, below: str | None = None) -> None:
        """The folder (or the directory `below`) is not the one it was: its files are neither there nor gone."""
        if below is None:
            self._present.clear()
            self.pause()
            return
        prefix = f"{below}/"
        self._present = {path for path in self._present if not path.startswith(prefix)}
        self._missing = {path: at for path, at in self._missing.items() if not path.startswith(prefix)}

    def pause(self) -> None:
        """Nothing can be said of files now; a later walk finds what there is."""
        self._waiting.clear()
        self._queue.clear()
        self._missing.clear()
