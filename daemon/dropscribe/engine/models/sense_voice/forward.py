"""Padded forward pass in float32: audio to runs of tokens, one call per batch, all on the device.

Runs on any device, with the same result for each segment as alone: the reference for the packed path, and the path for
CPUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dropscribe.engine.layers.fbank import Frontend, Sound
from dropscribe.engine.layers.sequences import Padded
from dropscribe.engine.models.sense_voice.collapse import DecodedSegment, collapse, runs
from dropscribe.engine.models.sense_voice.encoder import QUERIES, Head, SenseVoiceEncoder


class PaddedForward:
    """Segments padded to the longest of the batch. Owned by the worker's thread."""

    def __init__(self, module: Any, frontend: Any, device: torch.device) -> None:
        """`module`: FunASR's SenseVoiceSmall in evaluation mode; `frontend`: its WavFrontend."""
        self._device = device
        cmvn = torch.as_tensor(np.asarray(frontend.cmvn))
        self._frontend = Frontend(cmvn, stack=frontend.lfr_m, skip=frontend.lfr_n, device=device)
        self._encoder = SenseVoiceEncoder(module.encoder)
        self._head = Head(module.ctc)
        self._blank = int(module.blank_id)

    def __call__(self, sounds: Sequence[Sound], queries: Tensor) -> list[DecodedSegment]:
        """Recognise a batch; one `DecodedSegment` per segment, in order.

        sounds: 16 kHz mono, at least 400 samples (one frame) each. queries: (4, F) for all, or (B, 4, F), float32.
        """
        features = self._frontend(sounds)
        lengths = [QUERIES + rows for rows in features.rows]
        rows = torch.tensor([0, *lengths], device=self._device)
        keep = torch.arange(max(lengths), device=self._device)[None] < rows[1:, None]
        x = torch.zeros(*keep.shape, features.packed.shape[1], device=self._device)
        x[:, :QUERIES] = queries
        # The slice is a view, so this writes to `x`.
        x[:, QUERIES:][keep[:, QUERIES:]] = features.packed
        best = self._head(self._encoder(x, Padded(keep))[keep])
        return runs(collapse(best, rows.cumsum(0), self._blank).cpu().numpy(), lengths, QUERIES)
