"""Turns and words of transcripts, as they are compared with a reference."""

from __future__ import annotations

from collections.abc import Sequence

from dropscribe.scoring.attribution import Word
from dropscribe.scoring.diarization import Turn
from dropscribe.transcript.types import Segment
from dropscribe.transcript.written import turns


def turns_of(segments: Sequence[Segment]) -> tuple[Turn, ...] | None:
    """Turns of known speakers, as in `NAME.rttm`; None without speakers."""
    if not any(segment.speakers for segment in segments):
        return None
    found = turns.turns_of(segments)
    return tuple(Turn(t.start_ms, t.end_ms, str(t.speaker)) for t in found if t.speaker)


def words_of(segments: Sequence[Segment]) -> tuple[Word, ...]:
    """Tokens that have a speaker."""
    return tuple(
        Word((token.start_ms + token.end_ms) // 2, str(number))
        for segment in segments
        for token, number in zip(segment.tokens, segment.speakers, strict=False)
        if number
    )
