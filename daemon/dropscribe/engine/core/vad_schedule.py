"""When blocks are looked at for speech, and which of them share a look. Pure policy: no clock, no torch."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from dropscribe.engine.protocol import SAMPLE_RATE_HZ, PcmBlock

#: What a look takes at most on a GPU, which it costs nearly the same whatever it holds …
LOOK_SAMPLES = 2_400 * SAMPLE_RATE_HZ
#: … of so many recordings at least: one is not divided there, and a look that is too large is only divided between them.
LOOK_STREAMS = 4
#: What it takes on a CPU, where batches wait while it lasts and a small one stays in the caches.
CPU_LOOK_SAMPLES = 40 * SAMPLE_RATE_HZ
#: Seconds between two looks at a crowd.
REST_S = 0.04


@dataclass(frozen=True, slots=True)
class Bounds:
    """Samples that a look takes at most, of all recordings and of one."""

    samples: int
    of_one: int


ON_GPU = Bounds(LOOK_SAMPLES, LOOK_SAMPLES // LOOK_STREAMS)
ON_CPU = Bounds(CPU_LOOK_SAMPLES, CPU_LOOK_SAMPLES)


class VadSchedule:
    """When to look. Pure: `now` is an argument, in monotonic seconds."""

    def __init__(self) -> None:
        self._last = -math.inf

    def wait_s(self, now: float, samples: int, *, throughput_mode: bool) -> float:
        """Seconds until `samples` that wait should be looked at; in a crowd small looks come `REST_S` apart."""
        if not throughput_mode or samples >= LOOK_SAMPLES:
            return 0.0
        return max(0.0, self._last + REST_S - now)

    def looked(self, now: float) -> None:
        self._last = now


def one_look(blocks: deque[PcmBlock], most: Bounds) -> list[list[PcmBlock]]:
    """Take the oldest blocks out of `blocks`, within bounds, or a stream's very first; those of a stream side by side."""
    taken: dict[int, list[PcmBlock]] = {}
    own: dict[int, int] = {}
    samples = 0
    #: Of streams that have all they may, still in their order.
    kept: list[PcmBlock] = []
    full: set[int] = set()
    while blocks and (not taken or samples + blocks[0].samples <= most.samples):
        block = blocks.popleft()
        held = own.get(block.stream, 0)
        if block.stream in full or (held and held + block.samples > most.of_one):
            full.add(block.stream)
            kept.append(block)
            continue
        samples += block.samples
        own[block.stream] = held + block.samples
        taken.setdefault(block.stream, []).append(block)
    blocks.extendleft(reversed(kept))
    return list(taken.values())
