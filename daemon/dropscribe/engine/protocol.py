"""Interface of the engine for the service: four methods and frozen messages.

A *stream* is one attempt at one recording: its blocks are passed to `submit`, its events are returned by `results`.

Contract, tested by `tests/contract/test_engine.py` for every implementation:

- blocks of one stream are submitted in order, the last one with `final=True` (it may have 0 samples);
- every block is freed by exactly one `BlockFreed`, also if the stream fails or is aborted;
- every stream whose final block was submitted ends in exactly one `StreamDone` or `StreamFailed`; before
  `StreamDone(segments=n)` there is one `SegmentDone` for each index 0..n-1, in any order;
- after `Abort` the only further events of the stream are `BlockFreed`;
- if the engine's process is gone, `results` raises `EngineDiedError` once all its events have been returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from dropscribe.records import sent
from dropscribe.transcript.roles import ModelSet
from dropscribe.transcript.types import NO_TAGS, EngineFacts, ModelsUsed, Tags, Tokens

#: Every engine takes 16 kHz mono signed 16-bit little-endian PCM.
SAMPLE_RATE_HZ = 16_000
BYTES_PER_SAMPLE = 2
#: Value of `StreamOptions.punctuation` and `StreamOptions.language` that leaves the choice to the engine.
AUTO = "auto"


@sent
@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What is wanted for one stream."""

    hotwords: tuple[str, ...] = ()
    #: Punctuation model: "auto" for that of the engine, unless the recogniser writes marks itself; "" for none.
    punctuation: str = ""
    #: Number of speakers to tell apart; 0: to be found; None: not asked for.
    speakers: int | None = None
    #: Models to use; None: the first set in the settings of the engine.
    models: ModelSet | None = None
    #: Language that is spoken, for a model that knows several; "auto": to be found.
    language: str = AUTO


PLAIN = StreamOptions()


@dataclass(frozen=True, slots=True)
class PcmBlock:
    """Audio of one stream in the shared arena, from `offset` (bytes), `samples` long."""

    stream: int
    offset: int
    samples: int
    final: bool
    #: Options of the stream; only those of its first block count.
    options: StreamOptions = PLAIN

    def __reduce__(self) -> tuple[Any, ...]:
        """Faster pickling than the default of dataclasses: thousands of messages a second go between the processes."""
        return PcmBlock, (self.stream, self.offset, self.samples, self.final, self.options)


@dataclass(frozen=True, slots=True)
class Abort:
    """Discard a stream, because its recording was cancelled or its decoder failed."""

    stream: int


@dataclass(frozen=True, slots=True)
class BlockFreed:
    """The engine no longer reads the arena slot at `offset`, which may be filled again."""

    offset: int

    def __reduce__(self) -> tuple[Any, ...]:
        """See `PcmBlock`."""
        return BlockFreed, (self.offset,)


class SegmentDone(NamedTuple):
    """Model output for one segment. Token positions are ms in the recording.

    A named tuple, since a GPU emits thousands a second, and a frozen dataclass takes four times as long to make.
    """

    stream: int
    index: int  # type: ignore[assignment]  # hides a method of tuples that nobody needs
    start_ms: int
    end_ms: int
    text: str
    tokens: Tokens
    batch: int  #: number of the batch, increasing
    batch_size: int  #: segments in that batch
    batch_padded_s: float  #: audio seconds of that batch, with padding
    batch_audio_s: float  #: audio seconds of that batch, without padding
    queued_s: float  #: from detection by VAD to the start of its batch
    recognition_s: float  #: this segment's share of the batch's wall time, by audio duration
    tags: Tags = NO_TAGS


@dataclass(frozen=True, slots=True)
class Annotations:
    """What postprocessing adds to a stream. A column has a value for each token of all its segments, in order of index."""

    marks: bytes = b""  #: as `Segment.marks`; empty: none
    speakers: bytes = b""  #: as `Segment.speakers`; empty: none
    voices: tuple[bytes, ...] = ()  #: `Speaker.embedding` of each speaker, in order of number
    seconds: tuple[tuple[str, float], ...] = ()  #: by stage of the timing log

    def with_(self, other: Annotations) -> Annotations:
        """Both together; of a column that both have, the other's."""
        return Annotations(
            other.marks or self.marks,
            other.speakers or self.speakers,
            other.voices or self.voices,
            self.seconds + other.seconds,
        )


NO_ANNOTATIONS = Annotations()


@dataclass(frozen=True, slots=True)
class StreamDone:
    """All `segments` segments of a stream have been delivered."""

    stream: int
    segments: int
    audio_ms: int
    speech_ms: int
    vad_s: float
    #: Failures of postprocessing stages, whose results the transcript lacks; one line each.
    remarks: tuple[str, ...] = ()
    annotations: Annotations = NO_ANNOTATIONS
    #: Models that worked on it; None if the engine has one set only and does not say.
    used: ModelsUsed | None = None


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """A stream cannot be recognised; others are not affected. `retryable`: another attempt may succeed."""

    stream: int
    code: str
    reason: str
    retryable: bool
    remedy: str = ""  #: "": not known


Event = BlockFreed | SegmentDone | StreamDone | StreamFailed


@sent
@dataclass(frozen=True, slots=True)
class HeldModel:
    """State of a model for people: "loaded", "loading", "waiting" (for memory) or "failed" (see `problem`)."""

    role: str
    name: str
    state: str
    size: int  #: bytes
    problem: str = ""


class Engine(Protocol):
    """A recogniser of many streams at once. Owned by one thread; not thread-safe."""

    def submit(self, message: PcmBlock | Abort) -> None:
        """Submit a block, or abort a stream, with the next `flush` or `results`. Never waits for the device.

        Raises EngineDiedError if the engine's process is gone.
        """

    def flush(self) -> None:
        """Send what was submitted, many blocks in one message. Never waits for the device. Raises as `submit` does."""

    def results(self, timeout_s: float) -> Sequence[Event]:
        """Events that have arrived, waiting at most `timeout_s` for the first; () on time-out.

        Raises EngineDiedError if the engine's process is gone and all its events have been returned.
        """

    def capacity(self) -> float:
        """Audio seconds that may be submitted now."""

    def close(self) -> None:
        """Stop and release the device. Unfinished work is lost; may be called twice."""


class LocalEngine(Engine, Protocol):
    """An engine on this host, with a file descriptor to wait on."""

    @property
    def facts(self) -> EngineFacts:
        """Model, device and versions; known once the engine is warm."""

    @property
    def held(self) -> tuple[HeldModel, ...]:
        """Models that were asked for, and their states."""

    def fileno(self) -> int:
        """Descriptor that is readable when `results(0)` would return events or raise."""

    def idle_s(self, now: float) -> float:
        """Seconds without progress while it has work; 0.0 without work. `now`: monotonic seconds."""
