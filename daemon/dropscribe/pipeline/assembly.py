"""Assemble the result of a recording from the events of decoder and engine. Pure: no clock, no disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from dropscribe.engine.protocol import (
    PLAIN,
    SAMPLE_RATE_HZ,
    Annotations,
    SegmentDone,
    StreamDone,
    StreamOptions,
)
from dropscribe.errors import LostSegmentError
from dropscribe.media.protocol import PartBegun
from dropscribe.pipeline.parts import PartsUnderWay, label, placed, speakers_of
from dropscribe.records import sent
from dropscribe.transcript.types import VOICE, MediaFacts, ModelsUsed, Segment, Speaker, Timings


@sent
@dataclass(frozen=True, slots=True)
class Result:
    """A completely recognised recording; stages before decoding are not in `timings` yet."""

    media: MediaFacts
    segments: Sequence[Segment]
    timings: Timings
    #: What is missing because a postprocessing stage failed; each one line.
    remarks: tuple[str, ...] = ()
    speakers: tuple[Speaker, ...] = ()
    #: Models that worked on it; None: those of `Executor.facts`.
    used: ModelsUsed | None = None


@sent
@dataclass(frozen=True, slots=True)
class Heard:
    """Progress of a recording under way: its first `segments` segments are recognised, without a gap.

    If the recording is decoded in parts, these are segments of the first `parts_done` parts and of the next one.
    """

    started: float  #: monotonic seconds
    segments: int
    until_ms: int  #: end of the last of them, in its part
    declared_ms: int | None  #: duration that the container declares, if any
    parts_done: int = 0
    parts: int = 1
    #: First segment and name of each part.
    headings: tuple[tuple[int, str], ...] = ()


@dataclass(slots=True)
class Assembly:
    """Collected events of one stream. Owned by the pump's thread."""

    started: float  #: monotonic seconds
    options: StreamOptions = PLAIN  #: until they have been sent to the engine
    declared_ms: int | None = None
    decoded_samples: int = 0
    facts: MediaFacts | None = None
    decode_s: float = 0.0
    done: StreamDone | None = None
    #: Texts of the first segments, up to the first one that is missing.
    texts: list[str] = field(default_factory=list)
    _segments: dict[int, SegmentDone] = field(default_factory=dict)
    _until_ms: int = 0
    _parts: PartsUnderWay = field(default_factory=PartsUnderWay)
    _headings: list[tuple[int, str]] = field(default_factory=list)

    def begin(self, event: PartBegun) -> None:
        """Note that the samples of a part follow. Its speaker is known, so voices are not told apart."""
        self._parts.begin(event)
        self.options = replace(self.options, speakers=None)

    @property
    def decoded_ms(self) -> int:
        """Decoded audio as `Progress` has it."""
        return self._parts.share_ms(self.decoded_samples * 1000 // SAMPLE_RATE_HZ, self.declared_ms)

    @property
    def recognised_ms(self) -> int:
        """End of the last recognised segment as `Progress` has it."""
        until_ms = max((s.end_ms for s in self._segments.values()), default=0)
        return self._parts.share_ms(until_ms, self.declared_ms) if until_ms else 0

    def add(self, segment: SegmentDone) -> None:
        """Add a segment. Raises LostSegmentError for a duplicate index, since one of the two would be lost."""
        if segment.index in self._segments:
            raise LostSegmentError(f"segment {segment.index} was delivered twice", operation="assemble")
        self._segments[segment.index] = segment
        while (following := self._segments.get(len(self.texts))) is not None:
            begun = self._parts.at(following.start_ms)
            if begun is not None and (not self._headings or self._headings[-1][1] != label(begun.part)):
                self._headings.append((len(self.texts), label(begun.part)))
            self.texts.append(following.text)
            self._until_ms = following.end_ms

    def heard(self) -> Heard:
        """Count the segments recognised before the first missing one, for partial texts; constant time."""
        begun = self._parts.at(self._until_ms)
        begin_ms, done = (0, 0) if begun is None else (begun.part.start_ms, begun.at)
        return Heard(
            self.started,
            len(self.texts),
            max(0, self._until_ms - begin_ms),
            self.declared_ms,
            done,
            self._parts.count,
            tuple(self._headings),
        )

    @property
    def complete(self) -> bool:
        """True once both decoder and engine have finished the stream."""
        return self.facts is not None and self.done is not None

    def result(self, now: float) -> Result:
        """Result of a complete stream.

        Raises LostSegmentError if a segment found by VAD has no hypothesis.
        """
        facts, done = self.facts, self.done
        if facts is None or done is None:
            raise LostSegmentError("asked for before it was complete", operation="assemble")
        missing = [i for i in range(done.segments) if i not in self._segments]
        if missing or len(self._segments) != done.segments:
            raise LostSegmentError(
                f"{done.segments} speech segments went in, {len(self._segments)} came out"
                f" (missing: {missing[:5]})",
                operation="assemble",
                remedy="the job is tried again; if it stays so, run 'dropscribe doctor'",
            )
        ordered = [self._segments[i] for i in range(done.segments)]
        annotations, remarks = _checked(done.annotations, sum(len(s.tokens) for s in ordered))
        segments = tuple(_annotated(ordered, annotations))
        speakers = tuple(
            Speaker(n, None, VOICE, voice) for n, voice in enumerate(annotations.voices, start=1)
        )
        if facts.parts:
            segments = placed(segments, facts.parts, facts.duration_ms)
            speakers = speakers_of(facts.parts) or speakers
        return Result(
            facts,
            segments,
            _timings(ordered, done, self.decode_s, now - self.started),
            done.remarks + remarks,
            speakers,
            done.used,
        )


def _checked(annotations: Annotations, tokens: int) -> tuple[Annotations, tuple[str, ...]]:
    """The annotations without columns that do not fit the tokens, and a remark on each of these: no word is lost."""
    remarks = []
    if annotations.marks and len(annotations.marks) != tokens:
        remarks.append(f"punctuation failed: {len(annotations.marks)} marks for {tokens} tokens")
        annotations = replace(annotations, marks=b"")
    speakers = annotations.speakers
    if speakers and (len(speakers) != tokens or max(speakers) > len(annotations.voices)):
        remarks.append(f"speakers failed: {len(speakers)} speakers for {tokens} tokens")
        annotations = replace(annotations, speakers=b"", voices=())
    return annotations, tuple(remarks)


def _annotated(ordered: Sequence[SegmentDone], annotations: Annotations) -> Iterator[Segment]:
    at = 0
    for s in ordered:
        until = at + len(s.tokens)
        marks, speakers = annotations.marks[at:until], annotations.speakers[at:until]
        yield Segment(s.index, s.start_ms, s.end_ms, s.text, s.tokens, marks, speakers, s.tags)
        at = until


def _timings(segments: list[SegmentDone], done: StreamDone, decode_s: float, wall_s: float) -> Timings:
    batches = {s.batch: s for s in segments}
    padded = sum(s.batch_padded_s for s in batches.values())
    audio = sum(s.batch_audio_s for s in batches.values())
    queued = sum(s.queued_s for s in segments) / len(segments) if segments else 0.0
    return Timings(
        seconds=(
            ("decoding", decode_s),
            ("vad", done.vad_s),
            ("batch_queue", queued),
            ("recognition", sum(s.recognition_s for s in segments)),
            *done.annotations.seconds,
        ),
        batch_sizes=tuple(batches[b].batch_size for b in sorted(batches)),
        padding_waste=padded / audio - 1 if audio > 0 else 0.0,
        speech_ms=done.speech_ms,
        wall_s=wall_s,
    )
