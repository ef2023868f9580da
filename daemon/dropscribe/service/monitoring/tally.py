"""What the daemon has done since its start: jobs, audio, stages, batches."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from dropscribe.ledger.records import JobState
from dropscribe.transcript.types import MediaFacts, Timings

#: Upper bounds of the buckets of a stage's time, seconds: from what publishing takes to what a backlog waits.
SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0, 1800.0, 7200.0, 43_200.0)
#: Upper bounds of the buckets of the segments in a batch.
SEGMENTS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)


@dataclass(slots=True)
class Buckets:
    """A histogram: how many values are at most each of `bounds` and above the one before; the last count is of the rest."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def copy(self) -> Buckets:
        return Buckets(self.bounds, list(self.counts), self.total)


@dataclass(frozen=True, slots=True)
class Totals:
    """A copy of a `Tally`."""

    #: By (state, reason code); "" for done jobs.
    ended: dict[tuple[str, str], int]
    audio_s: float
    speech_s: float
    #: Speech in the batches of all jobs and the same with padding, seconds.
    batched_s: float
    padded_s: float
    stages: dict[str, Buckets]
    segments: Buckets


class Tally:
    """Counts what ends. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: Counter[tuple[str, str]] = Counter()
        self._audio_s = self._speech_s = self._batched_s = self._padded_s = 0.0
        self._stages: defaultdict[str, Buckets] = defaultdict(lambda: Buckets(SECONDS))
        self._segments = Buckets(SEGMENTS)

    def done(self, media: MediaFacts, timings: Timings, *, recognised: bool) -> None:
        """Count a job that is done; `recognised` False: it has the result of another job."""
        speech_s = timings.speech_ms / 1000
        with self._lock:
            self._ended[JobState.DONE.value, ""] += 1
            if not recognised:
                return
            self._audio_s += media.duration_ms / 1000
            self._speech_s += speech_s
            for stage, seconds in timings.seconds:
                self._stages[stage].add(seconds)
            if timings.batch_sizes:
                self._batched_s += speech_s
                self._padded_s += speech_s * (1 + timings.padding_waste)
                self._segments.add(sum(timings.batch_sizes) / len(timings.batch_sizes))

    def ended(self, state: JobState, code: str) -> None:
        """Count a job that ended without a transcript."""
        with self._lock:
            self._ended[state.value, code] += 1

    def totals(self) -> Totals:
        with self._lock:
            return Totals(
                dict(self._ended), self._audio_s, self._speech_s, self._batched_s, self._padded_s,
                {stage: buckets.copy() for stage, buckets in self._stages.items()}, self._segments.copy(),
            )  # fmt: skip
