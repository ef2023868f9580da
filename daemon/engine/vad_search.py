"""One look for speech in many streams: which blocks share it, and what a failure costs. Policy and accounting only."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from daemon.engine.outcomes import let_go
from daemon.engine.protocol import SAMPLE_RATE_HZ, PcmBlock
from daemon.engine.stages import Pcm, Piece, Region, SpeechSegment, VadModel
from daemon.engine.streams import Stream
from daemon.errors import EngineDiedError

#: What a look takes at most on a GPU, which it costs nearly the same whatever it holds …
LOOK_SAMPLES = 2_400 * SAMPLE_RATE_HZ
#: … and on a CPU, where batches wait while it lasts and a small one stays in the caches.
CPU_LOOK_SAMPLES = 40 * SAMPLE_RATE_HZ
#: Seconds between two looks at a crowd.
REST_S = 0.04


@dataclass(frozen=True, slots=True, eq=False)
class Offered:
    """The next samples of a stream, about to be looked at."""

    stream: Stream
    parts: tuple[Pcm, ...]
    final: bool


class Looks:
    """When to look. Pure: `now` is an argument, in monotonic seconds."""

    def __init__(self) -> None:
        self._last = -math.inf

    def wait_s(self, now: float, samples: int, *, crowded: bool) -> float:
        """Seconds until `samples` that wait should be looked at; in a crowd small looks come `REST_S` apart."""
        if not crowded or samples >= LOOK_SAMPLES:
            return 0.0
        return max(0.0, self._last + REST_S - now)

    def looked(self, now: float) -> None:
        self._last = now


def one_look(blocks: deque[PcmBlock], most: int) -> list[list[PcmBlock]]:
    """Take the oldest blocks out of `blocks`: so many samples at most, or the very first; those of a stream side by side."""
    taken: dict[int, list[PcmBlock]] = {}
    samples = 0
    while blocks and (not taken or samples + blocks[0].samples <= most):
        block = blocks.popleft()
        samples += block.samples
        taken.setdefault(block.stream, []).append(block)
    return list(taken.values())


def search(
    model: VadModel, offered: Sequence[Offered], now: float
) -> Iterator[tuple[Offered, list[SpeechSegment] | Exception]]:
    """What each stream's samples complete, or why its detector failed, in the order offered.

    A call that fails took nothing, so its halves are tried, down to the stream at fault: out of memory, a smaller
    call may do; of anything else, only who causes it suffers. Raises EngineDiedError.
    """
    if not offered:
        return
    pieces = [o.stream.piece(o.parts, final=o.final) for o in offered]
    started = time.perf_counter()
    try:
        regions = model.accept(pieces)
    except EngineDiedError:
        raise
    except Exception as e:
        regions, error = None, let_go(e)
    if regions is None:
        if len(offered) == 1:
            yield offered[0], error
            return
        half = len(offered) // 2
        yield from search(model, offered[:half], now)
        yield from search(model, offered[half:], now)
        return
    yield from _completed(offered, pieces, regions, time.perf_counter() - started, now)


def _completed(
    offered: Sequence[Offered],
    pieces: Sequence[Piece],
    regions: Sequence[Sequence[Region]],
    seconds: float,
    now: float,
) -> Iterator[tuple[Offered, list[SpeechSegment]]]:
    """Each stream is charged for the share of the call that its samples are."""
    samples = sum(p.samples for p in pieces)
    for one, piece, found in zip(offered, pieces, regions, strict=True):
        share = piece.samples / samples if samples else 1 / len(pieces)
        yield one, one.stream.accept(piece, found, seconds * share, now)
