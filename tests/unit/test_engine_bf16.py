"""Linear layers in bf16: close to fp32, the same for a row in any batch, and only where the processor has them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dropscribe.engine.layers.linear import bf16


def rows(count: int, inputs: int) -> torch.Tensor:
    return torch.randn(count, inputs, generator=torch.Generator().manual_seed(2))


def weights(outputs: int, inputs: int) -> torch.Tensor:
    made = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(1))
    return made.div_(math.sqrt(inputs))


@pytest.mark.parametrize("relu", [False, True])
@torch.inference_mode()
def test_it_is_close_to_the_layer_in_fp32(relu: bool) -> None:
    weight = weights(96, 256)
    # A large bias would cost the small products their last bits if the sum was rounded, too.
    bias = weight[:, 0] + 1000.0
    # Rows of very different sizes.
    x = rows(40, 256) * torch.logspace(-3, 5, 40)[:, None]
    expected = torch.nn.functional.linear(x, weight)
    found = bf16.product(weight, bias, relu=relu)(x)
    assert found.dtype == torch.float32
    expected = expected + bias
    expected = expected.relu() if relu else expected
    assert ((found - expected).norm(dim=1) <= 0.01 * (expected - bias).norm(dim=1) + 1e-2).all()


@torch.inference_mode()
def test_a_product_takes_the_result_of_another_as_it_is() -> None:
    first, second = weights(96, 256), weights(64, 96)
    x = rows(40, 256)
    between = bf16.product(first, first[:, 0], relu=True, feeds=True)(x)
    assert between.dtype == torch.bfloat16
    found = bf16.product(second, second[:, 0])(between)
    hidden = torch.nn.functional.linear(x, first, first[:, 0]).relu()
    expected = torch.nn.functional.linear(hidden, second, second[:, 0])
    assert ((found - expected).norm(dim=1) <= 0.01 * expected.norm(dim=1)).all()


@pytest.mark.skipif(not bf16.has_products(), reason="this processor has no products in bf16")
@pytest.mark.parametrize("inputs", [512, 2048])
@pytest.mark.parametrize("feeds", [False, True])
@torch.inference_mode()
def test_a_row_does_not_depend_on_its_batch(inputs: int, feeds: bool) -> None:
    layer = bf16.product(weights(512, inputs), None, feeds=feeds)
    x = rows(1000, inputs)
    whole = layer(x)
    assert torch.equal(layer(x[17:18]), whole[17:18])
    assert torch.equal(layer(x.view(4, 250, inputs)).view(1000, 512), whole)


@pytest.fixture
def cpu_info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(bf16, "CPU_INFO", path)
    bf16.has_products.cache_clear()
    yield path
    bf16.has_products.cache_clear()


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        ("fpu avx2 avx512f amx_bf16 amx_tile amx_int8", True),
        ("fpu avx2 avx512f avx512_bf16", True),
        ("fpu avx2 avx512f avx512_vnni", False),
    ],
)
def test_it_is_for_processors_with_such_instructions(cpu_info: Path, flags: str, has: bool) -> None:
    cpu_info.write_text(f"processor\t: 0\nmodel name\t: X\nflags\t\t: {flags}\n\nprocessor\t: 1\n")
    assert bf16.has_products() is has


def test_where_the_processor_does_not_say_what_it_has_there_is_none(cpu_info: Path) -> None:
    assert not bf16.has_products()
    cpu_info.write_text("processor\t: 0\n")
    assert not bf16.has_products()
