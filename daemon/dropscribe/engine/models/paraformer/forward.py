"""Padded forward pass in float32: audio to token numbers and fires, one call per batch, all on the device.

Runs on any device, with the same result for each segment as alone: the reference for the faster paths, and the path for
CPUs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dropscribe.engine.layers.best import Best, best_of
from dropscribe.engine.layers.fbank import Frontend, Sound
from dropscribe.engine.layers.linear.product import Factors
from dropscribe.engine.layers.sanm import SanmDecoder, SanmEncoder
from dropscribe.engine.layers.sequences import Padded
from dropscribe.engine.models.paraformer.cif import Predictor, Timestamps
from dropscribe.engine.models.paraformer.seaco import Bias, BiasEncoder, has_bias

#: Number of special tokens, which come first: blank, start and end of the sentence.
SILENT_IDS = 3


@dataclass(frozen=True, slots=True)
class DecodedSegment:
    """Model output for one segment."""

    ids: list[int]  #: token numbers without special tokens
    #: Upsampled frames at which tokens start, and the one at which the last ends; None without a timestamp branch.
    fires: NDArray[np.integer[Any]] | None
    frames: int  #: upsampled frames of the segment
    confidence: bytes  #: probability of each token, in 255ths


class PaddedForward:
    """Segments padded to the longest of the batch. Owned by the worker's thread."""

    def __init__(
        self,
        module: Any,
        frontend: Any,
        device: torch.device,
        silent: Collection[int] = range(SILENT_IDS),
        *,
        factors: Factors = "fp32",
    ) -> None:
        """`module`: FunASR's (BiCif, Seaco) Paraformer in evaluation mode; `frontend`: its WavFrontend.

        `silent`: numbers of tokens without text, which no hotword puts in place of a word; `factors`: those of the
        products of encoder and decoder, on the CPU. Number and times of tokens, scores and hotwords stay in float32.
        """
        self._device = device
        cmvn = torch.as_tensor(np.asarray(frontend.cmvn))
        self._frontend = Frontend(cmvn, stack=frontend.lfr_m, skip=frontend.lfr_n, device=device)
        self._encoder = SanmEncoder(module.encoder, torch.float32, factors=factors)
        self._predictor = Predictor(module.predictor, torch.float32)
        self._decoder = SanmDecoder(module.decoder, torch.float32, factors=factors)
        has_times = hasattr(module.predictor, "get_upsample_timestamp")
        self._times = Timestamps(module.predictor, torch.float32) if has_times else None
        self._bias_encoder = BiasEncoder(module) if has_bias(module) else None
        self._bias = Bias(module, silent) if has_bias(module) else None

    def encode_hotwords(self, words: Sequence[Sequence[int]]) -> Tensor | None:
        """Encode hotwords, given as token numbers, for a call; None for a model without hotword support."""
        return None if self._bias_encoder is None else self._bias_encoder(words)

    def __call__(
        self, sounds: Sequence[Sound], hotwords: Sequence[Tensor | None] = ()
    ) -> list[DecodedSegment]:
        """Recognise a batch; one `DecodedSegment` per segment, in order.

        sounds: 16 kHz mono, at least 400 samples (one frame) each. hotwords: results of `encode_hotwords`, one per
        segment, or empty; segments with the same list must have the same tensor.
        """
        features = self._frontend(sounds)
        rows = torch.tensor(features.rows, device=self._device)
        keep = torch.arange(max(features.rows), device=self._device)[None] < rows[:, None]
        x = torch.zeros(*keep.shape, features.packed.shape[1], device=self._device)
        x[keep] = features.packed
        layout = Padded(keep)
        encoded = self._encoder(x, layout)
        alpha, hidden = self._predictor.weights(encoded, keep)
        most = int(alpha.sum(dim=1).max())
        if most < 1:
            return [DecodedSegment([], None, 0, b"") for _ in sounds]
        embeds, counts = self._predictor.embed(encoded, keep, alpha, most)
        tokens = torch.arange(most, device=self._device)[None] < counts[:, None]
        decoded = self._decoder.hidden(embeds, Padded(tokens), encoded, layout)
        best = best_of(self._decoder.scores(decoded))
        for words in {id(w): w for w in hotwords if w is not None}.values():
            own = [i for i, w in enumerate(hotwords) if w is words]
            biased = self._biased(best.rows(own), embeds[own], decoded[own], tokens[own], words)
            best.ids[own], best.sure[own] = biased.ids, biased.sure
        ids = best.ids
        said = tokens & (ids >= SILENT_IDS)
        fires = self._fires(encoded, hidden, keep, counts, said)
        times = 1 if self._times is None else self._times.times
        return _collect(best, said, fires, features.rows, times)

    def _biased(self, best: Best, embeds: Tensor, decoded: Tensor, tokens: Tensor, words: Tensor) -> Best:
        return best if self._bias is None else self._bias(best, embeds, decoded, tokens, words)

    def _fires(
        self, encoded: Tensor, hidden: Tensor, keep: Tensor, counts: Tensor, said: Tensor
    ) -> Tensor | None:
        if self._times is None:
            return None
        alpha = self._times.weights(encoded, hidden, keep)
        return self._times.fires(alpha, counts, said.sum(dim=1), said.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class DecodedBatch:
    """Model output for the segments of a batch, one after another."""

    ids: NDArray[np.integer[Any]]  #: token numbers without special tokens, (tokens,)
    bounds: list[int]  #: number of the first token of each segment, and at last the number of all
    confidence: bytes  #: probability of each token, in 255ths
    #: `DecodedSegment.fires` of all segments, and the place of the first one of each; None without a timestamp branch.
    fires: tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]] | None
    frames: list[int]  #: upsampled frames of each segment
    order: Sequence[int]  #: number of each segment in the call

    @classmethod
    def of(cls, segments: Sequence[DecodedSegment]) -> DecodedBatch:
        """Join segments in the order of the call."""
        counts = [len(one.ids) for one in segments]
        fires = [one.fires for one in segments if one.fires is not None]
        firsts = np.cumsum([0, *(n + 1 for n in counts)])[:-1]
        return cls(
            np.array([number for one in segments for number in one.ids], np.int64),
            [0, *np.cumsum(counts, dtype=np.int64).tolist()],
            b"".join([one.confidence for one in segments]),
            (np.concatenate(fires), firsts) if fires else None,
            [one.frames for one in segments],
            range(len(segments)),
        )

    def segments(self) -> list[DecodedSegment]:
        """Output for each segment, in the order of the call."""
        made: list[DecodedSegment | None] = [None] * len(self.order)
        for i, (at, (a, b), frames) in enumerate(
            zip(self.order, pairwise(self.bounds), self.frames, strict=True)
        ):
            fires = None
            if self.fires is not None:
                fires = self.fires[0][self.fires[1][i] :][: b - a + 1]
            made[at] = DecodedSegment(self.ids[a:b].tolist(), fires, frames, self.confidence[a:b])
        return [one for one in made if one is not None]


