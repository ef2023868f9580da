"""Linear layers with 8-bit weights and activations on a CPU.

Weights are quantised once, with a scale per output; activations at each call, with a scale per row (one frame or
token). So the result of a row does not depend on the other rows of a batch and, since sums of integers are exact, not
on the number of threads either.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor

from dropscribe.engine.layers.linear import Product

#: Engine of torch that multiplies.
ENGINE = "fbgemm"
#: Bits of an activation, the better first. Processors without an instruction for products of 8 bits (VNNI) add pairs of
#: products in 16 bits, which overflow unless activations use 7 bits only.
WIDTHS = (8, 7)
#: Smallest divisor of a row; rows of padding may be zero.
LEAST = 1e-20
#: Largest quantised weight; −128 is not used.
LARGEST = 127


@cache
def activation_bits() -> int:
    """Bits of an activation for which this processor and this torch compute exact sums: 8 or 7; 0 if there are none."""
    return next((width for width in WIDTHS if _exact(width)), 0)


def product(weight: Tensor, bias: Tensor | None, *, relu: bool = False, positive: bool = False) -> Product:
    """Linear layer x·Wᵀ + b with optional ReLU. weight: (outputs, inputs) float32 on the CPU.

    `positive`: no input is below 0 (it comes from a ReLU), so that activations need no sign.
    """
    width = activation_bits()
    steps, zero = (2**width - 1, 0) if positive else (2 ** (width - 1) - 1, 2 ** (width - 1))
    packed = _packed(weight)

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


def _multiplied(x: Tensor, steps: int, zero: int, packed: Any) -> Tensor:
    """Quantise x, from −1 … 1 to integers around `zero`, and multiply by the weights. Returns float32."""
    made: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
        x, 1.0 / steps, zero, packed
    )
    return made


def _packed(weight: Tensor) -> Any:
    """Weights quantised per output, in the layout of the product."""
    scales = weight.abs().amax(dim=1).clamp_(min=LEAST) / LARGEST
    zeros = torch.zeros(len(scales), dtype=torch.int64)
    torch.backends.quantized.engine = ENGINE  # type: ignore[assignment, unused-ignore] # a property of a module
    with warnings.catch_warnings():
        # torch announces that tensors of this kind will go; then `_exact` is false, and fp32 is used.
        warnings.simplefilter("ignore")
        quantised = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
    return torch.ops.quantized.linear_prepack(quantised, None)


def _exact(width: int) -> bool:
    """True if the largest sums that activations of this width can make come out exactly."""
    if ENGINE not in torch.backends.quantized.supported_engines:
        return False
    inputs = 512
    steps, zero = 2 ** (width - 1) - 1, 2 ** (width - 1)
    weight = torch.ones(64, inputs)
    weight[1::2] = -1.0
    rows = torch.ones(3, inputs)
    rows[1] = -1.0
    try:
        with torch.inference_mode():
            made = _multiplied(rows, steps, zero, _packed(weight))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
    return torch.allclose(made, rows @ weight.T, rtol=1e-5)
