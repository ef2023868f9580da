"""CT-Transformer's network: numbers of words → the best mark behind each.

An embedding, SANM layers and an output layer, with the weights of FunASR's `CTTransformer`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from dropscribe.engine.layers.sanm import SanmEncoder, affine
from dropscribe.engine.layers.sequences import Padded
from dropscribe.engine.models.funasr_parts import component
from dropscribe.engine.models.punctuation.config import PunctuationConfig

#: Numbers of the words of a window, int32.
Ids = NDArray[np.int32]
#: Windows → marks of their words, one window after another, one byte a word: the number of an output of the network.
Network = Callable[[Sequence[Ids]], bytes]
#: Words of a pass on a CPU, with padding. Small, so that the activations stay in the cache.
CPU_WORDS = 2048


class Parameters(torch.nn.Module):
    """The parameters of a network, with the names that FunASR gives them."""

    def __init__(self, config: PunctuationConfig) -> None:
        super().__init__()
        # Not initialised: that takes seconds for hundreds of millions of values, which are replaced. (skip_init imports
        # torch's compiler, which takes seconds, too.)
        values = torch.empty(len(config.vocabulary), config.width)
        self.embed = torch.nn.Embedding.from_pretrained(values, freeze=False)
        self.encoder = component("encoder", "SANMEncoder")(**config.encoder)
        self.decoder = torch.nn.Linear(config.width, len(config.codes))


class PaddedNetwork:
    """Windows of similar length, padded to the longest, in fp32."""

    def __init__(self, module: Parameters) -> None:
        """`module`: in evaluation mode."""
        self._embedding = module.embed.weight.detach()
        self._encoder = SanmEncoder(module.encoder, torch.float32)
        self._output = affine(module.decoder, torch.float32)

    def __call__(self, windows: Sequence[Ids]) -> bytes:
        """See `Network`."""
        order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
        marks = [b""] * len(windows)
        for group in _groups([len(windows[i]) for i in order]):
            chosen = order[group]
            for i, made in zip(chosen, self._pass([windows[i] for i in chosen]), strict=True):
                marks[i] = made
        return b"".join(marks)

    def _pass(self, windows: Sequence[Ids]) -> list[bytes]:
        lengths = [len(ids) for ids in windows]
        padded = np.zeros((len(windows), max(lengths)), np.int64)
        for row, ids in zip(padded, windows, strict=True):
            row[: len(ids)] = ids
        device = self._embedding.device
        keep = torch.arange(padded.shape[1]) < torch.tensor(lengths)[:, None]
        features = self._embedding[torch.from_numpy(padded).to(device)]
        best = self._output(self._encoder(features, Padded(keep.to(device)))).argmax(dim=-1)
        rows = best.to(torch.uint8).cpu().numpy()
        return [row[:length].tobytes() for row, length in zip(rows, lengths, strict=True)]


def _groups(lengths: Sequence[int]) -> list[slice]:
    """Divide ascending lengths into groups of at most `CPU_WORDS` words with padding, or of one window."""
    groups: list[slice] = []
    first = 0
    for i, length in enumerate(lengths):
        if i > first and length * (i + 1 - first) > CPU_WORDS:
            groups.append(slice(first, i))
            first = i
    return [*groups, slice(first, len(lengths))] if lengths else []
