"""What the engine process says to its parent besides the events of the protocol. Frozen, pickled."""

from __future__ import annotations

from dataclasses import dataclass

from dropscribe.engine.protocol import Event
from dropscribe.transcript.types import EngineFacts

#: Batches' worth of audio an engine takes at least: those under way, one forming, and one arriving.
BATCHES_AHEAD = 5


@dataclass(frozen=True, slots=True)
class Ready:
    """Loaded and warm. `batch_s`: audio seconds of its largest batch, as found at warm-up."""

    facts: EngineFacts
    batch_s: float


@dataclass(frozen=True, slots=True)
class Refused:
    """It could not be started, and starting it again would not help: the fields of an EngineError."""

    reason: str
    operation: str
    path: str | None
    remedy: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person should read in the log."""

    text: str


@dataclass(frozen=True, slots=True)
class Aborted:
    """The last thing that is said of an aborted stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class Report:
    """Events, and how much audio it has done with.

    `released` counts all samples it ever took over, less those that lie in blocks not yet read and in
    segments not yet recognised. It can fall: when VAD gives out a long segment.
    """

    events: tuple[Event | Aborted, ...]
    released: int


FromChild = Ready | Refused | Note | Report
