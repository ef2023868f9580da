"""How many rows a product is padded to: few different numbers, little of it in vain."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dropscribe.engine.layers.linear import LEAST_STEP, rounded


@given(st.integers(1, 1 << 20))
def test_at_most_a_quarter_is_in_vain(rows: int) -> None:
    assert rows <= rounded(rows) < rows + max(LEAST_STEP, rows / 4 + 1)
    assert rounded(rounded(rows)) == rounded(rows)


def test_batches_of_all_sizes_come_in_few() -> None:
    assert len({rounded(n) for n in range(1, 4_097)}) <= 32