def decoded_of(
    ids: NDArray[np.integer[Any]],
    sure: NDArray[np.uint8],
    counts: Sequence[int],
    fires: NDArray[np.integer[Any]] | None,
    frames: list[int],
    order: Sequence[int],
) -> DecodedBatch:
    """Output for a batch without its special tokens; vectorised over the batch.

    ids, sure: (tokens,) of all segments, one after another; counts: number of tokens of each segment; fires: (segments, any)
    of the other tokens; frames, order: as of `DecodedBatch`.
    """
    said = ids >= SILENT_IDS
    before = np.concatenate(([0], np.cumsum(said)))
    bounds = before[np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))].tolist()
    placed = None if fires is None else (fires.ravel(), np.arange(len(counts)) * fires.shape[1])
    return DecodedBatch(ids[said], bounds, sure[said].tobytes(), placed, frames, order)


def _collect(
    best: Best, said: Tensor, fires: Tensor | None, rows: list[int], times: int
) -> list[DecodedSegment]:
    """Copy the result of a batch to the host and split it by segment."""
    host_ids, host_said, host_sure = best.ids.cpu().numpy(), said.cpu().numpy(), best.sure.cpu().numpy()
    host_fires = None if fires is None else fires.cpu().numpy()
    decoded = []
    for b, n in enumerate(rows):
        own = host_ids[b][host_said[b]].tolist()
        starts = None if host_fires is None else host_fires[b][: len(own) + 1]
        decoded.append(DecodedSegment(own, starts, n * times, host_sure[b][host_said[b]].tobytes()))
    return decoded
