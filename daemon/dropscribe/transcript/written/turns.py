"""Turns: who speaks when, whatever of it is written. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dropscribe.transcript.types import Segment
from dropscribe.transcript.written.runs import known_speakers


@dataclass(frozen=True, slots=True)
class SpokenTurn:
    """A time in which a speaker talks, ms; speaker 0 is not known."""

    start_ms: int
    end_ms: int
    speaker: int


def turns_of(segments: Iterable[Segment]) -> tuple[SpokenTurn, ...]:
    """Turns of a recording, in the order of its segments; segments without words have none.

    The detector heard speech throughout a segment, so a turn reaches to its borders, and to the middle between the last
    word of one speaker and the first of the next.
    """
    return tuple(turn for segment in segments for turn in _of_segment(segment))


def _of_segment(segment: Segment) -> Iterator[SpokenTurn]:
    if not segment.text.strip():
        return
    tokens, speakers = segment.tokens, known_speakers(segment.speakers)
    changes = [i for i, (a, b) in enumerate(pairwise(speakers), start=1) if a != b]
    middles = [_middle(tokens.starts_ms, tokens.ends_ms, i) for i in changes]
    borders = [segment.start_ms, *middles, segment.end_ms]
    # A decoder's times may run backwards.
    for at in range(1, len(borders)):
        borders[at] = max(borders[at], borders[at - 1])
    who = [speakers[i] for i in (0, *changes)] if speakers else [0]
    for (start, end), speaker in zip(pairwise(borders), who, strict=True):
        yield SpokenTurn(start, end, speaker)


def _middle(starts_ms: Sequence[int], ends_ms: Sequence[int], at: int) -> int:
    """Between token `at` and the one before it."""
    return (ends_ms[at - 1] + starts_ms[at]) // 2
