"""The encoder and the decoder on packed rows: CUDA, float16 products, float32 residual stream, no padding at all.

Computes what `sanm.py` computes (which is the oracle, and what runs in fp32 and on a CPU), with `kernels.py` between the matrix
products and variable-length flash attention, so that a batch may mix segments of any lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from daemon.engine.paraformer import sanm
from daemon.engine.paraformer.kernels import EPSILON, SCALE, add_norm, memory_add_norm

HALF = torch.float16


@dataclass(frozen=True, slots=True)
class Rows:
    """How a batch is packed: recording b owns rows ends[b] … ends[b+1] − 1."""

    ends: Tensor  #: (batch + 1,) int32, cumulative lengths from 0
    first: Tensor  #: (rows,) int32
    last: Tensor  #: (rows,) int32, exclusive
    longest: int

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        return self.first, self.last


def rows_of(lengths: list[int], device: torch.device) -> Rows:
    """Packing of a batch whose lengths the host knows."""
    host = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    ends = host.pin_memory().to(device, non_blocking=True)
    count = int(host[-1])
    counts = ends.diff()
    first = ends[:-1].repeat_interleave(counts, output_size=count)
    last = ends[1:].repeat_interleave(counts, output_size=count)
    return Rows(ends, first, last, max(lengths, default=0))


@dataclass(frozen=True, slots=True)
class _Product:
    """A matrix, transposed for `addmm`, and its bias."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.weight)

    def relu(self, x: Tensor) -> Tensor:
        """The rectifier rides in the product's epilogue."""
        return torch._addmm_activation(self.bias, x, self.weight)  # noqa: SLF001 - the fused epilogue has no other name


def _product(module: Any, scale: float = 1.0) -> _Product:
    weight = (module.weight.detach().float() * scale).to(HALF).t()
    return _Product(weight, (module.bias.detach().float() * scale).to(HALF))


def _bare(module: Any, scale: float = 1.0) -> Tensor:
    """A matrix whose bias is added elsewhere (or that has none)."""
    return (module.weight.detach().float() * scale).to(HALF).t()


def _norm32(module: Any) -> tuple[Tensor, Tensor]:
    return module.weight.detach().float(), module.bias.detach().float()


def _taps(module: Any) -> tuple[Tensor, int]:
    """Depthwise weights as (kernel, channels) float32, and how far they look back."""
    weight = module.fsmn_block.weight.detach().float()
    return weight[:, 0, :].t().contiguous(), int(module.pad_fn.padding[0])


def _flash(q: Tensor, k: Tensor, v: Tensor, q_rows: Rows, k_rows: Rows) -> Tensor:
    """Attention of each recording to itself (or to its own frames). q, k, v: (rows, heads, width)."""
    out = torch.ops.aten._flash_attention_forward(  # noqa: SLF001 - variable lengths have no public name in 2.8
        q, k, v, q_rows.ends, k_rows.ends, q_rows.longest, k_rows.longest, 0.0, False, False
    )[0]
    return out.flatten(1)


