"""Matrix products by whatever does them fastest on the device at hand."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

#: Between two powers of two there are four numbers of rows …
STEPS = 3
#: … that far apart at least.
LEAST_STEP = 16

#: (…, inputs) → (…, outputs)
Product = Callable[[Tensor], Tensor]


def product(weight: Tensor, bias: Tensor | None, *, relu: bool = False) -> Product:
    """x·Wᵀ + b for `weight` (outputs, inputs), rectified with `relu`; in the precision and on the device of the weights."""

    def plain(rows: Tensor) -> Tensor:
        made = F.linear(rows, weight, bias)
        return made.relu_() if relu else made

    fp32_on_cpu = weight.device.type == "cpu" and weight.dtype == torch.float32
    return _fastest(plain, weight, bias, relu=relu) if fp32_on_cpu else plain


def rounded(rows: int) -> int:
    """A number of rows at or a little above: oneDNN makes, and keeps, code for each number it meets, 0.6 MB at a time."""
    step = max(LEAST_STEP, 1 << max(0, rows.bit_length() - STEPS))
    return -(-rows // step) * step


def _fastest(plain: Product, weight: Tensor, bias: Tensor | None, *, relu: bool) -> Product:
    """The product of oneDNN where this torch has it and it agrees: on processors that MKL is slow on, twice as fast.

    torch itself uses the operator in compiled models, but promises nothing about it: hence the trial.
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
