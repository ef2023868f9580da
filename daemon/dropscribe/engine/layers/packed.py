"""Encoder on packed rows, and parts shared with the decoder: CUDA, float16 products, float32 residual stream.

Computes the same as `sanm.py` (the reference, and the path for fp32 and CPUs), with the kernels of `kernels.py` between
matrix products and with variable-length flash attention, so that a batch of any lengths needs no padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dropscribe.engine.layers import sanm
from dropscribe.engine.layers.kernels import SCALE, add_norm, memory_add_norm

HALF = torch.float16
#: Tensor cores take rows of multiples of this many float16 values; others run on slower kernels.
ALIGNED = 16


@dataclass(frozen=True, slots=True)
class Rows:
    """Packing of a batch: segment b has rows ends[b] … ends[b+1] − 1."""

    ends: Tensor  #: (batch + 1,) int32, cumulative lengths from 0
    first: Tensor  #: (rows,) int32
    last: Tensor  #: (rows,) int32, exclusive
    longest: int

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """First and last + 1 row of each row's segment."""
        return self.first, self.last


def rows_of(lengths: list[int], device: torch.device) -> Rows:
    """Packing of a batch with the given lengths."""
    host = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    ends = host.pin_memory().to(device, non_blocking=True)
    count = int(host[-1])
    counts = ends.diff()
    first = ends[:-1].repeat_interleave(counts, output_size=count)
    last = ends[1:].repeat_interleave(counts, output_size=count)
    return Rows(ends, first, last, max(lengths, default=0))


@dataclass(frozen=True, slots=True)
class Product:
    """A float16 linear layer: transposed weight for `addmm`, and bias."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.weight)

    def relu(self, x: Tensor) -> Tensor:
        """Linear layer and ReLU, fused into one kernel."""
        return torch._addmm_activation(self.bias, x, self.weight)  # noqa: SLF001 - no public function for the fusion


def product(module: Any, scale: float = 1.0) -> Product:
    """Float16 linear layer from a module, multiplied by `scale`."""
    weight = (module.weight.detach().float() * scale).to(HALF).t()
    return Product(weight, (module.bias.detach().float() * scale).to(HALF))


def bare(module: Any, scale: float = 1.0) -> Tensor:
    """Transposed float16 weight of a linear layer, whose bias (if any) is added elsewhere."""
    return (module.weight.detach().float() * scale).to(HALF).t()


def aligned(width: int) -> int:
    """Width of a matrix product with padding."""
    return -(-width // ALIGNED) * ALIGNED


def _wide_product(module: Any, scale: float = 1.0) -> Product:
    """As `product`, with inputs and outputs padded."""
    weight = module.weight.detach().float() * scale
    more_out, more_in = (aligned(size) - size for size in weight.shape)
    bias = F.pad(module.bias.detach().float() * scale, (0, more_out))
    return Product(F.pad(weight, (0, more_in, 0, more_out)).to(HALF).t(), bias.to(HALF))


def norm32(module: Any) -> tuple[Tensor, Tensor]:
    """Weight and bias of a LayerNorm, float32."""
    return module.weight.detach().float(), module.bias.detach().float()


def taps(module: Any) -> tuple[Tensor, int]:
    """Depthwise weights as (kernel, channels) float32, and the number of taps before the current row."""
    weight = module.fsmn_block.weight.detach().float()
    return weight[:, 0, :].t().contiguous(), int(module.pad_fn.padding[0])


def flash(q: Tensor, k: Tensor, v: Tensor, q_rows: Rows, k_rows: Rows) -> Tensor:
    """Attention of sequence i of `q_rows` to sequence i of `k_rows`. q, k, v: (rows, heads, width)."""
    out = torch.ops.aten._flash_attention_forward(  # noqa: SLF001 - variable lengths have no public name in 2.8
        q, k, v, q_rows.ends, k_rows.ends, q_rows.longest, k_rows.longest, 0.0, False, False
    )[0]
    return out.flatten(1)


class _EncoderLayer:
    """A layer. A width that is no multiple of `ALIGNED`, in all or of a head, is padded with zeros.

    Official sizes with padding: 516 channels, 12 heads of 43 (the large CT-Transformer).
    """

    def __init__(self, layer: Any) -> None:
        attention, forward = layer.self_attn, layer.feed_forward
        heads, head = int(attention.h), int(attention.d_k)
        wide_head = aligned(head)
        qkv = attention.linear_q_k_v
        weight = qkv.weight.detach().float().view(3, heads, head, -1).clone()
        bias = qkv.bias.detach().float().view(3, heads, head).clone()
        # V is the input of memory block and attention, whose outputs are added to the residual stream: scaled down.
        # Attention divides Q·K by the root of the padded width.
        for part, factor in ((2, 1 / SCALE), (0, (wide_head / head) ** 0.5)):
            weight[part] *= factor
            bias[part] *= factor
        weight = F.pad(weight, (0, aligned(weight.shape[3]) - weight.shape[3], 0, wide_head - head))
        bias = F.pad(bias, (0, wide_head - head))
        self._qkv = Product(weight.flatten(0, 2).to(HALF).t(), bias.flatten().to(HALF))
        self._heads, self._head = heads, (head, wide_head)
        out = attention.linear_out.weight.detach().float()
        out = F.pad(out.view(-1, heads, head), (0, wide_head - head)).flatten(1)
        self._out = F.pad(out, (0, 0, 0, aligned(len(out)) - len(out))).to(HALF).t()
        self._out_bias = attention.linear_out.bias.detach().float()
        self._taps, self._left = taps(attention)
        self._norm2 = norm32(layer.norm2)
        self._w1 = _wide_product(forward.w_1)
        self._w2 = _wide_product(forward.w_2, 1 / SCALE).weight
        self._w2_bias = forward.w_2.bias.detach().float()
        self._residual = bool(layer.in_size == layer.size)
        # The next layer's first norm has the same epsilon.
        self._epsilon = float(layer.norm2.eps)

    def __call__(
        self, stream: Tensor, normed: Tensor, rows: Rows, following: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Residual stream after this layer, and its normalisation with the next layer's weights (`following`)."""
        qkv = self._qkv(normed)
        heads = qkv.view(qkv.shape[0], 3, self._heads, -1)
        attended = flash(heads[:, 0], heads[:, 1], heads[:, 2], rows, rows) @ self._out
        stream, normed = memory_add_norm(
            heads[:, 2].flatten(1),
            self._taps,
            self._left,
            rows.bounds,
            (attended, self._out_bias),
            stream if self._residual else None,
            self._norm2,
            SCALE,
            self._epsilon,
            self._head,
        )
        product = self._w1.relu(normed) @ self._w2
        return add_norm(product, self._w2_bias, stream, following, SCALE, self._epsilon)


