"""Results of a batch, and errors of its streams. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dropscribe.engine.core.interfaces import Hypothesis, SpeechSegment
from dropscribe.engine.protocol import StreamFailed
from dropscribe.errors import EngineError, LostSegmentError, OutOfDeviceMemoryError


@dataclass(frozen=True, slots=True)
class Recognised:
    """Result of a batch: every segment has a hypothesis or its stream is in `failures`."""

    hypotheses: tuple[Hypothesis, ...]
    failures: tuple[StreamFailed, ...]


def match_results(segments: Sequence[SpeechSegment], hypotheses: Iterable[Hypothesis]) -> Recognised:
    """Match hypotheses to segments; fail streams with a missing segment, which would otherwise lose text."""
    by_key = {(h.stream, h.index): h for h in hypotheses}
    kept, failures = [], {}
    for segment in segments:
        hypothesis = by_key.get((segment.stream, segment.index))
        if hypothesis is not None:
            kept.append(hypothesis)
        else:
            lost = LostSegmentError(
                f"the model returned no hypothesis for segment {segment.index} ({segment.start_ms}-{segment.end_ms} ms)"
            )
            failures[segment.stream] = failure_of(segment.stream, lost)
    return Recognised(tuple(kept), tuple(failures.values()))


def joined(parts: Sequence[Recognised]) -> Recognised:
    """Merge the results of a batch that was run in parts; each stream fails at most once."""
    failures = {f.stream: f for part in parts for f in part.failures}
    return Recognised(tuple(h for part in parts for h in part.hypotheses), tuple(failures.values()))


def failure_of(stream: int, error: Exception) -> StreamFailed:
    """Failure event of a stream whose segment or samples caused an error."""
    if isinstance(error, OutOfDeviceMemoryError):
        return StreamFailed(
            stream, error.code, f"one segment alone does not fit the device: {error.reason}", True
        )
    if isinstance(error, (LostSegmentError, EngineError)):
        return StreamFailed(stream, error.code, error.reason, error.retryable)
    # The same samples will fail again, unless the host ran out of memory.
    reason = f"{type(error).__name__}: {error}"
    return StreamFailed(stream, EngineError.code, reason, isinstance(error, MemoryError))
