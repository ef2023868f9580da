"""The engine as the service sees it: four methods and frozen messages.

One local device, several local devices and, later, a cluster are implementations of `Engine`.
A *stream* is one attempt at one recording: blocks go in by `submit`, events come out of `results`.

Contract, held by `tests/contract/test_engine.py` for every implementation:

- blocks of one stream are submitted in order, the last one with `final=True` (it may hold 0 samples);
- every block's slot comes back once as `BlockFreed`, whatever becomes of the stream;
- every stream that got its final block ends in exactly one `StreamDone` or `StreamFailed`, and before
  `StreamDone(segments=n)` came `SegmentDone` for each index 0..n-1, in any order;
- after `Abort` no further event of that stream arrives but `BlockFreed`;
- when the process behind it is gone, `results` raises `EngineDiedError`, once all delivered events were read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dropscribe.transcript.types import EngineFacts, Tokens

#: Every engine takes 16 kHz mono signed 16-bit little-endian PCM.
SAMPLE_RATE_HZ = 16_000
BYTES_PER_SAMPLE = 2


@dataclass(frozen=True, slots=True)
class PcmBlock:
    """Audio of one stream that lies in the shared arena at `offset` (bytes), `samples` long."""

    stream: int
    offset: int
    samples: int
    final: bool
    #: What to listen for; of a stream's blocks its first one says it.
    hotwords: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Between processes: of thousands a second, which dataclasses by themselves take apart and join field by field."""
        return PcmBlock, (self.stream, self.offset, self.samples, self.final, self.hotwords)


@dataclass(frozen=True, slots=True)
class Abort:
    """Forget a stream: its recording was cancelled, or its decoder failed."""

    stream: int


@dataclass(frozen=True, slots=True)
class BlockFreed:
    """The engine no longer reads the arena at `offset`; the slot may be filled again."""

    offset: int

    def __reduce__(self) -> tuple[Any, ...]:
        """See `PcmBlock`."""
        return BlockFreed, (self.offset,)


@dataclass(frozen=True, slots=True)
class SegmentDone:
    """What the model said of one segment. Token positions are absolute (ms in the recording)."""

    stream: int
    index: int
    start_ms: int
    end_ms: int
    text: str
    tokens: Tokens
    batch: int  #: number of the batch, rising
    batch_size: int  #: segments in that batch
    batch_padded_s: float  #: audio seconds of that batch, padding counted
    batch_audio_s: float  #: audio seconds of that batch, padding not counted
    queued_s: float  #: from found by VAD to start of its batch
    recognition_s: float  #: this segment's share of the batch's wall time, by audio

    def in_batch(self, batch: int) -> SegmentDone:
        """The same with another number of its batch; many times as fast as `dataclasses.replace`."""
        return SegmentDone(
            self.stream, self.index, self.start_ms, self.end_ms, self.text, self.tokens, batch,
            self.batch_size, self.batch_padded_s, self.batch_audio_s, self.queued_s, self.recognition_s,
        )  # fmt: skip

    def __reduce__(self) -> tuple[Any, ...]:
        """See `PcmBlock`."""
        return SegmentDone, (
            self.stream, self.index, self.start_ms, self.end_ms, self.text, self.tokens, self.batch,
            self.batch_size, self.batch_padded_s, self.batch_audio_s, self.queued_s, self.recognition_s,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class StreamDone:
    """All segments of a stream have been delivered; there were `segments` of them."""

    stream: int
    segments: int
    audio_ms: int
    speech_ms: int
    vad_s: float
    #: What its transcript lacks because a postprocessing stage failed; each one line.
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """This stream cannot be recognised; the others go on. `retryable` says whether trying again may help."""

    stream: int
    code: str
    reason: str
    retryable: bool


Event = BlockFreed | SegmentDone | StreamDone | StreamFailed


class Engine(Protocol):
    """A recogniser of many streams at once. Owned by one thread; not thread-safe."""

    def submit(self, message: PcmBlock | Abort) -> None:
        """Hand over a block, or abort a stream. Never waits for the device.

        Raises EngineDiedError when the process behind it is gone.
        """

    def results(self, timeout_s: float) -> Sequence[Event]:
        """Events that have arrived, waiting at most `timeout_s` for the first; () on time-out.

        Raises EngineDiedError when the process behind it is gone and everything it said was read.
        """

    def capacity(self, stream: int | None = None) -> float:
        """Audio seconds it would take now (of `stream`, where one is named) and can work on soon.

        An engine of several devices may be full for one stream and have room for another; without a name it says
        what it would take of a new one.
        """

    def close(self) -> None:
        """Stop and release the device. Work in it is dropped; may be called twice."""


class LocalEngine(Engine, Protocol):
    """An engine on this host: it states what it is, and can be waited on with file descriptors."""

    @property
    def facts(self) -> EngineFacts:
        """Model, device and versions; known once the engine is warm."""

    def fileno(self) -> int:
        """Readable when `results(0)` has something to say (or the process is gone)."""

    def idle_s(self, now: float) -> float:
        """Seconds since it last made progress while holding work; 0.0 without work (monotonic `now`)."""
