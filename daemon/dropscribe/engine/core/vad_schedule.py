"""Schedule VAD passes and pick the blocks in each. Pure policy: no clock, no torch."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from dropscribe.engine.protocol import SAMPLE_RATE_HZ, PcmBlock

#: Most samples in a pass on a GPU.
PASS_SAMPLES = 2_400 * SAMPLE_RATE_HZ
#: Smallest number of long streams that share a full pass on a GPU: one stream gets at most this fraction of it.
PASS_STREAMS = 4
#: Most samples in a pass on a CPU.
CPU_PASS_SAMPLES = 40 * SAMPLE_RATE_HZ
#: Least interval of small passes in throughput mode, seconds.
REST_S = 0.12


@dataclass(frozen=True, slots=True)
class Bounds:
    """Largest number of samples in a VAD pass: in all, and of one stream."""

    samples: int
    of_one: int


ON_GPU = Bounds(PASS_SAMPLES, PASS_SAMPLES // PASS_STREAMS)
ON_CPU = Bounds(CPU_PASS_SAMPLES, CPU_PASS_SAMPLES)


class VadSchedule:
    """Schedule of VAD passes. Pure: `now` is an argument, in monotonic seconds."""

    def __init__(self) -> None:
        self._last = -math.inf

    def wait_s(self, now: float, samples: int, *, throughput_mode: bool) -> float:
        """Seconds until the next pass, if `samples` are waiting.

        In throughput mode (see `Batcher.next`) passes of fewer than `PASS_SAMPLES` start at least `REST_S` apart.
        """
        if not throughput_mode or samples >= PASS_SAMPLES:
            return 0.0
        return max(0.0, self._last + REST_S - now)

    def record_pass(self, now: float) -> None:
        """Note the start of a pass."""
        self._last = now


def next_pass(blocks: deque[PcmBlock], most: Bounds) -> list[list[PcmBlock]]:
    """Remove the oldest blocks from `blocks`: at least one, and as many as `most` allows; returns them by stream."""
    taken: dict[int, list[PcmBlock]] = {}
    own: dict[int, int] = {}
    samples = 0
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
