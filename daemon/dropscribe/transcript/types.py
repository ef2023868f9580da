"""Frozen records of a transcript, shared by all rooms.

All positions are milliseconds from the start of the recording.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple, overload

from dropscribe.records import sent
from dropscribe.transcript.roles import ASR, VAD, ModelsByRole, key_of, role_of

_set = object.__setattr__
#: Between the texts of tokens where they are packed.
_BETWEEN = "\n"
#: Type of packed times, and its size in bytes.
_INTEGER = "i"
TIME_BYTES = array(_INTEGER).itemsize


class Token(NamedTuple):
    """One token as the model emits it: a Chinese character or a (sub)word, with its position."""

    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, init=False, eq=False)
class Tokens(Sequence[Token]):
    """Tokens of a segment, in order, in columns. Equal to a tuple or list of the same tokens.

    Columns because a GPU emits tens of thousands of tokens a second, and sending, dividing and writing them work on
    one column at a time. A process that only passes them on never makes numbers of the times it received.
    """

    _texts: str | tuple[str, ...] | bytes
    _starts: tuple[int, ...] | bytes
    _ends: tuple[int, ...] | bytes
    #: Probability that the model gave each token, in 255ths; empty if it is not known.
    confidence: bytes

    def __init__(
        self,
        texts: Sequence[str] = (),
        starts_ms: Sequence[int] = (),
        ends_ms: Sequence[int] = (),
        confidence: bytes = b"",
    ) -> None:
        """Raises ValueError unless the columns have equal length."""
        if not len(texts) == len(starts_ms) == len(ends_ms):
            raise ValueError(f"{len(texts)} tokens start {len(starts_ms)} times and end {len(ends_ms)} times")
        if confidence and len(confidence) != len(texts):
            raise ValueError(f"{len(texts)} tokens have {len(confidence)} confidences")
        _set(self, "_texts", texts if isinstance(texts, str) else texts_of(texts))
        _set(self, "_starts", tuple(starts_ms))
        _set(self, "_ends", tuple(ends_ms))
        _set(self, "confidence", confidence)

    @classmethod
    def of(cls, tokens: Iterable[Sequence[Any]]) -> Tokens:
        """Tokens from (text, start_ms, end_ms) or (text, start_ms, end_ms, confidence) tuples."""
        columns: list[tuple[Any, ...]] = list(zip(*tokens, strict=True))
        if not columns:
            return cls()
        return cls(columns[0], columns[1], columns[2], bytes(columns[3]) if len(columns) > 3 else b"")

    @property
    def texts(self) -> str | tuple[str, ...]:
        """One string if each token is one character, as in Chinese; else a tuple. Both are sequences of texts."""
        if isinstance(self._texts, bytes):
            _set(self, "_texts", tuple(self._texts.decode("utf-8", "surrogatepass").split(_BETWEEN)))
        return self._texts  # type: ignore[return-value]  # it is not packed any more

    @property
    def starts_ms(self) -> tuple[int, ...]:
        if isinstance(self._starts, bytes):
            _set(self, "_starts", _unpacked(self._starts))
        return self._starts  # type: ignore[return-value]  # it is not packed any more

    @property
    def ends_ms(self) -> tuple[int, ...]:
        if isinstance(self._ends, bytes):
            _set(self, "_ends", _unpacked(self._ends))
        return self._ends  # type: ignore[return-value]  # the same

    def __len__(self) -> int:
        return len(self._starts) // TIME_BYTES if isinstance(self._starts, bytes) else len(self._starts)

    def __iter__(self) -> Iterator[Token]:
        return map(Token, self.texts, self.starts_ms, self.ends_ms)

    @overload
    def __getitem__(self, at: int) -> Token: ...
    @overload
    def __getitem__(self, at: slice) -> Tokens: ...
    def __getitem__(self, at: int | slice) -> Token | Tokens:
        if isinstance(at, slice):
            return Tokens(self.texts[at], self.starts_ms[at], self.ends_ms[at], self.confidence[at])
        return Token(self.texts[at], self.starts_ms[at], self.ends_ms[at])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Tokens):
            return self._columns() == other._columns()
        return tuple(self) == tuple(other) if isinstance(other, (tuple, list)) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the columns, packed: the dataclass default takes several times as long."""
        return packed_tokens, self.packed()

    def packed(
        self,
    ) -> tuple[str | tuple[str, ...] | bytes, tuple[int, ...] | bytes, tuple[int, ...] | bytes, bytes]:
        """Columns for `packed_tokens`."""
        return _packed_texts(self._texts), *self.packed_times(), self.confidence

    def packed_times(self) -> tuple[tuple[int, ...] | bytes, tuple[int, ...] | bytes]:
        """Starts and ends: C integers as bytes, unless one has more than 32 bits."""
        return _packed(self._starts), _packed(self._ends)

    def _columns(self) -> tuple[str | tuple[str, ...], tuple[int, ...], tuple[int, ...], bytes]:
        return self.texts, self.starts_ms, self.ends_ms, self.confidence

    @property
    def mean_confidence(self) -> float | None:
        """Mean probability of the tokens; None if it is not known, or there are none."""
        return sum(self.confidence) / (255 * len(self.confidence)) if self.confidence else None


