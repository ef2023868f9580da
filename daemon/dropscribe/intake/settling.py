"""Decide when a file is complete. Pure policy: no disk access, no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from dropscribe.config import Folder
from dropscribe.files import FileSignature
from dropscribe.intake.names import DONE_SUFFIX
from dropscribe.intake.types import Completeness, WaitReason

#: Interval of probes of a file that is open for writing, seconds. With inotify its closing is noticed at once; this
#: is for folders without events.
BUSY_RECHECK_S = 1.0

#: Delay before a file whose content could not be read is tried again, and the longest one, seconds. It doubles each time.
REREAD_S = 5.0
REREAD_MOST_S = 600.0


def reread_delay_s(tries: int) -> float:
    """Seconds to wait after the attempt number `tries` (from 1) to read a file has failed."""
    return min(REREAD_MOST_S, REREAD_S * 2.0 ** min(tries - 1, 16))


class Writer(Enum):
    """Whether a process has a file open for writing."""

    FREE = "free"
    BUSY = "busy"
    UNKNOWN = "unknown"  #: cannot be determined: another machine may write, or no permission for the probe


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file under observation."""

    signature: FileSignature
    since: float  #: when this signature was first seen, monotonic seconds
    first_seen: float  #: when the file was first seen, monotonic seconds


@dataclass(frozen=True, slots=True)
class Wait:
    """Not complete yet. Check again at `until` (monotonic seconds; infinite: at the next event or scan)."""

    until: float
    reason: WaitReason


@dataclass(frozen=True, slots=True)
class Inspect:
    """The container must be inspected; call `decide` again with its `completeness`."""


@dataclass(frozen=True, slots=True)
class Complete:
    """The file is complete and may be admitted."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The file is skipped until it changes; `code` and `reason` as in `Skip`."""

    code: str
    reason: str


Decision = Wait | Inspect | Complete | Refuse

#: Reason to wait for a writer, at most as long as it has the file open.
OPEN = WaitReason("open", "a program has it open for writing")

EMPTY = Refuse("empty", "the file is empty; it is examined again when it changes")

TEXT = Refuse("text", "it is a text file, not a recording; its extension is used for both")


def downloading(state_file: str) -> WaitReason:
    """Reason to wait while the file of this name says that the recording is still downloaded."""
    return WaitReason("state_file", f"it is still downloaded: {state_file} is there")


class Settling:
    """A file is complete when:

    1. its name is final (`names` ignores temporary ones; a file is considered once it is renamed), and no state file
       of a download stands beside it (`names.marker`; checked by the folder);
    2. no process is known to have it open for writing (there is no time limit for that);
    3. its size, mtime and inode have not changed for `quiet_s`, or for `quiet_unprobed_s` where writers cannot be
       detected;
    4. its `.done` marker exists, if the folder requires one;
    5. its container declares no more bytes than there are; or it does, but the file has not changed for
       `incomplete_s`: then it is truncated, which decoding will report.

    An empty file is refused after rules 2 and 3, a text file after rule 5, until it changes. The quiet period is measured
    on the daemon's monotonic clock from the first observation of the signature: an mtime comes from another clock,
    which may be wrong or jump.
    """

    def __init__(self, folder: Folder) -> None:
        self._quiet_s = folder.quiet_s
        self._unprobed_s = max(folder.quiet_s, folder.quiet_unprobed_s)
        self._incomplete_s = folder.incomplete_s

    @staticmethod
    def observe(before: Candidate | None, signature: FileSignature, now: float) -> Candidate:
        """Update the candidate with the `signature` seen at `now` (monotonic seconds)."""
        if before is None:
            return Candidate(signature, now, now)
        if before.signature != signature:
            return Candidate(signature, now, before.first_seen)
        return before

    def ripe(self, candidate: Candidate) -> float:
        """Earliest time at which the file can be complete, monotonic seconds; no checks are needed before."""
        return candidate.since + self._quiet_s

    def unchanged_for(self, candidate: Candidate, seconds: float) -> WaitReason:
        """Reason to wait until the file has not changed for `seconds`."""
        if candidate.since > candidate.first_seen:
            return WaitReason("changing", f"it is still changing; it must stay as it is for {seconds:g} s")
        return WaitReason("quiet", f"it must stay as it is for {seconds:g} s")

    def quiet(self, candidate: Candidate) -> WaitReason:
        """Reason to wait until `ripe`."""
        return self.unchanged_for(candidate, self._quiet_s)

    def decide(
        self,
        candidate: Candidate,
        now: float,
        *,
        writer: Writer,
        marked: bool,
        completeness: Completeness | None = None,
    ) -> Decision:
        """Decide on a file whose signature was found unchanged at `now`.

        `marked`: its `.done` marker exists or none is required. `completeness`: None before the container has been
        inspected; `Inspect` is returned if it is needed.
        """
        if writer is Writer.BUSY:
            return Wait(now + BUSY_RECHECK_S, OPEN)
        quiet_s = self._quiet_s if writer is Writer.FREE else self._unprobed_s
        quiet_until = candidate.since + quiet_s
        if now < quiet_until:
            return Wait(quiet_until, self.unchanged_for(candidate, quiet_s))
        if candidate.signature.size == 0:
            return EMPTY
        if not marked:
            return Wait(math.inf, WaitReason("done_marker", f"its marker NAME{DONE_SUFFIX} is not there yet"))
        if completeness is None:
            return Inspect()
        if completeness is Completeness.TEXT:
            return TEXT
        cut_until = candidate.since + self._incomplete_s
        if completeness is Completeness.INCOMPLETE and now < cut_until:
            return Wait(
                cut_until,
                WaitReason(
                    "cut_short",
                    f"its end is missing; it is taken when unchanged for {self._incomplete_s:g} s",
                ),
            )
        return Complete()
