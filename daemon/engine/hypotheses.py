"""From a segment's tokens and their places to what is said of it: sub-words joined, positions made absolute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from funasr.utils.postprocess_utils import sentence_postprocess

from daemon.engine import wording
from daemon.engine.stages import Hypothesis, SpeechSegment
from daemon.transcript.types import Token

#: A shorter segment does not fill one frame of 25 ms; VAD gives out none.
LEAST_SAMPLES = 400
#: Marks that are no words. FunASR drops them from the text and leaves their positions in, which moves
#: every later position by one token; here they go together.
NO_WORDS = frozenset({"<s>", "</s>", "<unk>", "<OOV>", "<blank>"})

#: Start and end of a token, ms from the start of its segment.
Span = tuple[int, int]


def long_enough(segments: Sequence[SpeechSegment]) -> tuple[list[SpeechSegment], list[Hypothesis]]:
    """Those that fill a frame, and empty hypotheses for the others."""
    kept = [s for s in segments if len(s.pcm) >= LEAST_SAMPLES]
    return kept, [of_words(s, "", [], []) for s in segments if len(s.pcm) < LEAST_SAMPLES]


def hypothesis(segment: SpeechSegment, tokens: list[str], spans: list[Span] | None) -> Hypothesis:
    """What is said of a segment; without `spans` its words are spread evenly over it."""
    if all(map(wording.stands_alone, tokens)):
        # Nothing to join: by far the most common case, and FunASR's way is slow.
        return of_words(segment, "".join(tokens), tokens, spans)
    words, placed = join_words(tokens, spans)
    return of_words(segment, wording.join(words), words, placed)


def of_words(segment: SpeechSegment, text: str, words: list[str], spans: list[Span] | None) -> Hypothesis:
    """What is said of a segment where words are whole and `text` spaced already; without `spans` they are spread."""
    if spans is None:
        marks = wording.spread(words, segment.start_ms, segment.end_ms)
    else:
        marks = tuple(
            Token(word, segment.start_ms + start, segment.start_ms + end)
            for word, (start, end) in zip(words, spans, strict=True)
        )
    return Hypothesis(segment.stream, segment.index, text, marks)


def join_words(tokens: list[str], spans: list[Span] | None) -> tuple[list[str], list[Span] | None]:
    """Join sub-words (`hel@@ lo`) and spelt letters into words, as FunASR does, with their spans."""
    kept = [i for i, token in enumerate(tokens) if token not in NO_WORDS]
    words: list[str]
    if spans is not None:
        times: Any
        _, times, words = sentence_postprocess([tokens[i] for i in kept], [list(spans[i]) for i in kept])
        if len(times) == len(words):
            return words, [(int(a), int(b)) for a, b in times]
    _, words = sentence_postprocess([tokens[i] for i in kept])
    return words, None
