"""Packed forward pass on CUDA: audio to runs of tokens, in two steps so that the device never waits for the host.

`begin` launches everything, including the copy of the result; `collect` waits for it and reads it. The layers are those
of `dropscribe.engine.layers.packed`: float16 products, float32 residual stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dropscribe.engine.layers.fbank import Features, Frontend, Sound
from dropscribe.engine.layers.packed import HALF, PackedLayers, Rows, placed, rows_of
from dropscribe.engine.layers.transfer import to_host
from dropscribe.engine.models.sense_voice.collapse import DecodedSegment, collapse, runs
from dropscribe.engine.models.sense_voice.encoder import CHUNK_ROWS, QUERIES

#: Multiple to which the number of tokens (25,055) is padded, for aligned rows of weights and scores.
ALIGNED = 64


class PackedSenseVoiceEncoder:
    """Queries and stacked features → hidden states."""

    def __init__(self, module: Any) -> None:
        """`module`: FunASR's `SenseVoiceEncoderSmall` on a CUDA device, in evaluation mode."""
        self._scale = float(module.output_size()) ** 0.5
        self._first = PackedLayers([*module.encoders0, *module.encoders], module.after_norm)
        between = module.after_norm
        self._between = between.weight.detach().float(), between.bias.detach().float(), float(between.eps)
        last = list(module.tp_encoders)
        self._second = PackedLayers(last, module.tp_norm) if last else None
        self._after = module.tp_norm.weight.detach().float(), module.tp_norm.bias.detach().float()
        self._after_epsilon = float(module.tp_norm.eps)

    def __call__(self, features: Tensor, rows: Rows) -> Tensor:
        """features: (rows, F) float32. Returns (rows, D) float16."""
        stream, _ = self._first(placed(features, self._scale, rows), rows)
        # This norm is the start of the second stack's residual stream, so it is computed in float32.
        stream = F.layer_norm(stream, (stream.shape[1],), *self._between)
        if self._second is not None:
            return self._second(stream, rows)[1]
        return F.layer_norm(stream, (stream.shape[1],), *self._after, self._after_epsilon).to(HALF)


class PackedHead:
    """Hidden states → best token of each frame."""

    def __init__(self, module: Any) -> None:
        """`module`: FunASR's `CTC` on a CUDA device, in evaluation mode."""
        output = module.ctc_lo
        more = -output.out_features % ALIGNED
        self._weight = F.pad(output.weight.detach().float(), (0, 0, 0, more)).to(HALF).t()
        self._bias = F.pad(output.bias.detach().float(), (0, more), value=float("-inf"))

    def __call__(self, hidden: Tensor) -> Tensor:
        """hidden: (rows, D) float16. Returns (rows,) int64."""
        # Scores in float32, so that candidates a thousandth apart are ranked as in fp32.
        scores = (torch.mm(part, self._weight, out_dtype=torch.float32) for part in hidden.split(CHUNK_ROWS))
        return torch.cat([part.add_(self._bias).argmax(dim=-1) for part in scores])


@dataclass(frozen=True, slots=True)
class Launched:
    """A batch whose result is being copied to the host."""

    lengths: list[int]
    collapsed: Tensor  #: int32, pinned on the host, once `done`
    done: torch.cuda.Event


class PackedForward:
    """Segments packed without padding. Owned by the worker's thread."""

    def __init__(self, module: Any, frontend: Any, device: torch.device) -> None:
        """`module`: FunASR's SenseVoiceSmall on `device`, in evaluation mode."""
        self._device = device
        cmvn = torch.as_tensor(np.asarray(frontend.cmvn))
        self._frontend = Frontend(cmvn, stack=frontend.lfr_m, skip=frontend.lfr_n, device=device)
        self._encoder = PackedSenseVoiceEncoder(module.encoder)
        self._head = PackedHead(module.ctc)
        self._blank = int(module.blank_id)

    def begin(self, sounds: Sequence[Sound], queries: Tensor) -> Launched:
        """Launch features, encoder, head, collapse and the transfer of its result. queries: as of `PaddedForward`."""
        features = self._frontend(sounds)
        lengths = [QUERIES + rows for rows in features.rows]
        rows = rows_of(lengths, self._device)
        best = self._head(self._encoder(self._with_queries(features, rows, queries), rows))
        return Launched(lengths, *to_host(collapse(best, rows.ends, self._blank)))

    def wait_for(self, batch: Launched) -> None:
        """Wait for the result."""
        batch.done.synchronize()

    def collect(self, batch: Launched) -> list[DecodedSegment]:
        """The result, after `wait_for`: one `DecodedSegment` per segment, in order."""
        return runs(batch.collapsed.numpy(), batch.lengths, QUERIES)

    def __call__(self, sounds: Sequence[Sound], queries: Tensor) -> list[DecodedSegment]:
        """Run all steps."""
        launched = self.begin(sounds, queries)
        self.wait_for(launched)
        return self.collect(launched)

    def _with_queries(self, features: Features, rows: Rows, queries: Tensor) -> Tensor:
        """Insert the query vectors before the features of each segment, (rows, F)."""
        packed = features.packed
        place = torch.arange(rows.first.numel(), device=self._device) - rows.first
        owner = torch.repeat_interleave(rows.ends.diff().long(), output_size=rows.first.numel())
        is_query = place < QUERIES
        # Each segment up to this one has QUERIES rows without a feature row.
        source = torch.arange(place.numel(), device=self._device) - (owner + 1) * QUERIES
        x = packed[source.clamp(min=0)]
        at = place.clamp(max=QUERIES - 1)
        asked = queries[at] if queries.dim() == 2 else queries[owner, at]
        return torch.where(is_query[:, None], asked, x)
