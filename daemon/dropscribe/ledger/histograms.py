"""Histograms of durations with buckets that double in width, and quantiles read from them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Upper bound of the first bucket, seconds. Each further bucket is twice as wide as the one before.
FIRST_BUCKET_S = 1 / 512
#: Number of buckets. The last has no upper bound; it begins at 36 hours.
BUCKETS = 28


@dataclass(frozen=True, slots=True)
class Durations:
    """Durations of a stage: their number by bucket, and their sum in seconds."""

    buckets: Mapping[int, int]
    seconds: float

    @property
    def count(self) -> int:
        """Number of durations."""
        return sum(self.buckets.values())

    @property
    def mean_s(self) -> float | None:
        """Their mean, seconds; None if there are none."""
        return self.seconds / self.count if self.count else None

    def quantile_s(self, share: float) -> float | None:
        """A duration that about this share of them does not exceed, seconds; None if there are none.

        Within a bucket durations count as spread evenly on a logarithmic scale, so the answer is right within the width of its
        bucket: at most twice, at least half the true one. Of the last bucket, which has no end, it is the beginning.
        """
        wanted = share * self.count
        passed = 0
        for bucket, count in sorted(self.buckets.items()):
            if count and passed + count >= wanted:
                lower = bounds(bucket)[0]
                part = (wanted - passed) / count
                if bucket == 0:
                    return FIRST_BUCKET_S * part
                return lower if bucket == BUCKETS - 1 else lower * 2.0**part
            passed += count
        return None


def bounds(bucket: int) -> tuple[float, float | None]:
    """The durations [first, last) of a bucket, seconds; the last bucket has no end."""
    first = 0.0 if bucket == 0 else FIRST_BUCKET_S * 2.0 ** (bucket - 1)
    return first, None if bucket == BUCKETS - 1 else FIRST_BUCKET_S * 2.0**bucket
