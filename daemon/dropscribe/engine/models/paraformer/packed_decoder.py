"""Decoder on packed rows: CUDA, float16 products, float32 residual stream. Counterpart of `sanm.SanmDecoder`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dropscribe.engine.layers.best import Best, in_steps
from dropscribe.engine.layers.frame_kernels import best
from dropscribe.engine.layers.kernels import EPSILON, add_norm, memory_add_norm
from dropscribe.engine.layers.packed import HALF, Product, Rows, bare, flash, norm32, product, rows_of, taps
from dropscribe.errors import EngineError


@dataclass(frozen=True, slots=True)
class Looking:
    """Pairing for cross-attention: sequence i of `asking` (queries) attends to sequence i of `answering` (keys)."""

    asking: Rows
    answering: Rows


class _DecoderLayer:
    def __init__(self, layer: Any) -> None:
        own, source, forward = layer.self_attn, layer.src_attn, layer.feed_forward
        self._w1 = product(forward.w_1)
        self._hidden = norm16(forward.norm)
        self._w2 = bare(forward.w_2)
        self._norm2 = norm16(layer.norm2)
        self._taps, self._left = taps(own)
        self._norm3 = norm32(layer.norm3)
        self._q = product(source.linear_q)
        self._kv = product(source.linear_k_v)
        self._out = bare(source.linear_out)
        self._out_bias = source.linear_out.bias.detach().float()
        self._heads = int(source.h)

    def source(self, encoded: Tensor) -> Tensor:
        """Keys and values for this layer's cross-attention: (rows, D) → (rows, 2, heads, width) float16."""
        return self._kv(encoded).view(encoded.shape[0], 2, self._heads, -1)

    def remember(self, stream: Tensor, normed: Tensor, tokens: Rows) -> tuple[Tensor, Tensor]:
        """Feed-forward and memory block: the stream before the cross-attention, and its normalisation."""
        x = _feed_forward(normed, self._w1, self._hidden, self._w2)
        x = F.layer_norm(x, (x.shape[1],), *self._norm2, EPSILON)
        return memory_add_norm(x, self._taps, self._left, tokens.bounds, None, stream, self._norm3, 1.0)

    def query(self, normed: Tensor) -> Tensor:
        """(rows, D) → (rows, heads, width) float16."""
        return self._q(normed).unflatten(1, (self._heads, -1))

    def __call__(
        self,
        stream: Tensor,
        normed: Tensor,
        source: Tensor,
        tokens: Rows,
        looking: Looking,
        following: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        stream, normed = self.remember(stream, normed, tokens)
        attended = flash(self.query(normed), source[:, 0], source[:, 1], looking.asking, looking.answering)
        return add_norm(attended @ self._out, self._out_bias, stream, following, 1.0)


class PackedDecoder:
    """Acoustic embeddings + encoder states → hidden states → token numbers, if there is an output layer."""

    def __init__(self, module: Any) -> None:
        """`module`: FunASR's `ParaformerSANMDecoder` on a CUDA device.

        Raises EngineError for a decoder with layers without attention before its last.
        """
        if module.decoders2:
            raise EngineError(
                "its decoder has layers without attention, which the fp16 path does not know",
                operation="load model",
                remedy="set engine.precision to fp32",
            )
        layers = list(module.decoders)
        final = module.decoders3[0]
        self._layers = [_DecoderLayer(layer) for layer in layers]
        self._first_norm = norm32(layers[0].norm1)
        norms = [norm32(layer.norm1) for layer in layers[1:]]
        self._norms = [*norms, norm32(final.norm1)]
        self._w1 = product(final.feed_forward.w_1)
        self._hidden = norm16(final.feed_forward.norm)
        self._w2 = bare(final.feed_forward.w_2)
        self._after = norm16(module.after_norm)
        self._output = None if module.output_layer is None else PackedOutput(module.output_layer)

    def sources(self, encoded: Tensor) -> Iterator[Tensor]:
        """Keys and values of each layer, lazily: (rows, D) float16 → (rows, 2, heads, width)."""
        return (layer.source(encoded) for layer in self._layers)

    def hidden(self, embeds: Tensor, tokens: Rows, sources: Iterable[Tensor], looking: Looking) -> Tensor:
        """Hidden states (tokens, D) float16. embeds: (tokens, D) float32, packed; sources: from `sources`."""
        stream, normed = embeds, self._first(embeds)
        for layer, source, following in zip(self._layers, sources, self._norms, strict=True):
            stream, normed = layer(stream, normed, source, tokens, looking, following)
        x = _feed_forward(normed, self._w1, self._hidden, self._w2)
        return F.layer_norm(x, (x.shape[1],), *self._after, EPSILON)

    def attention(self, embeds: Tensor, tokens: Rows, sources: Sequence[Tensor], layer: int) -> Tensor:
        """Cross-attention weights of each token in a layer (counted from 0), summed over heads: (tokens, rows) float32.

        embeds: (tokens, D) float32; sources: of one sequence, to which all tokens attend.
        """
        device = embeds.device
        looking = Looking(rows_of([embeds.shape[0]], device), rows_of([sources[0].shape[0]], device))
        stream, normed = embeds, self._first(embeds)
        for number in range(layer):
            stream, normed = self._layers[number](
                stream, normed, sources[number], tokens, looking, self._norms[number]
            )
        _, normed = self._layers[layer].remember(stream, normed, tokens)
        q, k = self._layers[layer].query(normed), sources[layer][:, 0]
        weights = torch.zeros(q.shape[0], k.shape[0], device=q.device)
        # One head at a time: all heads of a long list and a large batch would take gigabytes.
        for head in range(q.shape[1]):
            scores = torch.mm(q[:, head], k[:, head].t(), out_dtype=torch.float32)
            weights += (scores / q.shape[2] ** 0.5).softmax(dim=1)
        return weights

    def tokens(self, hidden: Tensor) -> Best:
        """(tokens, D) float16 → tokens (tokens,)."""
        if self._output is None:
            raise TypeError("a decoder without output layer was asked for tokens")
        return self._output(hidden)

    def _first(self, embeds: Tensor) -> Tensor:
        return F.layer_norm(embeds, (embeds.shape[1],), *self._first_norm, EPSILON).to(HALF)


class PackedOutput:
    """Hidden states → token with the best score."""

    def __init__(self, module: Any) -> None:
        """`module`: a Linear on a CUDA device."""
        self._weight = bare(module)
        self._bias = module.bias.detach().float()

    def __call__(self, hidden: Tensor) -> Best:
        """(tokens, D) float16 → (tokens,)."""
        # Scores in float32, so that candidates a thousandth apart are ranked as in fp32.
        scores = torch.mm(hidden, self._weight, out_dtype=torch.float32)
        ids, share = best(scores, self._bias)
        return Best(ids, in_steps(share))


def norm16(module: Any) -> tuple[Tensor, Tensor]:
    """Weights of a LayerNorm with float16 input and output."""
    return module.weight.detach().to(HALF), module.bias.detach().to(HALF)


def _feed_forward(x: Tensor, w1: Product, hidden: tuple[Tensor, Tensor], w2: Tensor) -> Tensor:
    h = w1.relu(x)
    return F.layer_norm(h, (h.shape[1],), *hidden, EPSILON) @ w2
