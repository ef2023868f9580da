"""Linear layers by the fastest implementation for the device."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

#: Row counts are rounded up to multiples of 2^(bit length - STEPS): at most four between two powers of two.
STEPS = 3
#: Smallest step between two rounded row counts.
LEAST_STEP = 16

#: (…, inputs) → (…, outputs)
Product = Callable[[Tensor], Tensor]


def product(weight: Tensor, bias: Tensor | None, *, relu: bool = False) -> Product:
    """Linear layer x·Wᵀ + b with optional ReLU, in the precision and on the device of `weight` (outputs, inputs)."""

    def plain(rows: Tensor) -> Tensor:
        made = F.linear(rows, weight, bias)
        return made.relu_() if relu else made

    fp32_on_cpu = weight.device.type == "cpu" and weight.dtype == torch.float32
    return _fastest(plain, weight, bias, relu=relu) if fp32_on_cpu else plain


def rounded(rows: int) -> int:
    """Round a row count up slightly: oneDNN compiles and caches code for each distinct count, 0.6 MB each."""
    step = max(LEAST_STEP, 1 << max(0, rows.bit_length() - STEPS))
    return -(-rows // step) * step


def _fastest(plain: Product, weight: Tensor, bias: Tensor | None, *, relu: bool) -> Product:
    """The linear layer of oneDNN if this torch has it and its result agrees, else `plain`.

    Twice as fast on processors on which MKL is slow. The operator is internal to torch (compiled models use it) and may
    change, so it is tried first.
    """

    def by_onednn(x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        count = rows.shape[0]
        made: Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001 - see above
            F.pad(rows, (0, 0, 0, rounded(count) - count)), weight, bias, "relu" if relu else "none", [], ""
        )
        return made[:count].view(*x.shape[:-1], -1)

    trial = torch.linspace(-1.0, 1.0, 4 * weight.shape[1]).view(4, -1)
    try:
        with torch.inference_mode():
            agrees = torch.allclose(by_onednn(trial), plain(trial), rtol=1e-4, atol=1e-4)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return plain
    return by_onednn if agrees else plain
