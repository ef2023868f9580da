"""Build the hypothesis of a segment from its tokens and their positions."""

from __future__ import annotations

from collections.abc import Sequence

from dropscribe.engine.core.interfaces import Hypothesis, SpeechSegment
from dropscribe.engine.models.text import spacing
from dropscribe.engine.models.text.joining import Joined, join_tokens
from dropscribe.engine.models.text.spacing import Columns, Span
from dropscribe.transcript.types import Tokens

#: Samples of one 25 ms frame; a shorter segment has no frame, but VAD does not return any.
LEAST_SAMPLES = 400


def long_enough(segments: Sequence[SpeechSegment]) -> tuple[list[SpeechSegment], list[Hypothesis]]:
    """Segments of at least one frame, and empty hypotheses for the others."""
    kept = [s for s in segments if s.samples >= LEAST_SAMPLES]
    return kept, [of_words(s, "", [], []) for s in segments if s.samples < LEAST_SAMPLES]


def hypothesis(
    segment: SpeechSegment, tokens: list[str], columns: Columns | None, confidence: bytes = b""
) -> Hypothesis:
    """Hypothesis of a segment. columns: token starts and ends, ms in the recording; None: spread evenly.

    confidence: of each token, see `Tokens`; a word has that of its least certain token.
    """
    text = spacing.unspaced(tokens)
    if text is not None:
        # By far the most common case in Chinese; joining takes several times as long.
        return _hypothesis(segment, text, text, columns, confidence)
    return of_joined(segment, join_tokens(tokens), columns, confidence)


def of_joined(
    segment: SpeechSegment, joined: Joined, columns: Columns | None, confidence: bytes
) -> Hypothesis:
    """Hypothesis of a segment from its words; columns, confidence: as of `hypothesis`, of the tokens."""
    columns = None if columns is None else columns_of(columns, joined.firsts, joined.lasts)
    confidence = least_of(confidence, joined.firsts, joined.lasts)
    return _hypothesis(segment, joined.text, joined.words, columns, confidence)


def _hypothesis(
    segment: SpeechSegment, text: str, words: Sequence[str], columns: Columns | None, confidence: bytes
) -> Hypothesis:
    if columns is None:
        marks = spacing.spread(words, segment.start_ms, segment.end_ms, confidence)
    else:
        marks = Tokens(words, *columns, confidence)
    return Hypothesis(segment.stream, segment.index, text, marks)


def columns_of(columns: Columns, firsts: Sequence[int], lasts: Sequence[int]) -> Columns:
    """Starts and ends of words from those of tokens. firsts, lasts: first and last token of each word."""
    starts, ends = columns
    return [starts[i] for i in firsts], [ends[i] for i in lasts]


def least_of(confidence: bytes, firsts: Sequence[int], lasts: Sequence[int]) -> bytes:
    """Confidence of words from that of tokens. firsts, lasts: first and last token of each word."""
    if not confidence:
        return b""
    # Most words are one token.
    return bytes([
        confidence[a] if a == b else min(confidence[a : b + 1]) for a, b in zip(firsts, lasts, strict=True)
    ])  # fmt: skip


def of_words(segment: SpeechSegment, text: str, words: list[str], spans: list[Span]) -> Hypothesis:
    """Hypothesis of a segment with whole words and a spaced `text`. spans: ms from the start of the segment."""
    origin = segment.start_ms
    marks = Tokens(words, [origin + start for start, _ in spans], [origin + end for _, end in spans])
    return Hypothesis(segment.stream, segment.index, text, marks)
