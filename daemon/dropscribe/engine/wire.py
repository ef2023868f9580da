"""Messages from the engine process to its parent, besides the events of the protocol. Frozen, pickled."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from dropscribe.engine.protocol import Event, HeldModel, SegmentDone
from dropscribe.transcript.types import NO_TAGS, NO_TOKENS, EngineFacts, packed_tokens

#: Least capacity of an engine, in batches: those under way, one being formed, and one arriving.
BATCHES_AHEAD = 5
#: Place of the tokens among the fields of a segment, and number of their columns.
_TOKENS = SegmentDone._fields.index("tokens")
_TOKEN_COLUMNS = len(NO_TOKENS.packed())


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
        """Segments that follow each other are pickled in columns, which takes half the time in either process."""
        groups = [
            (kind is SegmentDone, _columns([*events]) if kind is SegmentDone else (*events,))
            for kind, events in groupby(self.events, type)
        ]
        return _report, (groups, self.released)


def _columns(segments: list[Any]) -> tuple[Any, ...]:
    """Columns of the tokens of segments, then their other fields; without tags if no segment has any."""
    columns = [*zip(*segments, strict=True)]
    tokens = columns.pop(_TOKENS)
    if columns[-1].count(NO_TAGS) == len(segments):
        del columns[-1]
    return (*zip(*[one.packed() for one in tokens], strict=True), *columns)


def _report(groups: list[tuple[bool, tuple[Any, ...]]], released: int) -> Report:
    """A report from what `Report.__reduce__` gave."""
    events: list[Event | Aborted] = []
    for in_columns, found in groups:
        if in_columns:
            tokens, fields = found[:_TOKEN_COLUMNS], found[_TOKEN_COLUMNS:]
            events += map(SegmentDone, *fields[:_TOKENS], map(packed_tokens, *tokens), *fields[_TOKENS:])
        else:
            events += found
    return Report(tuple(events), released)


@dataclass(frozen=True, slots=True)
class Held:
    """The models of the process, whenever one was loaded or unloaded, or could not be."""

    models: tuple[HeldModel, ...]


FromChild = Ready | Refused | Note | Report | Held
