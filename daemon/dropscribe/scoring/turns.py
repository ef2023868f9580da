"""Speaker turns of a transcript."""

from __future__ import annotations

from dropscribe.scoring.diarization import Turn
from dropscribe.transcript.types import Transcript


def turns_of(transcript: Transcript) -> tuple[Turn, ...] | None:
    """Neighbouring tokens of one speaker in a segment, from the first start to the last end; None without speakers.

    Tokens without a known speaker belong to nobody.
    """
    found: list[Turn] = []
    labelled = False
    for segment in transcript.segments:
        # Transcripts without speakers have none, too.
        numbers: bytes = getattr(segment, "speakers", b"")
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
