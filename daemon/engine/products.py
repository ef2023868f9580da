"""Matrix products by whatever does them fastest on the device at hand."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - what torch calls it
from torch import Tensor

#: (…, inputs) → (…, outputs)
Product = Callable[[Tensor], Tensor]


def product(weight: Tensor, bias: Tensor | None, *, relu: bool = False) -> Product:
    """x·Wᵀ + b for `weight` (outputs, inputs), rectified with `relu`; in the precision and on the device of the weights."""

    def plain(rows: Tensor) -> Tensor:
        made = F.linear(rows, weight, bias)
        return made.relu_() if relu else made

    fp32_on_cpu = weight.device.type == "cpu" and weight.dtype == torch.float32
    return _fastest(plain, weight, bias, relu=relu) if fp32_on_cpu else plain


def _fastest(plain: Product, weight: Tensor, bias: Tensor | None, *, relu: bool) -> Product:
    """The product of oneDNN where this torch has it and it agrees: on processors that MKL is slow on, twice as fast.

    torch itself uses the operator in compiled models, but promises nothing about it: hence the trial.
    """

    def by_onednn(rows: Tensor) -> Tensor:
        made: Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001 - see above
            rows, weight, bias, "relu" if relu else "none", [], ""
        )
        return made

    trial = torch.linspace(-1.0, 1.0, 4 * weight.shape[1]).view(4, -1)
    try:
        with torch.inference_mode():
            agrees = torch.allclose(by_onednn(trial), plain(trial), rtol=1e-4, atol=1e-4)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return plain
    return by_onednn if agrees else plain
