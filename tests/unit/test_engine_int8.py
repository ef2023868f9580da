"""Linear layers in 8 bits: close to fp32, the same for a row in any batch, exact sums."""

from __future__ import annotations

import pytest
import torch

from dropscribe.engine.layers.linear import int8

pytestmark = pytest.mark.skipif(
    int8.products() == "none", reason="this processor or torch has no products in 8 bits"
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
        assert error.max() < 0.02
    positive = x.relu()
    error = int8.product(weight, None, positive=True)(positive) - torch.nn.functional.linear(positive, weight)
    assert (error.norm(dim=1) / torch.nn.functional.linear(positive, weight).norm(dim=1)).max() < 0.02


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
    assert torch.allclose(layer(ones), torch.full((2, 8), 256.0), rtol=0.01)
    assert torch.allclose(layer(-ones), torch.full((2, 8), -256.0), rtol=0.01)
    assert torch.equal(int8.product(weight, None)(torch.zeros(3, 256)), torch.zeros(3, 96))


@torch.inference_mode()
def test_sums_of_the_largest_activations_are_exact() -> None:
    """Without VNNI, pairs of products overflow 16 bits unless the weights of a pair are limited."""
    random = torch.Generator().manual_seed(3)
    weight = torch.randn(64, 512, generator=random)
    weight[0, ::2] = weight[0, 1::2] = 1.0  # the largest sums
    weight[1] = -weight[0]
    scales = int8.scales_of(weight, int8.pair_limit())
    exact = (weight / scales[:, None]).round() * scales[:, None]
    # A row of 1 and −1 is quantised without error.
    x = torch.randint(0, 2, (30, 512), generator=random) * 2.0 - 1.0
    x[0], x[1] = 1.0, exact[2].sign()
    expected = torch.nn.functional.linear(x, exact)
    assert torch.allclose(int8.product(weight, None)(x), expected, rtol=1e-4, atol=1e-2)
    assert torch.allclose(
        int8.product(weight, None, positive=True)(x.relu()),
        torch.nn.functional.linear(x.relu(), exact),
        rtol=1e-4,
        atol=1e-2,
    )


def test_weights_of_a_pair_are_limited_only_where_the_processor_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weight = torch.randn(64, 511, generator=torch.Generator().manual_seed(4))
    largest = weight.abs().amax(dim=1)
    full, limited = (int8.scales_of(weight, limit) for limit in int8.PAIRS)
    assert torch.allclose(full, largest / 127)
    assert (limited >= full).all()
    assert (limited / full).mean() < 1.5  # not 2, as with weights of 7 bits
    made = torch.nn.functional.pad((weight / limited[:, None]).round(), (0, 1)).view(64, 256, 2)
    assert made.clamp(min=0).sum(dim=2).max() <= 128
    assert made.clamp(max=0).sum(dim=2).min() >= -128
    for exact, expected in ((int8.PAIRS, "full"), (int8.PAIRS[1:], "limited"), ((), "none")):
        monkeypatch.setattr(int8, "_exact", exact.__contains__)
        int8.pair_limit.cache_clear()
        assert int8.products() == expected
    int8.pair_limit.cache_clear()
