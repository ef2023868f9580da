"""Log-mel frames that a stream keeps between VAD passes."""

from __future__ import annotations

import torch

from dropscribe.engine.core.interfaces import Frames
from dropscribe.engine.vad.frame_buffer import HeldFrames

#: Frames of a pass of many streams, each frame with its number.
PASS = torch.arange(1_000.0)[:, None].expand(-1, 80).contiguous()


def numbers(held: HeldFrames, first: int, last: int) -> list[int] | None:
    found = held.between(first, last)
    return None if found is None else [int(n) for part in found for n in part.cut()[:, 0].tolist()]


def two_passes() -> HeldFrames:
    """Frames 0 to 99 of a stream, which are 200 to 299 of a pass, and 100 to 149, which are 700 to 749 of the next one."""
    held = HeldFrames()
    held.add(Frames(PASS, 200, 300))
    held.add(Frames(PASS, 700, 750))
    return held


def test_a_region_over_several_passes_has_its_frames_in_order() -> None:
    held = two_passes()
    assert numbers(held, 0, 3) == [200, 201, 202]
    assert numbers(held, 98, 102) == [298, 299, 700, 701]
    assert numbers(held, 0, 150) == [*range(200, 300), *range(700, 750)]
    assert numbers(held, 40, 40) == []


def test_a_region_with_frames_that_are_not_there_has_none() -> None:
    held = two_passes()
    assert numbers(held, 149, 151) is None
    held.forget_before(100)
    assert numbers(held, 99, 110) is None
    assert numbers(held, 100, 110) == list(range(700, 710))


def test_what_is_kept_does_not_keep_the_frames_of_all_streams() -> None:
    held = two_passes()
    held.forget_before(90)
    assert numbers(held, 90, 110) == [*range(290, 300), *range(700, 710)]
    found = held.between(90, 150)
    assert found is not None
    assert sum(len(part.source) for part in found) <= 2 * 60
    assert held.end == 150
    held.forget_before(held.end)
    assert numbers(held, 149, 150) is None
