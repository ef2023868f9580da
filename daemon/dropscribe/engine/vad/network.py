"""FunASR's FSMN encoder over rows of many streams at once; the state of each stream is passed in and out.

Layout: each stream has consecutive rows, first `left` rows of context, then one row per frame. The linear layers treat
rows independently. Before each memory block the context rows are overwritten with that layer's state of the stream, so
that one causal depthwise convolution over all rows does not mix streams.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - what torch calls it
from torch import Tensor

from dropscribe.engine.layers.linear.product import Product, product


class FsmnNetwork:
    """Weights of a `funasr.models.fsmn_vad_streaming.encoder.FSMN` (lstride 1, rorder 0), fp32 on its device."""

    def __init__(self, encoder: Any) -> None:
        taps = [block.fsmn_block.conv_left.weight for block in encoder.fsmn]
        self.layers = len(taps)
        self.left = int(taps[0].shape[2]) - 1  #: rows of context
        self.width = int(taps[0].shape[0])  #: channels of a memory block
        self._taps = [_channels_last(weight) for weight in taps]
        self._enter = (_of(encoder.in_linear1.linear), _of(encoder.in_linear2.linear, relu=True))
        self._shrink = [_of(block.linear.linear) for block in encoder.fsmn]
        self._widen = [_of(block.affine.linear, relu=True) for block in encoder.fsmn]
        self._leave = (_of(encoder.out_linear1.linear), _of(encoder.out_linear2.linear))

    def __call__(
        self, rows: Tensor, memory: Tensor, context: Tensor, newest: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Class probabilities of every row, and the state of each stream after its last row.

        rows: (n, inputs) float32; memory: (streams, layers, left, width), the states; context and newest:
        (streams · left,) int64, the rows of each stream's context and its last rows. Returns (n, classes) and new
        states in the shape of `memory`. Values of context rows in `rows` and in the result are meaningless.
        """
        new_memory = []
        streams = memory.shape[0]
        for layer in self._enter:
            rows = layer(rows)
        for i in range(self.layers):
            rows = self._shrink[i](rows)
            rows.index_copy_(0, context, memory[:, i].reshape(-1, self.width))
            new_memory.append(rows[newest].view(streams, self.left, self.width))
            rows = self._widen[i](self._add_memory(rows, self._taps[i]))
        for layer in self._leave:
            rows = layer(rows)
        return rows.softmax(dim=-1), torch.stack(new_memory, dim=1)

    def _add_memory(self, rows: Tensor, taps: Tensor) -> Tensor:
        """Add Σ_k taps[k] · rows[t − left + k] to row t, in place, per channel (depthwise convolution)."""
        # As an image one pixel wide in channels-last layout: no copy, and oneDNN's fast path.
        image = rows.view(1, -1, 1, self.width).permute(0, 3, 1, 2)
        convolved = F.conv2d(image, taps, groups=self.width).permute(0, 2, 3, 1).reshape(-1, self.width)
        rows[self.left :] += convolved
        return rows


def _channels_last(weight: Tensor) -> Tensor:
    return weight.detach().contiguous(memory_format=torch.channels_last)


def _of(module: torch.nn.Linear, *, relu: bool = False) -> Product:
    return product(module.weight.detach(), None if module.bias is None else module.bias.detach(), relu=relu)
