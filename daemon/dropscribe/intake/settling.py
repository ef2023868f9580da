"""When is a file complete? Pure policy: it sees values, never the disk and never the clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from dropscribe.config import Folder
from dropscribe.files import FileSignature
from dropscribe.intake.types import Completeness

#: A file that somebody has open for writing is probed again this often, seconds. Where events arrive, its closing
#: is noticed at once; this is for where they do not.
BUSY_RECHECK_S = 1.0


class Writer(Enum):
    """Whether somebody has a file open for writing."""

    FREE = "free"
    BUSY = "busy"
    UNKNOWN = "unknown"  #: cannot be seen here: another machine may write, or we may not ask


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file under observation."""

    signature: FileSignature
    since: float  #: monotonic seconds at which we first saw this signature
    first_seen: float  #: monotonic seconds at which we first saw the file


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet. Look again at `until` (monotonic seconds; infinite: when something happens to the file)."""

    until: float


@dataclass(frozen=True, slots=True)
class Inspect:
    """The container must be looked into before it can be said; decide again with its wholeness."""


@dataclass(frozen=True, slots=True)
class Complete:
    """The file is complete and may be admitted."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The file will not be taken as it stands; `code` and `reason` as in `Skip`."""

    code: str
    reason: str


Decision = Wait | Inspect | Complete | Refuse

EMPTY = Refuse("empty", "the file is empty; it is looked at again when it changes")


class Settling:
    """A file is complete when:

    1. its name is final (`names` keeps temporary ones away; they come here when they are renamed);
    2. nobody has it open for writing, as far as we can see: while somebody has, we wait, however long;
    3. its size, mtime and inode have not changed for `quiet_s`, or for `quiet_unprobed_s` where we cannot see
       whether somebody writes;
    4. its `.done` marker is there, where the folder asks for one;
    5. its container declares no more than is there, or it has not changed for `incomplete_s` although it does:
       then it is cut, and whoever decodes it says so.

    An empty file is refused after rules 2 and 3, until it changes. Quiet is counted on our own clock from our own
    first sight of the signature: an mtime is a stranger's clock and may lie in the future or jump.
    """

    def __init__(self, folder: Folder) -> None:
        self._quiet_s = folder.quiet_s
        self._unprobed_s = max(folder.quiet_s, folder.quiet_unprobed_s)
        self._incomplete_s = folder.incomplete_s

    @staticmethod
    def observe(before: Candidate | None, signature: FileSignature, now: float) -> Candidate:
        """What is known after seeing `signature` at `now` (monotonic seconds)."""
        if before is None:
            return Candidate(signature, now, now)
        if before.signature != signature:
            return Candidate(signature, now, before.first_seen)
        return before

    def ripe(self, candidate: Candidate) -> float:
        """Monotonic seconds before which no evidence can make the file complete, so none need be gathered."""
        return candidate.since + self._quiet_s

    def decide(
        self,
        candidate: Candidate,
        now: float,
        *,
        writer: Writer,
        marked: bool,
        completeness: Completeness | None = None,
    ) -> Decision:
        """What to do with a file whose signature was found unchanged at `now`.

        `marked`: its `.done` marker is there or none is asked for. `wholeness`: None while nobody has looked;
        `Inspect` is returned where it matters.
        """
        if writer is Writer.BUSY:
            return Wait(now + BUSY_RECHECK_S)
        quiet_until = candidate.since + (self._quiet_s if writer is Writer.FREE else self._unprobed_s)
        if now < quiet_until:
            return Wait(quiet_until)
        if candidate.signature.size == 0:
            return EMPTY
        if not marked:
            return Wait(math.inf)
        cut_until = candidate.since + self._incomplete_s
        if now >= cut_until:
            return Complete()
        if completeness is None:
            return Inspect()
        return Wait(cut_until) if completeness is Completeness.INCOMPLETE else Complete()
