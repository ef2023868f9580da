"""What passes between the stages inside the engine process, and what each stage promises.

No stage imports torch through this module: scheduler, loop and null models run without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dropscribe.engine.protocol import SAMPLE_RATE_HZ
from dropscribe.transcript.types import Tokens

if TYPE_CHECKING:
    from torch import Tensor

Pcm = NDArray[np.int16]  #: 16 kHz mono
SAMPLES_PER_MS = SAMPLE_RATE_HZ // 1000
#: Log-mel frames of a stretch of sound, (n, 80) float32, in parts one after another, on the device of the models. Each
#: frame is what its 400 samples alone make of it, so it does not matter who has computed it.
LogMelFrames = tuple["Tensor", ...]


@dataclass(frozen=True, slots=True)
class Region:
    """Where somebody speaks, ms from the start of the recording."""

    start_ms: int
    end_ms: int
    #: The detector's, where it has them: as many as fit wholly between start and end.
    log_mel: LogMelFrames | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class SpeechSegment:
    """A speech region waiting to be recognised, with its samples, or the frames made of them, or both.

    Whoever has it recognised keeps it until the result is there: the device may be reading its `log_mel`.
    """

    stream: int
    index: int
    start_ms: int
    end_ms: int
    samples: int
    found_at: float  #: monotonic seconds
    hotwords: tuple[str, ...] = ()  #: what to listen for, where the model can
    pcm: Pcm | None = None  #: None where `needs_samples` says so
    log_mel: LogMelFrames | None = None  #: from the detector: need not be computed again

    @property
    def audio_s(self) -> float:
        """Seconds of audio it costs to recognise."""
        return self.samples / SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What the model said of one segment; `text` may be empty. Token positions are absolute, ms."""

    stream: int
    index: int
    text: str
    tokens: Tokens


class Vad(Protocol):
    """Finds speech in one stream whose samples arrive piece by piece."""

    def accept(self, pcm: Pcm, *, final: bool) -> Sequence[Region]:
        """Regions that are certain now, in order. After `final=True` nothing more may be sent.

        The result of a whole stream does not depend on how it was cut into pieces.
        Raises OutOfDeviceMemoryError, EngineDiedError (the device is beyond use).
        """

    @property
    def needed_from_ms(self) -> int:
        """No region still to come begins earlier than this; samples before it may be forgotten."""


@dataclass(frozen=True, slots=True, eq=False)
class VadChunk:
    """The next samples of one stream for its detector, part after part; `final` when no more will follow.

    They may be the sender's own memory, and are read during the call only.
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
        """As `Vad.accept` for pieces of different streams at once; the regions of each, in the order of the pieces.

        What a stream yields does not depend on who shares the call. When it raises, none of the pieces was
        taken (but see `PipelinedVad.finish`): the caller may send them again, fewer at a time. Errors as those of `Vad.accept`.
        """


@runtime_checkable
class PipelinedVad(Protocol):
    """A detector whose device looks at pieces while the host does something else, also begins the next look.

    Looks are finished in the order they were begun.
    """

    def begin(self, chunks: Sequence[VadChunk]) -> object:
        """Launch a look; what is returned is for `finish`. Pieces are not read any more after it. When it raises, none was taken."""

    def finish(self, handle: Any) -> list[Sequence[Region]]:
        """What `VadModel.accept` answers. When it raises, all pieces are lost."""


class WholeVadPass:
    """Makes a `PipelinedVad` of a detector that does a look in one go."""

    def __init__(self, model: VadModel) -> None:
        self._model = model

    def begin(self, chunks: Sequence[VadChunk]) -> object:
        return self._model.accept(chunks)

    def finish(self, handle: Any) -> list[Sequence[Region]]:
        regions: list[Sequence[Region]] = handle
        return regions


class Recogniser(Protocol):
    """A loaded model. It never decides what to run or when."""

    def __call__(self, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        """One hypothesis for each segment, in any order; an empty one where the model says nothing.

        Raises OutOfDeviceMemoryError (a smaller batch may do), EngineDiedError (the device is beyond use).
        """


def needs_samples(vad: VadModel, recogniser: Recogniser) -> bool:
    """Whether segments must come with their samples.

    Not where the detector says that each of its regions has its `log_mel` (`gives_frames`), and the recogniser that it looks at
    nothing else then (`takes_frames`): samples then need not be kept at all.
    """
    return not (getattr(vad, "gives_frames", False) and getattr(recogniser, "takes_frames", False))


class PostprocessingStage(Protocol):
    """Works on what was recognised: marks, speakers. One object for all streams, owned by the worker's thread.

    For each stream it gets every segment once, in any order, by `recognised`, then one `finish`; or, at any time, a
    `drop`. After `finish` or `drop` the stream is not named again. What it makes of a stream does not depend on the
    streams that share a call.

    When `recognised` or `finish` raises, nothing of that call was taken: it may come again for fewer streams. A stage
    that fails costs a stream its own result and a remark, never words. EngineDiedError: the device is beyond use.
    """

    @property
    def name(self) -> str:
        """What it adds, in remarks: "punctuation"."""

    def recognised(self, segments: Sequence[SpeechSegment], hypotheses: Sequence[Hypothesis]) -> None:
        """Take a recognised batch; `hypotheses` in the order of `segments`, all of streams that have not ended."""

    def finish(self, streams: Sequence[int]) -> None:
        """Complete streams that end together: all their segments were given to `recognised`. There may have been none."""

    def drop(self, stream: int) -> None:
        """Forget a stream, known or not. Never raises."""


@runtime_checkable
class Listener(Protocol):
    """A recogniser that looks at its segments' hotwords; the others pay no heed to them."""

    def complaint(self, hotwords: Sequence[str]) -> str:
        """Why it does not listen for (some of) these, for people; empty when it does."""


@runtime_checkable
class Pipelined(Protocol):
    """A recogniser whose device works on a batch while the host does something else.

    Batches are finished in the order they were begun. Errors as those of `Recogniser`, from either step.
    """

    @property
    def depth(self) -> int:
        """How many batches should be under way for the device never to wait."""

    def begin(self, segments: Sequence[SpeechSegment]) -> object:
        """Launch a batch; what is returned is for `finish`."""

    def finish(self, handle: Any) -> Sequence[Hypothesis]:
        """As calling a `Recogniser` with the segments of `begin`."""


class WholeBatch:
    """Makes a `Pipelined` of a recogniser that does a batch in one go."""

    depth = 1

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser

    def begin(self, segments: Sequence[SpeechSegment]) -> object:
        return segments

    def finish(self, handle: Any) -> Sequence[Hypothesis]:
        return self._recogniser(handle)
