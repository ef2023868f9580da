"""SenseVoice's encoder and head with FunASR's weights: SANM layers in two stacks, then the best token of every frame.

An et al., "FunAudioLLM" (2024): four learnt query vectors precede the features, for language, sound event, emotion and
text style; the first four outputs are the corresponding tags, the others the tokens of the text.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dropscribe.engine.layers.sanm import SanmEncoder, affine, encoder_layer, norm
from dropscribe.engine.layers.sequences import Layout

#: Number of query rows before the features of a segment.
QUERIES = 4
#: Rows of the embedding for the sound event and emotion queries.
_SOUND, _EMOTION = 1, 2
#: Frames per call of the output layer: limits the memory of the scores to some 820 MB (25,055 tokens, float32).
CHUNK_ROWS = 8192


def queries(module: Any, language: str, style: str) -> Tensor:
    """The four query vectors, (4, F) float32. Raises KeyError for a language or style unknown to the model."""
    rows = [module.lid_dict[language], _SOUND, _EMOTION, module.textnorm_dict[style]]
    chosen: Tensor = module.embed.weight.detach()[rows]
    return chosen.float()


class SenseVoiceEncoder:
    """Queries and stacked features → hidden states, float32."""

    def __init__(self, module: Any) -> None:
        """`module`: FunASR's `SenseVoiceEncoderSmall`, in evaluation mode."""
        self._first = SanmEncoder(module, torch.float32)
        self._second = [encoder_layer(layer, torch.float32) for layer in module.tp_encoders]
        self._after = norm(module.tp_norm, torch.float32)

    @property
    def reach(self) -> int:
        """Positions that a memory block reaches to either side."""
        return max(self._first.reach, *(layer.memory.reach for layer in self._second))

    def __call__(self, features: Tensor, layout: Layout) -> Tensor:
        """features: (…, F) float32, as `layout` says. Returns (…, D) float32."""
        x = self._first(features, layout)
        for layer in self._second:
            x = layer(x, layout)
        return self._after(x)


class Head:
    """Hidden states → best token of each frame."""

    def __init__(self, module: Any) -> None:
        """`module`: FunASR's `CTC`, in evaluation mode."""
        self._scores = affine(module.ctc_lo, torch.float32)

    def __call__(self, hidden: Tensor) -> Tensor:
        """hidden: (rows, D) float32. Returns (rows,) int64."""
        return torch.cat([self._scores(part).argmax(dim=-1) for part in hidden.split(CHUNK_ROWS)])
