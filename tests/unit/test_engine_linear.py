"""Rounding of row counts: few distinct values with little padding."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dropscribe.engine.layers.linear.product import LEAST_STEP, rounded


@given(st.integers(1, 1 << 20))
def test_padding_is_an_eighth_at_most(rows: int) -> None:
    assert rows <= rounded(rows) < rows + max(LEAST_STEP, rows / 8 + 1)
    assert rounded(rounded(rows)) == rounded(rows)


def test_batches_of_all_sizes_have_few_row_counts() -> None:
    assert len({rounded(n) for n in range(1, 4_097)}) <= 56
