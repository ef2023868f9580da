"""Linear layers in 8 bits: close to fp32, the same for a row in any batch, exact sums."""

from __future__ import annotations

import pytest
import torch

from dropscribe.engine.layers import int8

pytestmark = pytest.mark.skipif(
    int8.activation_bits() == 0, reason="this processor or torch has no products in 8 bits"
)


@pytest.fixture
def weight() -> torch.Tensor:
    return torch.randn(96, 256, generator=torch.Generator().manual_seed(1)) / 16


def rows(count: int) -> torch.Tensor:
    return torch.randn(count, 256, generator=torch.Generator().manual_seed(2))


@torch.inference_mode()
def test_it_is_close_to_the_layer_in_fp32(weight: torch.Tensor) -> None:
    bias = weight[:, 0].clone()
    # Rows of very different sizes have scales of their own.
    x = rows(40) * torch.logspace(-3, 5, 40)[:, None]
    for relu in (False, True):
        expected = torch.nn.functional.linear(x, weight, bias)
        expected = expected.relu() if relu else expected
        error = (int8.product(weight, bias, relu=relu)(x) - expected).norm(dim=1) / expected.norm(dim=1)
        assert error.max() < 0.04
    positive = x.relu()
    error = int8.product(weight, None, positive=True)(positive) - torch.nn.functional.linear(positive, weight)
    assert (error.norm(dim=1) / torch.nn.functional.linear(positive, weight).norm(dim=1)).max() < 0.04


@torch.inference_mode()
def test_a_row_does_not_depend_on_its_batch_or_the_number_of_threads(weight: torch.Tensor) -> None:
    layer = int8.product(weight, None)
    x = rows(200)
    whole = layer(x)
    assert torch.equal(layer(x[17:18]), whole[17:18])
    assert torch.equal(layer(x.view(4, 50, 256)).view(200, 96), whole)
    before = torch.get_num_threads()
    torch.set_num_threads(1 if before > 1 else 2)
    try:
        assert torch.equal(layer(x), whole)
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
def test_the_largest_values_do_not_overflow_and_zeros_stay_zero(weight: torch.Tensor) -> None:
    ones = torch.ones(2, 256)
    layer = int8.product(torch.ones(8, 256), None)
    assert torch.allclose(layer(ones), torch.full((2, 8), 256.0))
    assert torch.allclose(layer(-ones), torch.full((2, 8), -256.0))
    assert torch.equal(int8.product(weight, None)(torch.zeros(3, 256)), torch.zeros(3, 96))
