"""Linear layers with 8-bit weights and activations on a CPU.

Weights are quantised once, with a scale per output; activations at each call, with a scale per row (one frame or
token). So the result of a row does not depend on the other rows of a batch and, since sums of integers are exact, not
on the number of threads either.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from dropscribe.engine.layers.linear.product import Product

#: Engine of torch that multiplies.
ENGINE = "fbgemm"
#: Quantised activations are from 0 to this.
ACTIVATIONS = 255
#: Largest quantised weight; −128 is not used.
LARGEST = 127
#: Largest sum of two neighbouring quantised weights of one sign: of any two weights, and of those that processors
#: without an instruction for products of 8 bits (VNNI) multiply exactly. They add the products of two neighbours in 16
#: bits: 255 · 128 still fits.
PAIRS = (2 * LARGEST, 128)
#: Smallest divisor of a row or a weight; rows of padding may be zero.
LEAST = 1e-20


@cache
def pair_limit() -> int:
    """The one of `PAIRS` for which this processor and this torch compute exact sums; 0 if there is none."""
    return next((limit for limit in PAIRS if _exact(limit)), 0)


def products() -> Literal["none", "limited", "full"]:
    """Whether products of 8 bits can be had, and whether the weights of all pairs may be of any size."""
    limit = pair_limit()
    if limit == 0:
        return "none"
    return "full" if limit == PAIRS[0] else "limited"


def product(weight: Tensor, bias: Tensor | None, *, relu: bool = False, positive: bool = False) -> Product:
    """Linear layer x·Wᵀ + b with optional ReLU. weight: (outputs, inputs) float32 on the CPU.

    `positive`: no input is below 0 (it comes from a ReLU), so that activations need no sign.
    """
    steps, zero = (ACTIVATIONS, 0) if positive else (ACTIVATIONS // 2, ACTIVATIONS // 2 + 1)
    packed = _packed(weight, scales_of(weight, pair_limit()))

    def run(x: Tensor) -> Tensor:
        # The operator divides by one scale for all rows, so each row is brought to the range −1 … 1 before.
        scale = x.amax(dim=-1, keepdim=True)
        if not positive:
            scale = torch.maximum(scale, x.amin(dim=-1, keepdim=True).neg_())
        scale.clamp_(min=LEAST)
        made = _multiplied(x * scale.reciprocal(), steps, zero, packed)
        made = made.mul_(scale) if bias is None else torch.addcmul(bias, made, scale, out=made)
        return made.relu_() if relu else made

    return run


def scales_of(weight: Tensor, limit: int) -> Tensor:
    """Step of the quantised weights of each output, (outputs,), with which no pair exceeds `limit`.

    Most pairs are far below the largest weight, so a limit of half as much makes the steps a third larger, not twice.
    """
    largest = weight.abs().amax(dim=1) / LARGEST
    pairs = F.pad(weight, (0, weight.shape[1] % 2)).unflatten(1, (-1, 2))
    sums = torch.maximum(pairs.clamp(min=0).sum(dim=2), pairs.clamp(max=0).sum(dim=2).neg_()).amax(dim=1)
    # Rounding raises the sum of two by 1 at most.
    return torch.maximum(largest, sums / (limit - 1)).clamp_(min=LEAST)


def _multiplied(x: Tensor, steps: int, zero: int, packed: Any) -> Tensor:
    """Quantise x, from −1 … 1 to integers around `zero`, and multiply by the weights. Returns float32."""
    made: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
        x, 1.0 / steps, zero, packed
    )
    return made


def _packed(weight: Tensor, scales: Tensor) -> Any:
    """Weights quantised per output, in the layout of the product."""
    zeros = torch.zeros(len(scales), dtype=torch.int64)
    torch.backends.quantized.engine = ENGINE  # type: ignore[assignment, unused-ignore] # a property of a module
    with warnings.catch_warnings():
        # torch announces that tensors of this kind will go; then `_exact` is false, and fp32 is used.
        warnings.simplefilter("ignore")
        quantised = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
    return torch.ops.quantized.linear_prepack(quantised, None)


def _exact(limit: int) -> bool:
    """True if the largest sums that weights with this limit can make come out exactly."""
    if ENGINE not in torch.backends.quantized.supported_engines:
        return False
    most = min(limit, LARGEST)
    # Pairs of equal weights; and large weights side by side in two pairs, which shows that pairs begin at even numbers.
    equal = torch.full((512,), float(limit // 2))
    alternating = torch.tensor((limit - most, most, most, limit - most), dtype=torch.float32).repeat(128)
    weight = torch.stack((equal, -equal, alternating, -alternating)).repeat(16, 1)
    weight[4:, 256:] *= -1.0
    rows = torch.ones(3, weight.shape[1])
    rows[1] = -1.0
    try:
        with torch.inference_mode():
            made = _multiplied(rows, ACTIVATIONS // 2, ACTIVATIONS // 2 + 1, _packed(weight, torch.ones(64)))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
    return torch.equal(made.round(), rows @ weight.T)
