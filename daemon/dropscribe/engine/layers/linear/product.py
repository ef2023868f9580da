"""Linear layers by the fastest implementation for the device."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

#: Row counts are rounded up to multiples of 2^(bit length - STEPS): at most eight between two powers of two.
STEPS = 4
#: Smallest step between two rounded row counts.
LEAST_STEP = 16

#: Precisions in which oneDNN may multiply, and how close its results have to be to those of torch.
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 2e-2}

#: Rows for which oneDNN orders the weights; others work as well.
USUAL_ROWS = 512

#: The same for products of few rows.
FEW_ROWS = 16

#: In what the factors of products are on a CPU, whose inputs and results are float32.
Factors = Literal["fp32", "bf16", "int8"]

#: (…, inputs) → (…, outputs)
Product = Callable[[Tensor], Tensor]


def product(
    weight: Tensor,
    bias: Tensor | None,
    *,
    relu: bool = False,
    usual_rows: int = USUAL_ROWS,
    least_step: int = LEAST_STEP,
) -> Product:
    """Linear layer x·Wᵀ + b with optional ReLU, in the precision and on the device of `weight` (outputs, inputs).

    `usual_rows`: row count that it is prepared for; `least_step`: see `rounded`.
    """

    def plain(rows: Tensor) -> Tensor:
        made = F.linear(rows, weight, bias)
        return made.relu_() if relu else made

    on_cpu = weight.device.type == "cpu" and weight.dtype in TOLERANCES
    if on_cpu and _onednn_agrees(*weight.shape, bias is not None, relu, weight.dtype):
        return _by_onednn(weight, bias, relu=relu, usual_rows=usual_rows, least_step=least_step)
    return plain


def of_few_rows(weight: Tensor) -> Product:
    """Linear layer x·Wᵀ for few rows of float32 at a time, on the CPU, where reading the weights takes most of the time.

    With the weights in float16, if this torch has such a product; sums are in float32.
    """
    if _fbgemm_agrees(*weight.shape):
        return _by_fbgemm(weight)
    return product(weight, None, usual_rows=FEW_ROWS, least_step=1)


def _by_fbgemm(weight: Tensor) -> Product:
    """The product of FBGEMM with weights in float16."""
    packed = torch.ops.quantized.linear_prepack_fp16(weight, None)

    def run(x: Tensor) -> Tensor:
        made: Tensor = torch.ops.quantized.linear_dynamic_fp16(x, packed)
        return made

    return run


@cache
def _fbgemm_agrees(outputs: int, inputs: int) -> bool:
    """True if this torch has FBGEMM's product with float16 weights on this processor, and it is right."""
    weight = torch.linspace(-1.0, 1.0, outputs * inputs).view(outputs, inputs)
    trial = torch.linspace(-1.0, 1.0, 3 * inputs).view(3, inputs) / inputs
    try:
        with torch.inference_mode():
            return torch.allclose(_by_fbgemm(weight)(trial), F.linear(trial, weight), rtol=1e-2, atol=1e-2)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False


def rounded(rows: int, least_step: int = LEAST_STEP) -> int:
    """Round a row count up slightly: oneDNN compiles and caches code for each distinct count, 0.6 MB each."""
    step = max(least_step, 1 << max(0, rows.bit_length() - STEPS))
    return -(-rows // step) * step


def _by_onednn(
    weight: Tensor,
    bias: Tensor | None,
    *,
    relu: bool,
    usual_rows: int = USUAL_ROWS,
    least_step: int = LEAST_STEP,
) -> Product:
    """The linear layer of oneDNN: twice as fast on processors on which MKL is slow."""
    # Otherwise every call would bring the weights into the order that the processor needs.
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, usual_rows)  # noqa: SLF001 - see _onednn_agrees
    activation = "relu" if relu else "none"

    def run(x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        count = rows.shape[0]
        more = rounded(count, least_step) - count
        made: Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001 - see _onednn_agrees
            F.pad(rows, (0, 0, 0, more)) if more else rows, packed, bias, activation, [], ""
        )
        return made[:count].view(*x.shape[:-1], -1)

    return run


@cache
def _onednn_agrees(outputs: int, inputs: int, with_bias: bool, relu: bool, dtype: torch.dtype) -> bool:
    """True if this torch has oneDNN's linear layer, and its result for weights of this shape is that of torch's own.

    The operator is internal to torch (compiled models use it) and may change, so it is tried first.
    """
    weight = torch.linspace(-1.0, 1.0, outputs * inputs, dtype=dtype).view(outputs, inputs)
    bias = torch.linspace(-1.0, 1.0, outputs, dtype=dtype) if with_bias else None
    trial = torch.linspace(-1.0, 1.0, 4 * inputs, dtype=dtype).view(4, inputs) / inputs
    near = TOLERANCES[dtype]
    try:
        with torch.inference_mode():
            found = _by_onednn(weight, bias, relu=relu)(trial)
            expected = F.linear(trial, weight, bias)
            return torch.allclose(found, expected.relu_() if relu else expected, rtol=near, atol=near)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