class _EncoderLayer:
    def __init__(self, layer: Any) -> None:
        attention, forward = layer.self_attn, layer.feed_forward
        width = attention.h * attention.d_k
        # V feeds both the memory block and attention, whose outputs go to the residual stream: scaled down.
        qkv = attention.linear_q_k_v
        weight = qkv.weight.detach().float().clone()
        bias = qkv.bias.detach().float().clone()
        weight[2 * width :] /= SCALE
        bias[2 * width :] /= SCALE
        self._qkv = _Product(weight.to(HALF).t(), bias.to(HALF))
        self._heads, self._width = int(attention.h), width
        self._out = _bare(attention.linear_out)
        self._out_bias = attention.linear_out.bias.detach().float()
        self._taps, self._left = _taps(attention)
        self._norm2 = _norm32(layer.norm2)
        self._w1 = _product(forward.w_1)
        self._w2 = _bare(forward.w_2, 1 / SCALE)
        self._w2_bias = forward.w_2.bias.detach().float()
        self._residual = bool(layer.in_size == layer.size)
        # The next layer's first norm is of the same make.
        self._epsilon = float(layer.norm2.eps)

    def __call__(
        self, stream: Tensor, normed: Tensor, rows: Rows, following: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The stream and its norm (by the next layer's weights) after this layer."""
        qkv = self._qkv(normed)
        heads = qkv.view(qkv.shape[0], 3, self._heads, -1)
        attended = _flash(heads[:, 0], heads[:, 1], heads[:, 2], rows, rows) @ self._out
        stream, normed = memory_add_norm(
            qkv[:, 2 * self._width :],
            self._taps,
            self._left,
            rows.bounds,
            (attended, self._out_bias),
            stream if self._residual else None,
            self._norm2,
            SCALE,
            self._epsilon,
        )
        product = self._w1.relu(normed) @ self._w2
        return add_norm(product, self._w2_bias, stream, following, SCALE, self._epsilon)


class PackedLayers:
    """SANM layers, one after the other, and the norm after them."""

    def __init__(self, layers: Sequence[Any], after: Any) -> None:
        """`layers`, `after`: FunASR's encoder layers and a LayerNorm, on a CUDA device, in evaluation mode."""
        self._layers = [_EncoderLayer(layer) for layer in layers]
        self._first_norm = _norm32(layers[0].norm1)
        self._epsilon = float(layers[0].norm1.eps)
        norms = [_norm32(layer.norm1) for layer in layers[1:]]
        self._norms = [*norms, _norm32(after)]

    def __call__(self, stream: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """stream: (rows, F) float32. Returns the stream (rows, D) float32 and its norm, float16."""
        normed = F.layer_norm(stream, (stream.shape[1],), *self._first_norm, self._epsilon).to(HALF)
        for layer, following in zip(self._layers, self._norms, strict=True):
            stream, normed = layer(stream, normed, rows, following)
        return stream, normed


def placed(features: Tensor, scale: float, rows: Rows) -> Tensor:
    """Features times `scale`, with their positions added: the stream that enters the first layer."""
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


class _DecoderLayer:
    def __init__(self, layer: Any) -> None:
        own, source, forward = layer.self_attn, layer.src_attn, layer.feed_forward
        self._w1 = _product(forward.w_1)
        self._hidden = norm16(forward.norm)
        self._w2 = _bare(forward.w_2)
        self._norm2 = norm16(layer.norm2)
        self._taps, self._left = _taps(own)
        self._norm3 = _norm32(layer.norm3)
        self._q = _product(source.linear_q)
        self._kv = _product(source.linear_k_v)
        self._out = _bare(source.linear_out)
        self._out_bias = source.linear_out.bias.detach().float()
        self._heads = int(source.h)

    def __call__(
        self,
        stream: Tensor,
        normed: Tensor,
        encoded: Tensor,
        tokens: Rows,
        frames: Rows,
        following: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        x = _feed_forward(normed, self._w1, self._hidden, self._w2)
        x = F.layer_norm(x, (x.shape[1],), *self._norm2, EPSILON)
        stream, normed = memory_add_norm(
            x, self._taps, self._left, tokens.bounds, None, stream, self._norm3, 1.0
        )
        q = self._q(normed).unflatten(1, (self._heads, -1))
        kv = self._kv(encoded).view(encoded.shape[0], 2, self._heads, -1)
        attended = _flash(q, kv[:, 0], kv[:, 1], tokens, frames)
        return add_norm(attended @ self._out, self._out_bias, stream, following, 1.0)


class PackedDecoder:
    """Acoustic embeddings + hidden states → token numbers."""

    def __init__(self, module: Any) -> None:
        """`module`: FunASR's `ParaformerSANMDecoder` on a CUDA device, without `decoders2`."""
        layers = list(module.decoders)
        final = module.decoders3[0]
        self._layers = [_DecoderLayer(layer) for layer in layers]
        self._first_norm = _norm32(layers[0].norm1)
        norms = [_norm32(layer.norm1) for layer in layers[1:]]
        self._norms = [*norms, _norm32(final.norm1)]
        self._w1 = _product(final.feed_forward.w_1)
        self._hidden = norm16(final.feed_forward.norm)
        self._w2 = _bare(final.feed_forward.w_2)
        self._after = norm16(module.after_norm)
        self._output = _bare(module.output_layer)
        self._output_bias = module.output_layer.bias.detach().float()

    def __call__(self, embeds: Tensor, encoded: Tensor, tokens: Rows, frames: Rows) -> Tensor:
        """embeds: (tokens, D) float32, packed; encoded: (frames, D) float16. Returns token numbers (tokens,) int64."""
        stream = embeds
        normed = F.layer_norm(stream, (stream.shape[1],), *self._first_norm, EPSILON).to(HALF)
        for layer, following in zip(self._layers, self._norms, strict=True):
            stream, normed = layer(stream, normed, encoded, tokens, frames, following)
        x = _feed_forward(normed, self._w1, self._hidden, self._w2)
        x = F.layer_norm(x, (x.shape[1],), *self._after, EPSILON)
        # float32 scores: two candidates a thousandth apart are told apart, as they are in fp32.
        scores = torch.mm(x, self._output, out_dtype=torch.float32)
        return (scores + self._output_bias).argmax(dim=-1)


def norm16(module: Any) -> tuple[Tensor, Tensor]:
    """Weights of a LayerNorm that reads and writes float16."""
    return module.weight.detach().to(HALF), module.bias.detach().to(HALF)


def _feed_forward(x: Tensor, w1: _Product, hidden: tuple[Tensor, Tensor], w2: Tensor) -> Tensor:
    h = w1.relu(x)
    return F.layer_norm(h, (h.shape[1],), *hidden, EPSILON) @ w2