class PackedLayers:
    """A stack of SANM layers and the norm after it."""

    def __init__(self, layers: Sequence[Any], after: Any) -> None:
        """`layers`, `after`: FunASR's encoder layers and a LayerNorm, on a CUDA device, in evaluation mode."""
        self._layers = [_EncoderLayer(layer) for layer in layers]
        self._first_norm = norm32(layers[0].norm1)
        self._epsilon = float(layers[0].norm1.eps)
        norms = [norm32(layer.norm1) for layer in layers[1:]]
        self._norms = [*norms, norm32(after)]

    def __call__(self, stream: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """stream: (rows, F) float32. Returns the stream (rows, D) float32 and its norm, float16, padded."""
        normed = F.layer_norm(stream, (stream.shape[1],), *self._first_norm, self._epsilon).to(HALF)
        normed = F.pad(normed, (0, aligned(normed.shape[1]) - normed.shape[1]))
        for layer, following in zip(self._layers, self._norms, strict=True):
            stream, normed = layer(stream, normed, rows, following)
        return stream, normed


def placed(features: Tensor, scale: float, rows: Rows) -> Tensor:
    """Input of the first layer: features times `scale` plus positional encoding."""
    place = torch.arange(features.shape[0], device=features.device) - rows.first
    table = sanm.positions(rows.longest, features.shape[1], features.device)
    return features * scale + table[place]


class PackedEncoder:
    """Stacked features → hidden states."""

    def __init__(self, module: Any) -> None:
        """`module`: FunASR's `SANMEncoder` on a CUDA device, in evaluation mode."""
        self._scale = float(module.output_size()) ** 0.5
        self._layers = PackedLayers([*module.encoders0, *module.encoders], module.after_norm)

    def __call__(self, features: Tensor, rows: Rows) -> Tensor:
        """features: (rows, F) float32. Returns (rows, D) float16."""
        return self._layers(placed(features, self._scale, rows), rows)[1]
