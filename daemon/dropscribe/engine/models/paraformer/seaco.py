"""SeACo hotword biasing in fp32 on any device.

Shi et al., "SeACo-Paraformer: A Non-Autoregressive ASR System with Flexible and Effective Hotword Customization
Ability" (2023). A second decoder attends to the hotwords twice, from the acoustic embeddings and from the first
decoder's hidden states; where the output of the sum is a token and not "no bias", it replaces the first decoder's
token.

FunASR mixes the scores of both decoders with a weight λ, which its `inference` leaves at 1. One or the other is chosen
then, as here, without normalisation of scores. (`seaco_weight` in a model's configuration only weights losses in
training.)

One deviation: FunASR also takes tokens without text from the second decoder (`<unk>` of a hotword with a character that the
model does not know, `</s>`), in place of a word, which is lost then (FunASR's issue 3302). Here the word stays.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from dropscribe.engine.layers.best import Best, best_of
from dropscribe.engine.layers.sanm import SanmDecoder, affine
from dropscribe.engine.layers.sequences import Padded

#: Longest list (including the start token) that is used whole; of longer ones each segment uses the words with the
#: highest attention weights (FunASR's `nfilter`).
MOST_HEARD = 50
#: Layer of the bias decoder whose attention weights select the words (FunASR's `forward_asf6`).
FILTER_LAYER = 5


def has_bias(module: Any) -> bool:
    """True if a FunASR model supports this kind of hotword biasing."""
    return hasattr(module, "seaco_decoder") and getattr(module, "bias_encoder_type", None) == "lstm"


def filters(module: Any) -> bool:
    """True if the bias decoder has the layer that filters long lists; FunASR fails on long lists without it."""
    return len(module.seaco_decoder.decoders) > FILTER_LAYER


class BiasEncoder:
    """Hotwords → one embedding each."""

    def __init__(self, module: Any) -> None:
        """`module`: FunASR's `SeacoParaformer`, in evaluation mode."""
        self._embed = module.decoder.embed
        self._lstm = module.bias_encoder
        self._project = module.lstm_proj
        self._start = int(module.sos)

    def __call__(self, words: Sequence[Sequence[int]]) -> Tensor:
        """Embeddings (words + 1, D) float32, last that of the start token ("no hotword").

        words: token numbers, at least one each.
        """
        device = self._lstm.weight_ih_l0.device
        ids = [torch.tensor([*word], device=device) for word in (*words, (self._start,))]
        packed = pack_sequence([self._embed(word) for word in ids], enforce_sorted=False)
        states, lengths = pad_packed_sequence(self._lstm(packed)[0], batch_first=True)
        last = states[torch.arange(len(ids), device=device), lengths.to(device) - 1]
        projected: Tensor = last if self._project is None else self._project(last)
        return projected


class Bias:
    """Token numbers of the first decoder → token numbers after hotword biasing."""

    def __init__(self, module: Any, silent: Collection[int]) -> None:
        """`module`: FunASR's `SeacoParaformer`, in evaluation mode; `silent`: numbers of tokens without text."""
        self._decoder = SanmDecoder(module.seaco_decoder, torch.float32)
        self._output = affine(module.hotword_output_layer, torch.float32)
        self._unbiased = unbiased(module, silent)
        self._filters = filters(module)

    def __call__(self, best: Best, embeds: Tensor, decoded: Tensor, tokens: Tensor, words: Tensor) -> Best:
        """Tokens after biasing, (B, N); one that is taken from the hotwords has the probability it has among them.

        best: of the first decoder, (B, N); embeds: (B, N, D), acoustic; decoded: (B, N, D), of the first decoder;
        tokens: (B, N) bool, true for tokens and false for padding; words: result of `BiasEncoder`, (W, D).
        """
        keys, layout = words[None], Padded(tokens)
        if self._filters and len(words) > MOST_HEARD:
            attention = self._decoder.attention(decoded, layout, keys, FILTER_LAYER)
            keys = words[most_heard((attention * tokens[:, :, None]).sum(dim=1))]
        everything = Padded(keys.new_ones(1, keys.shape[1], dtype=torch.bool))
        merged = self._decoder.hidden(embeds, layout, keys, everything)
        merged = merged + self._decoder.hidden(decoded, layout, keys, everything)
        biased = best_of(self._output(merged))
        return best.where(torch.isin(biased.ids, self._unbiased), biased)


def unbiased(module: Any, silent: Collection[int]) -> Tensor:
    """Tokens of the second decoder for which that of the first one stays: "no bias", and those without text."""
    device = module.hotword_output_layer.weight.device
    return torch.tensor(sorted({int(module.NO_BIAS), *silent}), device=device)


def most_heard(weights: Tensor) -> Tensor:
    """Indexes of the words that each segment uses, (B, MOST_HEARD + 1) int64. weights: attention weights, (B, W).

    As in FunASR, the start token is always included, and twice if it is among the highest weights.
    """
    most = weights.topk(min(MOST_HEARD, weights.shape[1] - 1), dim=1).indices
    start = most.new_full((weights.shape[0], 1), weights.shape[1] - 1)
    return torch.cat((most, start), dim=1)
