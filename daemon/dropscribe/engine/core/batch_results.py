"""What becomes of a batch. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dropscribe.engine.core.interfaces import Hypothesis, SpeechSegment
from dropscribe.engine.protocol import StreamFailed
from dropscribe.errors import EngineError, LostSegmentError, OutOfDeviceMemoryError


@dataclass(frozen=True, slots=True)
class Recognised:
    """What became of a batch: every segment has a hypothesis or its stream is in `failures`."""

    hypotheses: tuple[Hypothesis, ...]
    failures: tuple[StreamFailed, ...]


def match_results(segments: Sequence[SpeechSegment], hypotheses: Iterable[Hypothesis]) -> Recognised:
    """Every segment must have been spoken of: a stream that lost one fails rather than lose text."""
    by_key = {(h.stream, h.index): h for h in hypotheses}
    kept, failures = [], {}
    for segment in segments:
        said = by_key.get((segment.stream, segment.index))
        if said is not None:
            kept.append(said)
        else:
            lost = LostSegmentError(
                f"the model said nothing of segment {segment.index} ({segment.start_ms}-{segment.end_ms} ms)"
            )
            failures[segment.stream] = failure_of(segment.stream, lost)
    return Recognised(tuple(kept), tuple(failures.values()))


def joined(parts: Sequence[Recognised]) -> Recognised:
    """What became of a batch that was run in parts; a stream fails once."""
    failures = {f.stream: f for part in parts for f in part.failures}
    return Recognised(tuple(h for part in parts for h in part.hypotheses), tuple(failures.values()))


def failure_of(stream: int, error: Exception) -> StreamFailed:
    """What is said of a stream whose segment, or whose samples, caused an error."""
    if isinstance(error, OutOfDeviceMemoryError):
        return StreamFailed(
            stream, error.code, f"one segment alone does not fit the device: {error.reason}", True
        )
    if isinstance(error, (LostSegmentError, EngineError)):
        return StreamFailed(stream, error.code, error.reason, error.retryable)
    # The same samples will fail the same way, unless it was the host that ran short.
    reason = f"{type(error).__name__}: {error}"
    return StreamFailed(stream, EngineError.code, reason, isinstance(error, MemoryError))
