"""Divide segments into subtitle cues. Pure policy; positions are milliseconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dropscribe.transcript.layout.line_breaks import divide
from dropscribe.transcript.layout.units import Units, phrases_of, units_of
from dropscribe.transcript.types import Segment

#: Shortest display time of a cue where the next one allows it, ms: less cannot be read.
SHORTEST_MS = 800


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: one line of text, shown from `start_ms` until `end_ms`."""

    start_ms: int
    end_ms: int
    text: str


def cues(segments: Iterable[Segment], *, max_chars: int, max_s: float, pause_ms: int) -> tuple[Cue, ...]:
    """Divide a recording into subtitles: every token once, in order, no overlap, each at least 1 ms.

    A cue ends with its segment, at a pause of `pause_ms` or more, and before it would pass `max_chars` (a
    Latin letter counts half) or `max_s`; a single word that passes a limit by itself stays whole and is shown for
    `max_s`. A longer phrase is divided at its longest pauses, between words, into cues of similar length.
    """
    max_ms = round(max_s * 1000)
    parts: list[Units] = []
    for segment in segments:
        for phrase in phrases_of(units_of(segment), pause_ms):
            if _fits(phrase, 2 * max_chars, max_ms):
                parts.append(phrase)
            else:
                parts += divide(phrase, 2 * max_chars, max_ms, pause_ms)
    return tuple(_in_order(parts, max_ms))


def _fits(units: Units, max_width: int, max_ms: int) -> bool:
    return sum(units.widths) <= max_width and max(units.ends) - min(units.starts) <= max_ms


def _in_order(parts: Sequence[Units], max_ms: int) -> Iterator[Cue]:
    """Cues with display times: monotonic, not overlapping, not too long, readable where there is room."""
    earliest = 0
    for i, part in enumerate(parts):
        start = max(part.starts[0], earliest)
        end = min(max(*part.ends, start + min(SHORTEST_MS, max_ms)), start + max_ms)
        if i + 1 < len(parts):
            end = min(end, parts[i + 1].starts[0])
        earliest = max(end, start + 1)
        yield Cue(start, earliest, "".join(part.texts).strip())
