"""Messages from the engine process to its parent, besides the events of the protocol. Frozen, pickled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dropscribe.engine.protocol import Event, HeldModel
from dropscribe.transcript.types import EngineFacts

#: Least capacity of an engine, in batches: those under way, one being formed, and one arriving.
BATCHES_AHEAD = 5


@dataclass(frozen=True, slots=True)
class Ready:
    """The models are loaded and warm. `batch_s`: audio seconds of the largest batch, as found at warm-up."""

    facts: EngineFacts
    batch_s: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The engine cannot be started, and a retry would not help. The fields are those of EngineError."""

    reason: str
    operation: str
    path: str | None
    remedy: str


@dataclass(frozen=True, slots=True)
class Note:
    """A message for the log."""

    text: str


@dataclass(frozen=True, slots=True)
class Aborted:
    """Last event of an aborted stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class Report:
    """Events, and the amount of audio processed.

    `released`: all samples received so far, less those in unread blocks and in segments not yet recognised. It
    decreases when VAD completes a long segment.
    """

    events: tuple[Event | Aborted, ...]
    released: int

    def __reduce__(self) -> tuple[Any, ...]:
        """See `PcmBlock`."""
        return Report, (self.events, self.released)


@dataclass(frozen=True, slots=True)
class Held:
    """The models of the process, whenever one was loaded or unloaded, or could not be."""

    models: tuple[HeldModel, ...]


FromChild = Ready | Refused | Note | Report | Held
