"""What a transcript is: frozen records that every room may speak of.

All positions are milliseconds from the start of the recording.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Token(NamedTuple):
    """One token as the model emits it: a Chinese character or a (sub)word, with its position.

    A tuple, because a GPU makes tens of thousands of them a second: they are made, sent and written as fast as lists.
    """

    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Segment:
    """One speech region found by VAD and what was recognised in it.

    `text` may be empty: the model said nothing of this region. The segment is kept all the same.
    """

    index: int
    start_ms: int
    end_ms: int
    text: str
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What the decoder learnt of a recording."""

    duration_ms: int  #: of the audio that was really decoded
    container: str  #: e.g. "wav", "mov,mp4,m4a"
    codec: str  #: e.g. "pcm_s16le", "aac"
    sample_rate_hz: int  #: of the source, before normalisation
    channels: int
    decoder: str  #: "soundfile" or "av"
    #: What is wrong with the file although it could be decoded, in words for people; the first
    #: cause of truncation also in `truncated`. Empty for a sound file.
    warnings: tuple[str, ...] = ()
    #: Why the recording is known to be cut short; None when it is whole (or nothing says it is not).
    truncated: str | None = None


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What recognised: stated once by the engine when it is ready."""

    model: str
    vad_model: str
    device: str  #: "cpu", "cuda:0", with the device's name in brackets where it has one
    precision: str  #: "fp32"
    versions: tuple[tuple[str, str], ...]  #: (package, version), sorted
    #: Not None for a model that may not be used in earnest; stands in every transcript made with it.
    notice: str | None
    warmup_s: float


#: Stages of a job in order; the keys of the timing log and of the ledger's `stage_timings`.
STAGES: tuple[str, ...] = (
    "settling",  # first seen → judged complete
    "waiting",  # admitted → claimed
    "decoding",  # decoder's own time on the file
    "vad",  # compute time of voice activity detection
    "batch_queue",  # mean wait of its segments for a batch
    "recognition",  # this job's share of its batches' time, by audio
    "rendering",
    "publishing",
)


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of one job went: seconds by stage (keys of `STAGES`), and the batches it rode in."""

    seconds: tuple[tuple[str, float], ...] = ()
    #: Segments in each batch that carried a segment of this job (all jobs counted), in order.
    batch_sizes: tuple[int, ...] = ()
    #: Padded audio seconds of those batches over their real audio seconds, minus one: 0 is no waste.
    padding_waste: float = 0.0
    speech_ms: int = 0
    #: claim → transcript assembled, wall seconds
    wall_s: float = 0.0

    def of(self, stage: str) -> float:
        """Seconds of one stage; 0.0 for a stage this job did not pass through."""
        return dict(self.seconds).get(stage, 0.0)


@dataclass(frozen=True, slots=True)
class Transcript:
    """The assembled result of one job, all that a renderer may use."""

    recording_name: str  #: file name of the recording, without folders, safe to print
    sha256: str  #: of the recording's bytes
    job_id: int  #: 0 for a one-shot transcription that has no ledger
    created_at: float  #: seconds since the epoch, UTC: when the recording was admitted
    media: MediaFacts
    engine: EngineFacts
    segments: tuple[Segment, ...]
    timings: Timings = field(default_factory=Timings)

    @property
    def text(self) -> str:
        """All segments' text, one a line."""
        return "\n".join(s.text for s in self.segments if s.text)
