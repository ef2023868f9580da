"""Records and interfaces of the stages inside the engine process: VAD, recognition, postprocessing.

Does not import torch: the scheduler and the null models run without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dropscribe.engine.protocol import PLAIN, SAMPLE_RATE_HZ, Annotations, StreamOptions
from dropscribe.transcript.types import NO_TAGS, Tags, Tokens

if TYPE_CHECKING:
    from torch import Tensor

Pcm = NDArray[np.int16]  #: 16 kHz mono
SAMPLES_PER_MS = SAMPLE_RATE_HZ // 1000


class Frames(NamedTuple):
    """Some consecutive log-mel frames among those of a VAD pass, from `first` (inclusive) to `last` (exclusive).

    Cut out only where they are used: a GPU finds thousands of regions a second, and each cut costs the launching thread
    as much as all else that it does for a region.
    """

    source: Tensor  #: (n, 80) float32, on the device of the models
    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first

    def cut(self) -> Tensor:
        """The frames, (length, 80) float32: a view."""
        return self.source[self.first : self.last]


#: Consecutive parts of a region's log-mel frames. A frame depends on its own 400 samples only, so VAD and recogniser
#: compute the same frames.
LogMelFrames = tuple[Frames, ...]


@dataclass(frozen=True, slots=True)
class Region:
    """A speech region, ms from the start of the recording."""

    start_ms: int
    end_ms: int
    #: The detector's frames, as many as fit completely between start and end; None if it does not provide them.
    log_mel: LogMelFrames | None = field(default=None, compare=False, repr=False)


class SpeechSegment(NamedTuple):
    """A speech region to be recognised, with its samples, their log-mel frames, or both.

    A named tuple, since a GPU gets thousands a second, and a frozen dataclass takes four times as long to make.
    The caller of a recogniser must keep a reference until the result is there: the device may be reading `log_mel`.
    """

    stream: int
    index: int  # type: ignore[assignment]  # hides a method of tuples that nobody needs
    start_ms: int
    end_ms: int
    samples: int
    found_at: float  #: monotonic seconds
    options: StreamOptions = PLAIN  #: of its stream
    pcm: Pcm | None = None  #: None if `needs_samples` is false for the models
    log_mel: LogMelFrames | None = None  #: frames from the detector, which need not be computed again

    @property
    def audio_s(self) -> float:
        """Duration of its audio, seconds."""
        return self.samples / SAMPLE_RATE_HZ


class Hypothesis(NamedTuple):
    """Model output for one segment; `text` may be empty. Token positions are ms in the recording.

    A named tuple for the reason of `SpeechSegment`.
    """

    stream: int
    index: int  # type: ignore[assignment]  # the same
    text: str
    tokens: Tokens
    tags: Tags = NO_TAGS


class Vad(Protocol):
    """Streaming speech detector of one stream."""

    def accept(self, pcm: Pcm, *, final: bool) -> Sequence[Region]:
        """Process the next samples; returns the regions completed by them, in order. No call may follow `final=True`.

        The regions of a stream do not depend on how it was divided into calls.
        Raises OutOfDeviceMemoryError, EngineDiedError (the device is unusable).
        """

    @property
    def needed_from_ms(self) -> int:
        """Earliest start of a future region, ms; samples before it may be discarded."""


@dataclass(frozen=True, slots=True, eq=False)
class VadChunk:
    """The next samples of one stream for its detector, in consecutive parts; `final`: the last ones of the stream.

    The samples may lie in memory of the caller and are read until the detector's call has returned; of a pipelined one,
    until the pass is finished.
    """

    vad: Vad
    parts: tuple[Pcm, ...]
    final: bool

    @property
    def samples(self) -> int:
        return sum(map(len, self.parts))


class VadModel(Protocol):
    """A loaded detector, shared by all streams."""

    def open(self) -> Vad:
        """A detector for a new stream."""

    def accept(self, chunks: Sequence[VadChunk]) -> list[Sequence[Region]]:
        """Run `Vad.accept` for chunks of different streams at once; returns the regions of each chunk, in their order.

        The regions of a stream do not depend on the other streams of the call. A call that raises has consumed no
        chunk (but see `PipelinedVad.finish`): the caller may send them again, fewer at a time. Raises the errors of
        `Vad.accept`.
        """


@runtime_checkable
class PipelinedVad(Protocol):
    """A detector whose passes run on the device while the host continues; several passes may be under way.

    Passes must be finished in the order they were begun.
    """

    def begin(self, chunks: Sequence[VadChunk]) -> object:
        """Launch a pass; returns the handle for `finish`.

        Chunks may be read until the pass is finished. If it raises, no chunk has been consumed.
        """

    def ready(self, handle: Any) -> bool:
        """True if `finish` would not wait for the device."""

    def finish(self, handle: Any) -> list[Sequence[Region]]:
        """Wait for a pass; returns regions as `VadModel.accept` does. If it raises, all chunks of the pass are lost."""


class WholeVadPass:
    """Adapter to `PipelinedVad` for a detector without pipelining: the pass runs in `begin`."""

    def __init__(self, model: VadModel) -> None:
        self._model = model

    def begin(self, chunks: Sequence[VadChunk]) -> object:
        return self._model.accept(chunks)

    def ready(self, handle: Any) -> bool:  # noqa: ARG002 - of the protocol
        return True

    def finish(self, handle: Any) -> list[Sequence[Region]]:
        regions: list[Sequence[Region]] = handle
        return regions


class Recogniser(Protocol):
    """A loaded recognition model. Scheduling is up to the caller."""

    def __call__(self, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        """Recognise a batch: one hypothesis for each segment, in any order, empty if there is no text.

        Raises OutOfDeviceMemoryError (a smaller batch may fit), EngineDiedError (the device is unusable).
        """


def needs_samples(vad: VadModel, recogniser: Recogniser) -> bool:
    """True if segments must have their samples; if false, no samples need be kept.

    False if the detector provides `log_mel` for each region (`gives_frames`) and the recogniser then uses nothing else
    (`takes_frames`).
    """
    return not (getattr(vad, "gives_frames", False) and getattr(recogniser, "takes_frames", False))


class PostprocessingStage(Protocol):
    """Processing of recognised segments, such as punctuation or diarization.

    One object serves all streams that want it; owned by the worker's thread. Each segment of a stream is passed once to
    `recognised`, in any order, then the stream once to `finish`; or, at any time, to `drop`. After `finish` or `drop`
    the stream's number is not used again. The result of a stream does not depend on the other streams of a call.

    If `recognised` or `finish` raises, the call has had no effect and may be repeated for fewer streams. If a stage
    fails for a stream, the transcript lacks its result and gets a remark, but keeps its text. EngineDiedError: the
    device is unusable.
    """

    @property
    def name(self) -> str:
        """Name of the added information, used in remarks, e.g. "punctuation"."""

    def wants(self, options: StreamOptions) -> bool:
        """True for a stream to which it has something to add."""

    def recognised(self, segments: Sequence[SpeechSegment], hypotheses: Sequence[Hypothesis]) -> None:
        """Process a recognised batch; `hypotheses` in the order of `segments`, all of streams that have not ended."""

    def finish(self, streams: Sequence[int]) -> Mapping[int, Annotations]:
        """Complete streams whose segments, if any, have all been passed to `recognised`; returns what they get."""

    def drop(self, stream: int) -> None:
        """Discard the state of a stream, known or not. Never raises."""


#: Message about hotwords for a recogniser that is no `Listener`.
NO_HOTWORDS = "the model does not support hotwords (SeACo-Paraformer does); they are ignored"


@runtime_checkable
class Listener(Protocol):
    """A recogniser that supports hotwords; others ignore them."""

    def complaint(self, hotwords: Sequence[str]) -> str:
        """Message that names the hotwords that are not supported, with the reason; empty if there are none."""


@runtime_checkable
class Multilingual(Protocol):
    """A recogniser that can be told the language that is spoken (`StreamOptions.language`); others ignore it."""

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages it knows, sorted, without "auto"."""


@runtime_checkable
class Pipelined(Protocol):
    """A recogniser whose batches run on the device while the host continues.

    Batches must be finished in the order they were begun. Both steps raise the errors of `Recogniser`.
    """

    @property
    def depth(self) -> int:
        """Number of batches under way that keeps the device busy."""

    def begin(self, segments: Sequence[SpeechSegment]) -> object:
        """Launch a batch; returns the handle for `finish`. Does not wait for the device."""

    def ready(self, handle: Any) -> bool:
        """True if `finish` would not wait. Does not wait itself, and does for the batches what the host has to do."""

    def finish(self, handle: Any) -> Sequence[Hypothesis]:
        """Wait for a batch; returns the hypotheses of the segments passed to `begin`."""


class WholeBatch:
    """Adapter to `Pipelined` for a recogniser without pipelining: the batch runs in `finish`."""

    depth = 1

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser

    def begin(self, segments: Sequence[SpeechSegment]) -> object:
        return segments

    def ready(self, handle: Any) -> bool:  # noqa: ARG002 - of the protocol
        return True

    def finish(self, handle: Any) -> Sequence[Hypothesis]:
        return self._recogniser(handle)
