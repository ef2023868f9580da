"""Concatenation by several threads equals that by one."""

from __future__ import annotations

import numpy as np
import pytest

from dropscribe.engine.core.interfaces import Pcm
from dropscribe.engine.layers.transfer import WORTH_SHARING, Gather


def pieces(sizes: list[int]) -> list[Pcm]:
    rng = np.random.default_rng(len(sizes))
    return [rng.integers(-32_768, 32_767, size, dtype=np.int16) for size in sizes]


@pytest.mark.parametrize(
    "sizes",
    [
        [0, 5, 0, 7],
        [WORTH_SHARING + 1],
        [WORTH_SHARING // 9] * 12,
        [3, WORTH_SHARING, 0, 0, 4],
        [WORTH_SHARING, 1, 1, 1, 1, 1],
        [*[1] * 50, WORTH_SHARING],
    ],
    ids=["small", "one", "even", "large between", "large first", "large last"],
)
def test_all_parts_are_copied_in_order(sizes: list[int]) -> None:
    parts = pieces(sizes)
    out = np.full(sum(sizes), 99, np.int16)
    Gather(4)(parts, out)
    assert np.array_equal(out, np.concatenate(parts))
