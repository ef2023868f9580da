"""Positions in a recording whose tracks or channels are decoded one after the other into one stream. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

from dropscribe.media.protocol import PART_GAP_MS, PartBegun
from dropscribe.transcript.types import Part, Segment, Speaker, Tokens
from dropscribe.transcript.written.marks import ENDS, FULL_STOP


class PartsUnderWay:
    """The parts of a recording that have begun; none for a recording without parts. Owned by its `Assembly`."""

    def __init__(self) -> None:
        self._begun: list[PartBegun] = []
        self._parts: list[Part] = []

    def begin(self, event: PartBegun) -> None:
        """Add the next part."""
        self._begun.append(event)
        self._parts.append(event.part)

    @property
    def count(self) -> int:
        """Number of parts there will be; 1 for a recording without parts."""
        return self._begun[0].count if self._begun else 1

    def at(self, stream_ms: int) -> PartBegun | None:
        """The part at a position of the stream; None for a recording without parts."""
        return self._begun[part_at(self._parts, stream_ms)] if self._begun else None

    def share_ms(self, stream_ms: int, declared_ms: int | None) -> int:
        """Position in a recording of this duration of which the same share is done as of all parts."""
        begun = self.at(stream_ms)
        if begun is None:
            return stream_ms
        if declared_ms is None:
            return stream_ms // begun.count
        within_ms = min(max(0, stream_ms - begun.part.start_ms), declared_ms)
        return (begun.at * declared_ms + within_ms) // begun.count


def part_at(parts: Sequence[Part], stream_ms: int) -> int:
    """Index of the part that a position of the stream belongs to; the silence between two parts belongs half to each."""
    return max(0, bisect_right(parts, stream_ms + PART_GAP_MS // 2, key=lambda part: part.start_ms) - 1)


def label(part: Part) -> str:
    """A part for people: `channel 2`, `track 3 (Interpreter)`."""
    return f"{part.kind} {part.number}" + (f" ({part.name})" if part.name else "")


def speakers_of(parts: Sequence[Part]) -> tuple[Speaker, ...]:
    """The speakers of a recording in parts: one a part; none if there is only one, since nobody is told apart."""
    if len(parts) < 2:
        return ()
    return tuple(Speaker(part.number, part.name, part.kind) for part in parts)


def placed(segments: Sequence[Segment], parts: Sequence[Part], duration_ms: int) -> tuple[Segment, ...]:
    """The segments of a stream at their positions in the recording, in order of their start, with their speakers.

    No position is outside the recording: detected speech may reach into the silence between two parts. With marks, the
    last token of each part ends a sentence: what follows in the stream is the begin of another part.
    """
    moved: list[Segment] = []
    last: dict[int, int] = {}
    for segment in segments:
        at = part_at(parts, segment.start_ms)
        if segment.tokens:
            last[at] = len(moved)
        moved.append(_moved(segment, parts[at], duration_ms, alone=len(parts) == 1))
    for index in last.values():
        moved[index] = _ended(moved[index])
    moved.sort(key=lambda segment: segment.start_ms)
    return tuple(replace(segment, index=index) for index, segment in enumerate(moved))


def _moved(segment: Segment, part: Part, duration_ms: int, *, alone: bool) -> Segment:
    tokens = segment.tokens
    start_ms, end_ms, *times = (
        min(max(0, stream_ms - part.start_ms), duration_ms)
        for stream_ms in (segment.start_ms, segment.end_ms, *tokens.starts_ms, *tokens.ends_ms)
    )
    return replace(
        segment,
        start_ms=start_ms,
        end_ms=end_ms,
        tokens=Tokens(tokens.texts, times[: len(tokens)], times[len(tokens) :], tokens.confidence),
        speakers=segment.speakers if alone else bytes([part.number]) * len(tokens),
    )


def _ended(segment: Segment) -> Segment:
    """The segment with a full stop behind it, if it has marks and the last is not the end of a sentence."""
    if not segment.marks or segment.marks[-1] in ENDS:
        return segment
    return replace(segment, marks=segment.marks[:-1] + bytes([FULL_STOP]))