def _packed(column: tuple[int, ...] | bytes) -> tuple[int, ...] | bytes:
    """Times as bytes; a column with one that has more than 32 bits as it is."""
    if isinstance(column, bytes):
        return column
    try:
        return array(_INTEGER, column).tobytes()
    except OverflowError:
        return column


def _packed_texts(texts: str | tuple[str, ...] | bytes) -> str | tuple[str, ...] | bytes:
    """A tuple of texts as bytes, unless it is empty or a text has what divides them."""
    if isinstance(texts, (str, bytes)):
        return texts
    whole = _BETWEEN.join(texts)
    if whole.count(_BETWEEN) != len(texts) - 1:
        return texts
    return whole.encode("utf-8", "surrogatepass")


def _unpacked(packed: bytes) -> tuple[int, ...]:
    column = array(_INTEGER)
    column.frombytes(packed)
    return tuple(column)


def packed_tokens(
    texts: str | tuple[str, ...] | bytes,
    starts: tuple[int, ...] | bytes,
    ends: tuple[int, ...] | bytes,
    confidence: bytes,
) -> Tokens:
    """Tokens from columns as `Tokens.packed` gives them, unchecked: times as bytes are C integers.

    texts: of tokens of one character, one string.
    """
    made = object.__new__(Tokens)
    _set(made, "_texts", texts)
    _set(made, "_starts", starts)
    _set(made, "_ends", ends)
    _set(made, "confidence", confidence)
    return made


def texts_of(texts: Sequence[str]) -> str | tuple[str, ...]:
    """Texts as `Tokens.texts`: one string if every one is a single character, else a tuple."""
    whole = "".join(texts)
    return whole if len(whole) == len(texts) and all(texts) else tuple(texts)


NO_TOKENS = Tokens()


@sent
@dataclass(frozen=True, slots=True)
class Tags:
    """What a model says of a segment besides its words; "" and (): nothing."""

    language: str = ""  #: as the model writes it, lower case: "zh", "yue"; "nospeech"
    emotion: str = ""  #: "neutral", "happy", …
    events: tuple[str, ...] = ()  #: sounds, in order: "speech", "bgm", "laughter", …

    def record(self) -> dict[str, Any]:
        """The tags that there are, as JSON has them; for `of_record`."""
        found = {"language": self.language, "emotion": self.emotion, "events": list(self.events)}
        return {name: value for name, value in found.items() if value}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Tags:
        """The tags of which `record` was made, which may have other keys. Raises TypeError."""
        language, emotion, events = (
            record.get("language", ""),
            record.get("emotion", ""),
            record.get("events", []),
        )
        if not isinstance(events, list) or not all(isinstance(t, str) for t in (language, emotion, *events)):
            raise TypeError("tags are not text")
        return cls(language, emotion, tuple(events))


NO_TAGS = Tags()


