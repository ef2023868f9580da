"""The timestamp branch on packed rows: the counterpart of `cif.Timestamps`, with the same weights α.

Its recurrent network takes one step after another, three for each row, whatever the number of segments. So segments
are ordered by length and laid out step by step (PyTorch's packed sequences): each step runs over the segments that
still go on, both directions in one call, and nothing is computed for padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from dropscribe.engine.layers.transfer import on_device
from dropscribe.engine.models.paraformer.cif import upsampling

#: Columns of a float16 matrix product; tensor cores take no fewer.
COLUMNS = 8
#: The second half of a weight in two float16 values is stored as many times as large, so that it is no denormal.
REST = 1024.0


@dataclass(frozen=True, slots=True)
class Order:
    """Places of a batch's rows, step by step. A batch has (segments, longest) padded rows, flattened."""

    sources: NDArray[np.int64]  #: padded row of each row, by step and then by falling length
    steps: NDArray[np.int64]  #: for each packed step row: `times` · place in `sources` + its part
    goals: NDArray[np.int64]  #: for each packed step row: its place in (segments, times · longest), flattened
    sizes: NDArray[np.int64]  #: segments that take part in each step


def order_of(lengths: Sequence[int], times: int) -> Order:
    """Order of segments with so many rows each, every row being `times` steps."""
    rows = np.asarray(lengths, dtype=np.int64)
    longest = int(rows.max())
    falling = np.argsort(-rows, kind="stable")
    goes_on = rows[falling][None, :] > np.arange(longest)[:, None]
    row, rank = np.nonzero(goes_on)
    segment = falling[rank]
    sizes = goes_on.sum(axis=1)
    # Of each row of the padded batch, its steps follow one another in time, with all segments' first before the second.
    before = np.cumsum(sizes) - sizes
    part = np.arange(times)
    packed = (times * before[row] + rank)[:, None] + part * sizes[row][:, None]
    steps, goals = np.empty(packed.size, np.int64), np.empty(packed.size, np.int64)
    steps[packed] = times * np.arange(len(row))[:, None] + part
    goals[packed] = (segment * longest * times + row * times)[:, None] + part
    return Order(segment * longest + row, steps, goals, np.repeat(sizes, times))


class PackedTimestamps:
    """Hidden states → weights α of the upsampled frames, for segments of different lengths."""

    def __init__(self, module: Any, dtype: torch.dtype) -> None:
        """`module`: FunASR's `CifPredictorV3` with `upsample_type` "cnn_blstm" or "cnn"."""
        self._up = upsampling(module, dtype)
        self.times = self._up.times
        self._lstm = _copied(module.blstm, dtype) if module.upsample_type == "cnn_blstm" else None
        self._output = _Column(module.cif_output2, dtype)

    def weights(self, encoded: Tensor, hidden: Tensor, lengths: Sequence[int]) -> Tensor:
        """Weights α of the upsampled frames, (B, T · times) float32, zero beyond the end of a segment.

        encoded: (B, T, D); hidden: the predictor's convolution, (B, T, D); lengths: rows of each segment, 1 … T.
        """
        order = order_of(lengths, self.times)
        padded = hidden if self._up.from_conv else encoded
        source, steps, goals = (
            on_device(indexes, padded.device) for indexes in (order.sources, order.steps, order.goals)
        )
        x = self._up(padded.flatten(0, 1).index_select(0, source))
        x = x.flatten(0, 1).index_select(0, steps)
        if self._lstm is not None:
            x = self._lstm(PackedSequence(x, torch.from_numpy(order.sizes)))[0].data
        everywhere = torch.zeros(len(lengths) * padded.shape[1] * self.times, device=padded.device)
        everywhere.index_copy_(0, goals, self._up.alpha(self._output(x)))
        return everywhere.unflatten(0, (len(lengths), -1))


class _Column:
    """A linear layer with one output, exact to float32 for inputs in float16 without a copy of them in float32.

    The weight is the sum of two float16 values; their products are summed in float32.
    """

    def __init__(self, module: Any, dtype: torch.dtype) -> None:
        weight = module.weight.detach().float().flatten()
        self._bias = module.bias.detach().float()
        self._weight = weight[:, None].to(dtype)
        if dtype == torch.float16:
            first = weight.half()
            rest = ((weight - first.float()) * REST).half()
            self._weight = F.pad(torch.stack((first, rest), dim=1), (0, COLUMNS - 2))

    def __call__(self, x: Tensor) -> Tensor:
        """(rows, D) → (rows,) float32."""
        if x.dtype != torch.float16:
            return (x @ self._weight).squeeze(1).float() + self._bias
        sums = torch.mm(x, self._weight, out_dtype=torch.float32)
        return sums[:, 0] + sums[:, 1] / REST + self._bias


def _copied(blstm: Any, dtype: torch.dtype) -> torch.nn.LSTM:
    lstm = torch.nn.LSTM(blstm.input_size, blstm.hidden_size, bidirectional=True)
    lstm.load_state_dict(blstm.state_dict())
    lstm = lstm.to(device=blstm.weight_ih_l0.device, dtype=dtype).eval()
    lstm.flatten_parameters()
    return lstm
