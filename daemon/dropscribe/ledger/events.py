"""Events that people are notified of, and who wants which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class EventKind(StrEnum):
    """Kinds of events; the values of `events` in a `[[notify]]` section."""

    DONE = "done"  #: a job is done
    FAILED = "failed"  #: a job has failed
    HELD = "held"  #: jobs of a folder wait for something outside
    BACKLOG = "backlog"  #: the oldest job has waited too long
    DISK = "disk"  #: a disk has too little free space
    ENGINE = "engine"  #: an engine process died or hung, and was replaced


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a target wants to be notified of. No `folders` or `profiles`: of all."""

    target: str
    events: frozenset[EventKind]
    folders: frozenset[Path] = frozenset()
    profiles: frozenset[str] = frozenset()
    #: Length of the periods whose events are sent in one message, seconds; 0: each event is a message.
    digest_s: float = 0.0

    def wants(self, kind: EventKind, folder: Path | None = None, profile: str | None = None) -> bool:
        """True if it wants an event of this watched folder and profile; None: the event concerns no single one."""
        return (
            kind in self.events
            and (folder is None or not self.folders or folder in self.folders)
            and (profile is None or not self.profiles or profile in self.profiles)
        )

    def due_at(self, now: float) -> float:
        """When the message with an event of `now` is to be sent, epoch seconds: periods of a digest begin at its multiples."""
        return now if self.digest_s <= 0 else (now // self.digest_s + 1) * self.digest_s


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened. `facts`: values that JSON can hold; instants (`*_at`) are epoch seconds.

    None: they are those of the job when the event is claimed.
    """

    kind: EventKind
    at: float
    facts: Mapping[str, Any] | None = field(default_factory=dict)
    folder: Path | None = None
    profile: str | None = None
    job_id: int | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that lasts and is announced once, when it begins; `key` identifies it among all conditions."""

    key: str
    kind: EventKind
    facts: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    profile: str | None = None