@dataclass(frozen=True, slots=True)
class Segment:
    """One speech region found by VAD and the text recognised in it.

    `text` may be empty: nothing was recognised. Such a segment is kept.
    """

    index: int
    start_ms: int
    end_ms: int
    text: str
    tokens: Tokens = NO_TOKENS
    #: The mark after each token, codes of `dropscribe.transcript.written.marks`; empty if punctuation was not asked for.
    marks: bytes = b""
    #: Number of the speaker of each token (see `Speaker`), 0 if it is not known; empty if it was not asked for.
    speakers: bytes = b""
    tags: Tags = NO_TAGS

    def __post_init__(self) -> None:
        """Raises ValueError unless the columns have a value for each token."""
        for name, column in (("marks", self.marks), ("speakers", self.speakers)):
            if column and len(column) != len(self.tokens):
                raise ValueError(f"{len(self.tokens)} tokens have {len(column)} {name}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the fields: the dataclass default takes twice as long."""
        further = (
            (self.marks, self.speakers) if self.tags is NO_TAGS else (self.marks, self.speakers, self.tags)
        )
        return Segment, (self.index, self.start_ms, self.end_ms, self.text, self.tokens, *further)


#: Kinds of `Speaker`.
VOICE = "voice"  #: told apart by the voice
CHANNEL = "channel"  #: a channel of the recording, such as one side of a telephone call
TRACK = "track"  #: an audio track of the file
#: Most speakers of a recording.
MOST_SPEAKERS = 255
#: Most parts of a recording: each takes the time of a recording.
MOST_PARTS = 16


@sent
@dataclass(frozen=True, slots=True)
class Speaker:
    """A speaker of a recording. Numbers count from 1, in order of first appearance or of channels or tracks."""

    number: int
    name: str | None  #: None: not known
    kind: str = VOICE  #: VOICE, CHANNEL or TRACK
    #: Of a voice: 192 half-precision floats, little endian, of unit length; empty if there is none.
    embedding: bytes = b""


#: Kinds of `Loss`.
GAP = "gap"  #: the file has no audio there; silence of that length takes its place
UNDECODABLE = (
    "undecodable"  #: audio that could not be decoded; silence of that length takes its place if it is known
)
UNREAD = "unread"  #: bytes behind the place where decoding stopped


@sent
@dataclass(frozen=True, slots=True)
class Loss:
    """Audio that was in the file, or should have been, and is not in the transcript."""

    kind: str  #: GAP, UNDECODABLE or UNREAD
    start_ms: int
    length_ms: int | None  #: None: unknown
    text: str  #: for people
    #: Number of places; above 1 for the last record of a kind, which sums up the rest after many.
    places: int = 1


@sent
@dataclass(frozen=True, slots=True)
class AudioTrack:
    """An audio track of a recording. Language and title are as the file has them, shortened."""

    number: int  #: counts audio tracks from 1
    language: str | None
    title: str | None
    codec: str
    channels: int
    default: bool  #: marked as the default track
    chosen: bool  #: transcribed


@sent
@dataclass(frozen=True, slots=True)
class Part:
    """A channel or track that is transcribed apart. The parts of a recording are decoded one after the other."""

    kind: str  #: CHANNEL or TRACK
    number: int  #: of the channel or track, from 1
    start_ms: int  #: of its audio, in that of all parts
    name: str | None  #: title of the track


@sent
@dataclass(frozen=True, slots=True)
class MediaFacts:
    """Facts about a recording, reported by its decoder."""

    duration_ms: int  #: of the decoded audio; of the longest part, if there are parts
    container: str  #: e.g. "wav", "mov,mp4,m4a"
    codec: str  #: e.g. "pcm_s16le", "aac"
    sample_rate_hz: int  #: of the source, before normalisation
    channels: int
    decoder: str  #: "soundfile" or "av"
    #: Damage of a file that could be decoded nevertheless, in words for people; the first cause of
    #: truncation is also in `truncated`. Empty for an undamaged file.
    warnings: tuple[str, ...] = ()
    #: Why the recording is known to be cut short; None if it is complete or there is no sign of truncation.
    truncated: str | None = None
    #: By kind and position.
    losses: tuple[Loss, ...] = ()
    #: All audio tracks of the file; empty if the decoder does not list them.
    tracks: tuple[AudioTrack, ...] = ()
    #: Those with sound, in order of `start_ms`; empty for a recording that is transcribed as a whole. A single channel: the
    #: recording has no others with sound of their own, though channels were to be transcribed apart.
    parts: tuple[Part, ...] = ()

    def record(self) -> dict[str, Any]:
        """The facts as JSON has them; for `of_record`."""
        return {
            **{name: getattr(self, name) for name in MediaFacts.__slots__},
            "warnings": list(self.warnings),
            "losses": [asdict(loss) for loss in self.losses],
            "tracks": [asdict(track) for track in self.tracks],
            "parts": [asdict(part) for part in self.parts],
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> MediaFacts:
        """The facts of which `record` was made; one of an older version has no losses, tracks and parts. Raises KeyError, TypeError."""
        made = {
            "warnings": tuple(record["warnings"]),
            "losses": tuple(Loss(**loss) for loss in record.get("losses", ())),
            "tracks": tuple(AudioTrack(**track) for track in record.get("tracks", ())),
            "parts": tuple(Part(**part) for part in record.get("parts", ())),
        }
        return cls(**{**record, **made})


@sent
@dataclass(frozen=True, slots=True)
class ModelsUsed:
    """Models that worked on one recording."""

    models: ModelsByRole
    precision: str
    notice: str | None  #: see `EngineFacts.notice`


@sent
@dataclass(frozen=True, slots=True)
class EngineFacts:
    """Models, device and versions that produced a transcript; reported once when the engine is ready."""

    models: ModelsByRole  #: as configured
    device: str  #: "cpu", "cuda:0", followed by the device's name in brackets if it has one
    precision: str  #: "fp32"
    versions: tuple[tuple[str, str], ...]  #: (package, version), sorted
    #: Warning that appears in every transcript of a demonstration model; None for models for production.
    notice: str | None
    warmup_s: float

    @property
    def model(self) -> str:
        """The recogniser."""
        return dict(self.models)[ASR]

    @property
    def vad_model(self) -> str:
        """The voice activity detector."""
        return dict(self.models)[VAD]

    def using(self, used: ModelsUsed | None) -> EngineFacts:
        """The facts for a recording on which these models worked; None: those of the engine."""
        return self if used is None else _using(self, used)

    def told(self) -> dict[str, Any]:
        """Models, device, precision and package versions, as in every JSON file."""
        return {
            **{key_of(role): model for role, model in self.models},
            "device": self.device,
            "precision": self.precision,
            "versions": dict(sorted(self.versions)),
        }

    def record(self) -> dict[str, Any]:
        """The facts as JSON has them, `versions` as pairs; for `of_record`."""
        return {
            **{key_of(role): model for role, model in self.models},
            "device": self.device,
            "precision": self.precision,
            "versions": self.versions,
            "notice": self.notice,
            "warmup_s": self.warmup_s,
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> EngineFacts:
        """The facts of which `record` was made; `versions` may be pairs or an object. Raises KeyError, TypeError, ValueError."""
        versions = record["versions"]
        pairs = versions.items() if isinstance(versions, Mapping) else versions
        models = {role: str(record[key_of(role)]) for role in (ASR, VAD)}
        models |= {role: str(model) for key, model in record.items() if (role := role_of(key)) is not None}
        return cls(
            models=tuple(models.items()),
            device=record["device"],
            precision=record["precision"],
            versions=tuple(sorted((str(package), str(version)) for package, version in pairs)),
            notice=record["notice"],
            warmup_s=record["warmup_s"],
        )


@lru_cache(maxsize=16)
def _using(facts: EngineFacts, used: ModelsUsed) -> EngineFacts:
    """One object for all recordings on which these models worked: it is pickled and compared with each of them."""
    return replace(facts, models=used.models, precision=used.precision, notice=used.notice)


#: Stages of a job in order; the keys of the timing log and of the ledger's `stage_timings`.
STAGES: tuple[str, ...] = (
    "settling",  # first seen → judged complete
    "waiting",  # admitted → claimed
    "decoding",  # decoder's own time on the file
    "vad",  # compute time of voice activity detection
    "batch_queue",  # mean time a segment waited for its batch
    "recognition",  # this job's share of its batches' time, by audio
    "punctuation",  # its share, by words
    "embedding",  # its share, by windows: numbers for the voice in each
    "clustering",  # of these into speakers
    "rendering",
    "publishing",
)


@sent
@dataclass(frozen=True, slots=True)
class Timings:
    """Timings of one job: seconds by stage (keys of `STAGES`), and its batches."""

    seconds: tuple[tuple[str, float], ...] = ()
    #: Number of segments (of all jobs) in each batch that contained a segment of this job, in order.
    batch_sizes: tuple[int, ...] = ()
    #: Padded audio seconds of those batches / their real audio seconds - 1: 0 is no waste.
    padding_waste: float = 0.0
    speech_ms: int = 0
    #: claim → transcript assembled, wall seconds
    wall_s: float = 0.0

    def of(self, stage: str) -> float:
        """Seconds of one stage; 0.0 if the job skipped it."""
        return dict(self.seconds).get(stage, 0.0)


@sent
@dataclass(frozen=True, slots=True)
class Transcript:
    """Assembled result of one job: the only input of the renderers."""

    recording_name: str  #: file name of the recording, without folders, safe to print
    sha256: str  #: of the recording's bytes
    job_id: int  #: 0 for a one-shot transcription without a ledger
    created_at: float  #: seconds since the epoch, UTC: when the recording was admitted
    media: MediaFacts
    engine: EngineFacts
    segments: Sequence[Segment]
    timings: Timings = field(default_factory=Timings)
    #: What is missing besides words because a postprocessing stage failed; each one line.
    incomplete: tuple[str, ...] = ()
    #: In order of number; empty if speakers were not asked for.
    speakers: tuple[Speaker, ...] = ()
    #: Models and options that decide what is heard (`dropscribe.settings.Settings.recipe`); empty if not known.
    recipe: str = ""

    @property
    def text(self) -> str:
        """Texts of all segments, one per line."""
        return "\n".join(s.text for s in self.segments if s.text)
