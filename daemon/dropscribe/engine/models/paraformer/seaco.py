"""SeACo: what hotwords change in the tokens of a segment, in fp32 on any device.

Shi et al., "SeACo-Paraformer: A Non-Autoregressive ASR System with Flexible and Effective Hotword Customization Ability" (2023).
A second decoder looks at the hotwords twice, from the acoustic embeddings and from the first decoder's hidden states; where
its sum says a token, and not "no bias", that token stands.

FunASR mixes the two decoders' scores with a weight λ which its `inference` leaves at 1: then the choice is one or the other,
as here, and scores need no normalising. (`seaco_weight` of a model's configuration weighs losses in training, nothing else.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from dropscribe.engine.layers.sanm import SanmDecoder, affine

#: Of longer lists, the start sign counted, each segment hears so many that it looks at most (FunASR's `nfilter`) …
MOST_HEARD = 50
#: … in this layer of the bias decoder (FunASR's `forward_asf6`).
FILTER_LAYER = 5


def has_bias(module: Any) -> bool:
    """Whether a FunASR model takes hotwords in the way of this module."""
    return hasattr(module, "seaco_decoder") and getattr(module, "bias_encoder_type", None) == "lstm"


def filters(module: Any) -> bool:
    """Whether the bias decoder has the layer that long lists are filtered by; FunASR fails on long lists without it."""
    return len(module.seaco_decoder.decoders) > FILTER_LAYER


class BiasEncoder:
    """Hotwords → one vector each."""

    def __init__(self, module: Any) -> None:
        """`module`: FunASR's `SeacoParaformer`, in evaluation mode."""
        self._embed = module.decoder.embed
        self._lstm = module.bias_encoder
        self._project = module.lstm_proj
        self._start = int(module.sos)

    def __call__(self, words: Sequence[Sequence[int]]) -> Tensor:
        """words: token numbers, at least one each. Returns (words + 1, D) float32; the start sign, heard as "none", is last."""
        device = self._lstm.weight_ih_l0.device
        spelt = [torch.tensor([*word], device=device) for word in (*words, (self._start,))]
        packed = pack_sequence([self._embed(word) for word in spelt], enforce_sorted=False)
        states, lengths = pad_packed_sequence(self._lstm(packed)[0], batch_first=True)
        last = states[torch.arange(len(spelt), device=device), lengths.to(device) - 1]
        projected: Tensor = last if self._project is None else self._project(last)
        return projected


class Bias:
    """Tokens as the first decoder chose them → tokens with the hotwords heard."""

    def __init__(self, module: Any) -> None:
        """`module`: FunASR's `SeacoParaformer`, in evaluation mode."""
        self._decoder = SanmDecoder(module.seaco_decoder, torch.float32)
        self._output = affine(module.hotword_output_layer, torch.float32)
        self._no_bias = int(module.NO_BIAS)
        self._filters = filters(module)

    def __call__(self, ids: Tensor, embeds: Tensor, decoded: Tensor, tokens: Tensor, words: Tensor) -> Tensor:
        """ids: (B, N) int64; embeds: (B, N, D), acoustic; decoded: (B, N, D), of the first decoder; tokens: (B, N) bool;
        words: what `BiasEncoder` gave, (W, D). Returns ids as they should be, (B, N).
        """
        heard = words[None]
        if self._filters and len(words) > MOST_HEARD:
            attention = self._decoder.attention(decoded, tokens, heard, FILTER_LAYER)
            heard = words[most_heard((attention * tokens[:, :, None]).sum(dim=1))]
        everything = heard.new_ones(1, heard.shape[1], dtype=torch.bool)
        merged = self._decoder.hidden(embeds, tokens, heard, everything)
        merged = merged + self._decoder.hidden(decoded, tokens, heard, everything)
        biased = self._output(merged).argmax(dim=-1)
        return torch.where(biased == self._no_bias, ids, biased)


def most_heard(looks: Tensor) -> Tensor:
    """Which words each segment goes on with. looks: (B, W). Returns (B, MOST_HEARD + 1) int64.

    The start sign always stays, and stands there twice where it is among those looked at most: as FunASR has it.
    """
    most = looks.topk(min(MOST_HEARD, looks.shape[1] - 1), dim=1).indices
    start = most.new_full((looks.shape[0], 1), looks.shape[1] - 1)
    return torch.cat((most, start), dim=1)
