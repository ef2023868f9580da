"""What hotwords change in the tokens of a batch, on packed rows. What `seaco.Bias` is to the padded path.

Tokens look at hotwords without regard to whose tokens they are: all segments that share a list look at it together, and its
keys and values, made once for all batches, stand in memory once. Only where a list is so long that each segment chooses
from it does each get rows of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from dropscribe.engine.layers.packed import HALF, rows_of
from dropscribe.engine.models.paraformer.packed_decoder import Looking, PackedDecoder, PackedOutput
from dropscribe.engine.models.paraformer.seaco import (
    FILTER_LAYER,
    MOST_HEARD,
    BiasEncoder,
    filters,
    most_heard,
)


@dataclass(frozen=True, slots=True, eq=False)
class PackedHotwords:
    """A list of hotwords, the start sign last, as each layer of the bias decoder sees it."""

    sources: tuple[Tensor, ...]  #: (words, 2, heads, width) float16

    @property
    def count(self) -> int:
        """Words, the start sign counted."""
        return self.sources[0].shape[0]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """What some tokens of a batch look at: sequence i of `asking` at sequence i of `answering`."""

    asking: list[int]
    answering: list[int]
    sources: tuple[Tensor, ...]


class PackedBias:
    """Tokens as the first decoder chose them → tokens with the hotwords heard."""

    def __init__(self, module: Any, device: torch.device) -> None:
        """`module`: FunASR's `SeacoParaformer` on a CUDA device, in evaluation mode."""
        self._device = device
        self._encoder = BiasEncoder(module)
        self._decoder = PackedDecoder(module.seaco_decoder)
        self._output = PackedOutput(module.hotword_output_layer)
        self._no_bias = int(module.NO_BIAS)
        self._filters = filters(module)

    def encode(self, words: Sequence[Sequence[int]]) -> PackedHotwords:
        """words: token numbers, at least one each."""
        return PackedHotwords(tuple(self._decoder.sources(self._encoder(words).to(HALF))))

    def __call__(
        self,
        ids: Tensor,
        embeds: Tensor,
        decoded: Tensor,
        counts: Sequence[int],
        lists: Sequence[PackedHotwords],
    ) -> Tensor:
        """ids: (tokens,) int64; embeds: (tokens, D) float32, acoustic; decoded: (tokens, D) float16, of the first decoder;
        counts: tokens of each segment; lists: of each segment, those that share one side by side. Returns ids as they should be.
        """
        tokens = rows_of([*counts], self._device)
        stream = decoded.float()
        parts = self._parts(stream, counts, lists)
        looking = Looking(
            rows_of([n for p in parts for n in p.asking], self._device),
            rows_of([n for p in parts for n in p.answering], self._device),
        )
        sources = [_joined(layer) for layer in zip(*(p.sources for p in parts), strict=True)]
        merged = self._decoder.hidden(embeds, tokens, sources, looking).float()
        merged = merged + self._decoder.hidden(stream, tokens, sources, looking).float()
        biased = self._output(merged.to(HALF))
        return torch.where(biased == self._no_bias, ids, biased)

    def _parts(self, stream: Tensor, counts: Sequence[int], lists: Sequence[PackedHotwords]) -> list[_Part]:
        """One for each list of the batch."""
        parts, at = [], 0
        for _, group in groupby(zip(counts, lists, strict=True), key=lambda one: id(one[1])):
            members = [*group]
            own, words = [n for n, _ in members], members[0][1]
            if self._filters and words.count > MOST_HEARD:
                parts.append(self._chosen(stream[at : at + sum(own)], own, words))
            else:
                parts.append(_Part([sum(own)], [words.count], words.sources))
            at += sum(own)
        return parts

    def _chosen(self, stream: Tensor, counts: list[int], words: PackedHotwords) -> _Part:
        """What each segment goes on with of a list too long."""
        tokens = rows_of(counts, self._device)
        attention = self._decoder.attention(stream, tokens, words.sources, FILTER_LAYER)
        owner = torch.repeat_interleave(tokens.ends.diff().long(), output_size=sum(counts))
        looks = torch.zeros(len(counts), words.count, device=self._device).index_add_(0, owner, attention)
        chosen = most_heard(looks)
        rows = chosen.flatten()
        return _Part(counts, [chosen.shape[1]] * len(counts), tuple(source[rows] for source in words.sources))


def side_by_side(lists: Sequence[Any]) -> list[int]:
    """An order of segments in which those that share a list (the same object) are neighbours, those without (None) last."""
    first = {id(words): i for i, words in reversed([*enumerate(lists)])}
    return sorted(range(len(lists)), key=lambda i: (lists[i] is None, first[id(lists[i])], i))


def _joined(sources: Sequence[Tensor]) -> Tensor:
    return sources[0] if len(sources) == 1 else torch.cat([*sources])
