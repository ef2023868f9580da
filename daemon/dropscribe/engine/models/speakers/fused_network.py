"""CAM++ on CUDA in float16, with the kernels of `dropscribe.engine.layers.cam_kernels`.

`network.py` is the reference: it takes 300 launches, and most of its time moves activations between them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from dropscribe.engine.layers import cam_kernels as kernels
from dropscribe.engine.models.speakers.network import CamPlusPlus, CamPlusPlusShape

#: Strides over frequencies of the residual blocks.
_STRIDES = (2, 1, 2, 1)


class FusedCamPlusPlus(CamPlusPlus):
    """The same network; every activation but the first and the last is written once."""

    def __init__(
        self, weights: Mapping[str, Tensor], shape: CamPlusPlusShape, device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__(weights, shape, device, dtype)
        first, *residuals, last = self._front
        self._first = (_taps(first[0][0])[:, 0].contiguous(), first[0][1])
        self._residuals = [
            (
                (_taps(block[0][0]), block[0][1]),
                # The biases of both branches are added at once.
                (_taps(block[1][0]), block[1][1] + block[2][1] if len(block) > 2 else block[1][1]),
                block[2][0][:, :, 0, 0].T.contiguous() if len(block) > 2 else None,
            )
            for block in residuals
        ]
        self._last = (_taps(last[0][0]), last[0][1])
        weight, bias = self._tdnn
        # (columns, channels · frequencies, taps), channels first.
        columns, _, taps = weight.shape
        shaped = weight.view(columns, kernels.CHANNELS, -1, taps)
        self._delay = (shaped.permute(3, 2, 1, 0).contiguous(), bias)
        self._locals = [
            [layer.local[:, :, 0].permute(2, 1, 0).contiguous() for layer in block.layers]
            for block in self._blocks
        ]

    def __call__(self, frames: Tensor) -> Tensor:
        """See `CamPlusPlus`."""
        windows, length, _ = frames.shape
        steps = (length + 1) // 2
        x = kernels.first_convolution(frames.to(self._dtype).contiguous(), *self._first)
        for stride, (one, other, across) in zip(_STRIDES, self._residuals, strict=True):
            inner = kernels.convolution(x, *one, stride)
            x = kernels.convolution(inner, *other, 1, x, across)
        x = kernels.convolution(x, *self._last, 2)
        room = [self._room(number, windows * steps) for number in range(len(self._blocks))]
        kernels.time_delay(x, *self._delay, room[0][:, : self._delay[1].shape[0]], steps)
        for number, block in enumerate(self._blocks):
            every = room[number]
            channels = block.layers[0].scale.shape[0]
            inner = every.new_empty(windows * steps, block.layers[0].narrow.shape[1])
            for layer, local in zip(block.layers, self._locals[number], strict=True):
                kernels.norm_product(
                    every[:, :channels], (layer.scale, layer.shift), layer.narrow, layer.narrow_bias, inner
                )
                kernels.masked_convolution(
                    inner,
                    local,
                    (layer.context, layer.context_bias),
                    (layer.mask, layer.mask_bias),
                    every[:, channels : channels + self._growth],
                    steps,
                    layer.dilation,
                )
                channels += self._growth
            # Into the first channels of the next block.
            made = block.transit.shape[1]
            out = room[number + 1][:, :made] if number + 1 < len(room) else every.new_empty(len(every), made)
            kernels.norm_product(every, (block.scale, block.shift), block.transit, None, out)
        scale, shift = self._out
        found = torch.relu_(torch.addcmul(shift, out, scale)).float().view(windows, steps, -1)
        statistics = torch.cat((found.mean(dim=1), found.std(dim=1)), dim=1)
        return F.linear(statistics, self._dense, self._dense_bias)

    def _room(self, number: int, rows: int) -> Tensor:
        """Memory for all channels of a block."""
        channels = self._blocks[number].scale.shape[0]
        return torch.empty(rows, channels, device=self._device, dtype=self._dtype)


def _taps(weight: Tensor) -> Tensor:
    """(outputs, inputs, 3, 3) → (9, inputs, outputs)."""
    return weight.permute(2, 3, 1, 0).reshape(9, weight.shape[1], weight.shape[0]).contiguous()
