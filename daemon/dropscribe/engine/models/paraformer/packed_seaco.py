"""SeACo hotword biasing of a batch on packed rows. Counterpart of `seaco.Bias`.

Attention of tokens to hotwords is independent of the segment: all segments with the same list attend to it as one
sequence, and its keys and values are computed once and stored once for all batches. Only if a list is so long that
each segment selects from it does each segment have its own rows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from dropscribe.engine.layers.best import Best
from dropscribe.engine.layers.packed import HALF, rows_of
from dropscribe.engine.models.paraformer.packed_decoder import Looking, PackedDecoder, PackedOutput
from dropscribe.engine.models.paraformer.seaco import (
    FILTER_LAYER,
    MOST_HEARD,
    BiasEncoder,
    filters,
    most_heard,
    unbiased,
)


@dataclass(frozen=True, slots=True, eq=False)
class PackedHotwords:
    """Keys and values of a list of hotwords, the start token last, for each layer of the bias decoder."""

    sources: tuple[Tensor, ...]  #: (words, 2, heads, width) float16

    @property
    def count(self) -> int:
        """Number of words, including the start token."""
        return self.sources[0].shape[0]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Lengths of paired sequences for cross-attention: queries `asking`, keys `answering` from `sources`."""

    asking: list[int]
    answering: list[int]
    sources: tuple[Tensor, ...]


class PackedBias:
    """Token numbers of the first decoder → token numbers after hotword biasing."""

    def __init__(self, module: Any, device: torch.device, silent: Collection[int]) -> None:
        """`module`: FunASR's `SeacoParaformer` on a CUDA device, in evaluation mode; `silent`: as of `seaco.Bias`."""
        self._device = device
        self._encoder = BiasEncoder(module)
        self._decoder = PackedDecoder(module.seaco_decoder)
        self._output = PackedOutput(module.hotword_output_layer)
        self._unbiased = unbiased(module, silent)
        self._filters = filters(module)

    def encode(self, words: Sequence[Sequence[int]]) -> PackedHotwords:
        """Encode a list of hotwords. words: token numbers, at least one each."""
        return PackedHotwords(tuple(self._decoder.sources(self._encoder(words).to(HALF))))

    def __call__(
        self,
        best: Best,
        embeds: Tensor,
        decoded: Tensor,
        counts: Sequence[int],
        lists: Sequence[PackedHotwords],
    ) -> Best:
        """Tokens after biasing, (tokens,).

        best: of the first decoder, (tokens,); embeds: (tokens, D) float32, acoustic; decoded: (tokens, D) float16, of the
        first decoder; counts: tokens of each segment; lists: hotwords of each segment, equal lists adjacent.
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
        return best.where(torch.isin(biased.ids, self._unbiased), biased)

    def _parts(self, stream: Tensor, counts: Sequence[int], lists: Sequence[PackedHotwords]) -> list[_Part]:
        """One part for each list of the batch."""
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
        """Part for a list that is too long: each segment attends only to the hotwords selected for it."""
        tokens = rows_of(counts, self._device)
        attention = self._decoder.attention(stream, tokens, words.sources, FILTER_LAYER)
        owner = torch.repeat_interleave(tokens.ends.diff().long(), output_size=sum(counts))
        weights = torch.zeros(len(counts), words.count, device=self._device).index_add_(0, owner, attention)
        chosen = most_heard(weights)
        rows = chosen.flatten()
        return _Part(counts, [chosen.shape[1]] * len(counts), tuple(source[rows] for source in words.sources))


def side_by_side(lists: Sequence[Any]) -> list[int]:
    """Order of segments in which those with the same list (object) are adjacent and those without (None) are last."""
    first = {id(words): i for i, words in reversed([*enumerate(lists)])}
    return sorted(range(len(lists)), key=lambda i: (lists[i] is None, first[id(lists[i])], i))


def _joined(sources: Sequence[Tensor]) -> Tensor:
    return sources[0] if len(sources) == 1 else torch.cat([*sources])
