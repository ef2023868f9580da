"""Speaker turns of transcripts."""

from __future__ import annotations

from collections.abc import Sequence

from dropscribe.scoring.diarization import Turn
from dropscribe.transcript.types import Segment


def turns_of(segments: Sequence[Segment]) -> tuple[Turn, ...] | None:
    """Neighbouring tokens of one speaker in a segment, from the first start to the last end; None without speakers.

    Tokens without a known speaker belong to nobody.
    """
    found: list[Turn] = []
    labelled = False
    for segment in segments:
        numbers = segment.speakers
        labelled = labelled or bool(numbers)
        first = 0
        for at in range(1, len(numbers) + 1):
            if at < len(numbers) and numbers[at] == numbers[first]:
                continue
            if numbers[first]:
                tokens = segment.tokens
                found.append(Turn(tokens.starts_ms[first], tokens.ends_ms[at - 1], str(numbers[first])))
            first = at
    return tuple(found) if labelled else None
