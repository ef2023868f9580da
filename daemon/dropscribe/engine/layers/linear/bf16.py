"""Linear layers with bf16 weights and activations on a CPU that multiplies these faster.

Sums are in float32; a result is rounded to bf16 once, in general before the bias is added.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from dropscribe.engine.layers.linear.product import Product
from dropscribe.engine.layers.linear.product import product as linear

#: Names of the instructions in `CPU_INFO`. Without them oneDNN computes in float32, after conversions.
INSTRUCTIONS = frozenset({"amx_bf16", "avx512_bf16"})
CPU_INFO = Path("/proc/cpuinfo")


@cache
def has_products() -> bool:
    """Whether this processor multiplies bf16, and torch's oneDNN uses it."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return not INSTRUCTIONS.isdisjoint(flags) and torch.backends.mkldnn.is_available()


def product(weight: Tensor, bias: Tensor | None, *, relu: bool = False, feeds: bool = False) -> Product:
    """Linear layer x·Wᵀ + b with optional ReLU. weight: (outputs, inputs) float32 on the CPU.

    `feeds`: only another product takes the result, so it stays in bf16, and the bias is rounded, too.
    """
    if feeds:
        made_in_bf16 = linear(weight.bfloat16(), None if bias is None else bias.bfloat16(), relu=relu)
        return lambda x: made_in_bf16(x.bfloat16())
    multiply = linear(weight.bfloat16(), None)

    def run(x: Tensor) -> Tensor:
        made = multiply(x.bfloat16())
        # The sum of bf16 and float32 is float32.
        made = made.float() if bias is None else torch.add(made, bias)
        return made.relu_() if relu else made

    return run
