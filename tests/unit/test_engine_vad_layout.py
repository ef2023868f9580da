"""Rows of a stream do not depend on the chunking, and streams of a call do not overlap."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.engine.vad.layout import START, Splice, cuda_rows, groups, plan, step

SPLICE = Splice(2, 2)


def frames_of(samples: int) -> int:
    return max(0, 1 + (samples - 400) // 160)


@given(st.lists(st.integers(0, 2_000), max_size=12))
def test_each_row_comes_once_with_the_samples_of_its_neighbours(sizes: list[int]) -> None:
    # Every frame begins with its own number, which identifies the frames of a row.
    pcm = (np.arange(sum(sizes)) // 160).astype(np.int16)
    whole = frames_of(len(pcm))
    at, seen, rows = START, 0, []
    for i, size in enumerate([*sizes, 0]):
        final = i == len(sizes)
        made = step(
            at, (pcm[seen : seen + size // 2], pcm[seen + size // 2 : seen + size]), SPLICE, final=final
        )
        seen += size
        for row in range(made.skipped, made.skipped + made.rows):
            near = [min(max(row + o, 0), made.frames - 1) for o in range(-2, 3)]
            rows.append([int(np.concatenate(made.parts)[n * 160]) for n in near])
        at = made.after
        assert len(at.samples) <= 2_000 + 4 * 160 + 400
        if not final:
            assert at.rows == max(0, frames_of(seen) - SPLICE.after), (
                "a row is given out as soon as it can be"
            )
    assert rows == [[min(max(t + o, 0), whole - 1) for o in range(-2, 3)] for t in range(whole)]


def test_streams_are_laid_out_consecutively_after_their_context() -> None:
    steps = [step(START, (np.zeros(n, np.int16),), SPLICE, final=True) for n in (400, 16_000, 720)]
    made = plan(steps, left=19)
    assert (made.samples, made.frames, made.rows) == (17_120, 1 + 98 + 3, 3 * 19 + 102)
    assert [made.new_rows(i, 19) for i in range(3)] == [slice(19, 20), slice(39, 137), slice(156, 159)]


@given(st.lists(st.integers(1, 50), max_size=20), st.integers(1, 100))
def test_groups_keep_order_are_complete_and_as_large_as_allowed(rows: list[int], most: int) -> None:
    parts = [rows[part] for part in groups(rows, most)]
    assert [r for part in parts for r in part] == rows
    assert all(sum(part) <= most or len(part) == 1 for part in parts)
    assert all(sum(a) + b[0] > most for a, b in pairwise(parts))


@pytest.mark.parametrize("samples", [0, 1, 399])
def test_less_than_a_frame_has_no_row(samples: int) -> None:
    assert step(START, (np.zeros(samples, np.int16),), SPLICE, final=True).rows == 0


@pytest.mark.parametrize(
    ("gib", "rows"), [(4, 16_384), (16, 32_768), (24, 49_152), (80, 163_840), (141, 262_144)]
)
def test_the_row_limit_depends_on_the_memory_of_the_gpu(gib: int, rows: int) -> None:
    assert cuda_rows(gib << 30) == rows
