"""SANM encoder and Paraformer decoder with FunASR's weights: self-attention with a depthwise memory block.

Gao, Zhang, Lei, McLoughlin, "SAN-M: Memory Equipped Self-Attention for End-to-End Speech Recognition" (2020) and Gao
et al., "Paraformer" (2022). For each segment of a batch the layers compute the same as FunASR's modules do for that
segment alone: padding never affects positions inside a segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dropscribe.engine.layers.linear import bf16, int8
from dropscribe.engine.layers.linear.product import Factors, Product, product
from dropscribe.engine.layers.sequences import Layout, Padded, split

#: First layers of an encoder that stay in float32 whatever the factors of the others: errors made there grow through
#: all others (bundled model, int8: 1.8 instead of 3.0 of 100 tokens differ from float32, `benchmarks/cpu_tokens.py`).
FIRST_IN_FP32 = 2


@dataclass(frozen=True, slots=True)
class Norm:
    """Layer normalisation."""

    weight: Tensor
    bias: Tensor
    epsilon: float  #: 1e-12 in Paraformer, 1e-5 in SenseVoice

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, (x.shape[-1],), self.weight, self.bias, self.epsilon)


@dataclass(frozen=True, slots=True)
class Memory:
    """Depthwise memory block: x + conv(x) over time, with zeros beyond the ends of a segment."""

    taps: Tensor  #: (channels, 1, kernel), with 1 added to that of the current position for "x +"
    left: int  #: taps before the current position

    @property
    def reach(self) -> int:
        """Positions that the result of a position depends on, to the farther side."""
        return max(self.left, self.taps.shape[-1] - 1 - self.left)

    def __call__(self, x: Tensor, layout: Layout) -> Tensor:
        """x: (…, channels), as `layout` says."""
        return layout.remember(x, self.taps, self.left)


@dataclass(frozen=True, slots=True)
class EncoderLayer:
    """One SANM layer; the first changes the width and has no residual around its attention."""

    norm1: Norm
    qkv: Product
    out: Product
    memory: Memory
    norm2: Norm
    w1: Product  #: with ReLU
    w2: Product
    heads: int
    residual: bool

    def __call__(self, x: Tensor, layout: Layout) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        attended = self.out(layout.attend(q, k, v, layout, self.heads)).add_(self.memory(v, layout))
        x = attended.add_(x) if self.residual else attended
        return self.w2(self.w1(self.norm2(x))).add_(x)


@dataclass(frozen=True, slots=True)
class DecoderLayer:
    """Feed-forward, memory block, cross-attention; the last layer is feed-forward only."""

    norm1: Norm
    w1: Product  #: with ReLU
    hidden_norm: Norm
    w2: Product
    norm2: Norm | None
    memory: Memory | None
    norm3: Norm | None
    q: Product | None
    kv: Product | None
    out: Product | None
    heads: int

    def __call__(self, x: Tensor, tokens: Layout, encoded: Tensor, frames: Layout) -> Tensor:
        x = self._before_attention(x, tokens)
        if self.norm3 is not None and self.q is not None and self.kv is not None and self.out is not None:
            k, v = self.kv(encoded).chunk(2, dim=-1)
            x = self.out(tokens.attend(self.q(self.norm3(x)), k, v, frames, self.heads)).add_(x)
        return x

    def attention(self, x: Tensor, tokens: Padded, encoded: Tensor) -> Tensor:
        """Cross-attention weights, summed over heads: (B, N, T). Raises TypeError for a layer without attention."""
        if self.norm3 is None or self.q is None or self.kv is None:
            raise TypeError("a layer without attention was asked for it")
        q = self.q(self.norm3(self._before_attention(x, tokens)))
        k, _ = self.kv(encoded).chunk(2, dim=-1)
        scores = (
            split(q, self.heads) @ split(k, self.heads).transpose(2, 3) / (q.shape[-1] // self.heads) ** 0.5
        )
        return scores.softmax(dim=-1).sum(dim=1)

    def _before_attention(self, x: Tensor, tokens: Layout) -> Tensor:
        """Feed-forward and memory block."""
        fed = self.w2(self.hidden_norm(self.w1(self.norm1(x))))
        if self.norm2 is None or self.memory is None:
            return fed
        return self.memory(self.norm2(fed), tokens).add_(x)


def positions(longest: int, width: int, device: torch.device) -> Tensor:
    """Sinusoidal encoding of positions 1 … longest, (longest, width) float32; float16 would err by 0.3 to 2."""
    # Made on the device: a copy from the host cannot be recorded in a CUDA graph.
    step = torch.log(torch.full((), 10_000.0, device=device)) / (width / 2 - 1)
    scales = torch.exp(torch.arange(width // 2, device=device, dtype=torch.float32) * -step)
    angles = torch.arange(1, longest + 1, device=device, dtype=torch.float32)[:, None] * scales
    return torch.cat((angles.sin(), angles.cos()), dim=1)


class SanmEncoder:
    """Stacked features → hidden states."""

    def __init__(self, module: Any, dtype: torch.dtype, *, factors: Factors = "fp32") -> None:
        """`module`: FunASR's `SANMEncoder`, in evaluation mode.

        `factors`: those of its products, except in the first layers.
        """
        self.dtype = dtype
        self._scale = float(module.output_size()) ** 0.5
        layers = [*module.encoders0, *module.encoders]
        self._layers = [
            encoder_layer(layer, dtype, factors=factors if i >= FIRST_IN_FP32 else "fp32")
            for i, layer in enumerate(layers)
        ]
        self._after = norm(module.after_norm, dtype)

    @property
    def reach(self) -> int:
        """Positions that a memory block reaches to either side."""
        return max(layer.memory.reach for layer in self._layers)

    def __call__(self, features: Tensor, layout: Layout) -> Tensor:
        """features: (…, F) float32, as `layout` says. Returns (…, D) in the precision of the weights."""
        table = positions(layout.longest, features.shape[-1], features.device)
        x = layout.positioned(features * self._scale, table).to(self.dtype)
        for layer in self._layers:
            x = layer(x, layout)
        return self._after(x)


class SanmDecoder:
    """Acoustic embeddings + encoder states → hidden states → token scores, if there is an output layer."""

    def __init__(self, module: Any, dtype: torch.dtype, *, factors: Factors = "fp32") -> None:
        """`module`: FunASR's `ParaformerSANMDecoder`, in evaluation mode.

        `factors`: those of its products, except in the output layer.
        """
        layers = [*module.decoders, *(module.decoders2 or ()), *module.decoders3]
        self._layers = [_decoder_layer(layer, dtype, factors=factors) for layer in layers]
        self._after = norm(module.after_norm, dtype)
        self._output = None if module.output_layer is None else affine(module.output_layer, dtype)

    @property
    def reach(self) -> int:
        """Positions that a memory block reaches to either side."""
        return max((layer.memory.reach for layer in self._layers if layer.memory is not None), default=0)

    def hidden(self, embeds: Tensor, tokens: Layout, encoded: Tensor, frames: Layout) -> Tensor:
        """embeds: (…, D), as `tokens` says; encoded: (…, D), as `frames` says. Returns (…, D), as `tokens` says."""
        x = embeds
        for layer in self._layers:
            x = layer(x, tokens, encoded, frames)
        return self._after(x)

    def scores(self, hidden: Tensor) -> Tensor:
        """(…, D) → (…, vocabulary)."""
        if self._output is None:
            raise TypeError("a decoder without output layer was asked for scores")
        return self._output(hidden)

    def attention(self, embeds: Tensor, tokens: Padded, encoded: Tensor, layer: int) -> Tensor:
        """Cross-attention weights of each token in a layer (counted from 0): (B, N, T). encoded: (1, T, D)."""
        everything = Padded(encoded.new_ones(1, encoded.shape[1], dtype=torch.bool))
        x = embeds
        for before in self._layers[:layer]:
            x = before(x, tokens, encoded, everything)
        return self._layers[layer].attention(x, tokens, encoded)


def norm(module: Any, dtype: torch.dtype) -> Norm:
    """Weights of a LayerNorm."""
    return Norm(module.weight.detach().to(dtype), module.bias.detach().to(dtype), float(module.eps))


def affine(
    module: Any,
    dtype: torch.dtype,
    *,
    relu: bool = False,
    factors: Factors = "fp32",
    positive: bool = False,
    feeds: bool = False,
) -> Product:
    """Linear layer from a module, optionally with ReLU after it.

    `factors`: other than fp32 only on the CPU; `positive`: its inputs are the result of a ReLU; `feeds`: only
    another product takes its result.
    """
    bias = None if module.bias is None else module.bias.detach().to(dtype)
    weight = module.weight.detach().to(dtype)
    if factors == "int8":
        return int8.product(weight, bias, relu=relu, positive=positive)
    if factors == "bf16":
        return bf16.product(weight, bias, relu=relu, feeds=feeds)
    return product(weight, bias, relu=relu)


def _memory(module: Any, dtype: torch.dtype) -> Memory:
    left = int(module.pad_fn.padding[0])
    taps = module.fsmn_block.weight.detach().float().clone()
    taps[:, :, left] += 1.0
    return Memory(taps.to(dtype), left)


def encoder_layer(layer: Any, dtype: torch.dtype, *, factors: Factors = "fp32") -> EncoderLayer:
    """SANM layer with the weights of a FunASR module."""
    attention = layer.self_attn
    affine_of = partial(affine, dtype=dtype, factors=factors)
    return EncoderLayer(
        norm(layer.norm1, dtype),
        affine_of(attention.linear_q_k_v),
        affine_of(attention.linear_out),
        _memory(attention, dtype),
        norm(layer.norm2, dtype),
        affine_of(layer.feed_forward.w_1, relu=True, feeds=True),
        affine_of(layer.feed_forward.w_2, positive=True),
        int(attention.h),
        bool(layer.in_size == layer.size),
    )


def _decoder_layer(layer: Any, dtype: torch.dtype, *, factors: Factors) -> DecoderLayer:
    own, source = layer.self_attn, layer.src_attn
    affine_of = partial(affine, dtype=dtype, factors=factors)
    return DecoderLayer(
        norm(layer.norm1, dtype),
        affine_of(layer.feed_forward.w_1, relu=True),
        norm(layer.feed_forward.norm, dtype),
        affine_of(layer.feed_forward.w_2),
        None if own is None else norm(layer.norm2, dtype),
        None if own is None else _memory(own, dtype),
        None if source is None else norm(layer.norm3, dtype),
        None if source is None else affine_of(source.linear_q),
        None if source is None else affine_of(source.linear_k_v),
        None if source is None else affine_of(source.linear_out),
        1 if source is None else int(source.h),
    )
