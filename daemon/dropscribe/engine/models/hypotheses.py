"""Build the hypothesis of a segment from its tokens and their positions."""

from __future__ import annotations

from collections.abc import Sequence

from dropscribe.engine.core.interfaces import Hypothesis, SpeechSegment
from dropscribe.engine.models.text import spacing
from dropscribe.engine.models.text.joining import join_words
from dropscribe.engine.models.text.spacing import Columns, Span
from dropscribe.transcript.types import Tokens

#: Samples of one 25 ms frame; a shorter segment has no frame, but VAD does not return any.
LEAST_SAMPLES = 400


def long_enough(segments: Sequence[SpeechSegment]) -> tuple[list[SpeechSegment], list[Hypothesis]]:
    """Segments of at least one frame, and empty hypotheses for the others."""
    kept = [s for s in segments if s.samples >= LEAST_SAMPLES]
    return kept, [of_words(s, "", [], []) for s in segments if s.samples < LEAST_SAMPLES]


def hypothesis(segment: SpeechSegment, tokens: list[str], columns: Columns | None) -> Hypothesis:
    """Hypothesis of a segment. columns: token starts and ends, ms in the recording; None: spread evenly."""
    words: Sequence[str]
    text = spacing.unspaced(tokens)
    if text is not None:
        # By far the most common case in Chinese; joining takes several times as long.
        words = text
    else:
        spans = None if columns is None else list(zip(*columns, strict=True))
        words, spans = join_words(tokens, spans)
        columns = None if spans is None else ([a for a, _ in spans], [b for _, b in spans])
        text = spacing.join(words)
    if columns is None:
        marks = spacing.spread(words, segment.start_ms, segment.end_ms)
    else:
        marks = Tokens(words, *columns)
    return Hypothesis(segment.stream, segment.index, text, marks)


def of_words(segment: SpeechSegment, text: str, words: list[str], spans: list[Span]) -> Hypothesis:
    """Hypothesis of a segment with whole words and a spaced `text`. spans: ms from the start of the segment."""
    origin = segment.start_ms
    marks = Tokens(words, [origin + start for start, _ in spans], [origin + end for _, end in spans])
    return Hypothesis(segment.stream, segment.index, text, marks)
