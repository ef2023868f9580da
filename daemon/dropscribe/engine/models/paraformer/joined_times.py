"""The timestamp branch on a CPU: the counterpart of `cif.Timestamps`, with the same weights α.

Its recurrent network takes one step after another, three for each row. A step reads all weights of a direction, some
4 MB, whatever the number of segments; so it runs over all segments that still go on, and nothing is computed for
padding. The two directions are tasks of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dropscribe.engine.layers.linear.product import Product, of_few_rows, product
from dropscribe.engine.layers.sanm import affine
from dropscribe.engine.models.paraformer.cif import Upsampling, upsampling

#: Rows whose inputs are multiplied at once: enough for a product at full speed, and few enough for the caches.
ROWS_AT_ONCE = 256
#: Multiple to which the number of segments in a step is rounded up: oneDNN compiles code for each distinct number.
STEP_SEGMENTS = 4
#: Gates in the order of PyTorch (input, forget, cell, output) → those of the logistic function first.
GATES = (0, 1, 3, 2)

#: Weights α of some segments, from their rows: of each (rows, D) → of each (times · rows,) float32.
Part = Callable[[Sequence[Tensor]], list[Tensor]]


@dataclass(frozen=True, slots=True)
class Block:
    """Some consecutive steps of a direction."""

    sources: NDArray[np.int64]  #: row of each segment in each row step, (sum of sizes,)
    sizes: list[int]  #: segments that take part in each row step
    #: For each result, step by step: its place in the segments' upsampled frames, or one beyond for none.
    goals: NDArray[np.int64]


def blocks_of(lengths: Sequence[int], times: int, *, backwards: bool) -> Iterator[Block]:
    """The steps of a direction over segments that lie one after another, with so many rows each. Pure.

    Longer segments come first in every step, so that those that take part in a step are the first of the step before.
    """
    rows = np.asarray(lengths, dtype=np.int64)
    begins = np.cumsum(rows) - rows
    falling = np.argsort(-rows, kind="stable")
    # Rounded up with segments that have ended, or the shortest one again; their results are not used.
    order = np.concatenate((falling, np.repeat(falling[-1:], STEP_SEGMENTS)))
    real = np.arange(len(order)) < len(rows)
    first, longest = 0, int(rows.max())
    going_on = (rows[None, :] > np.arange(longest)[:, None]).sum(axis=1)
    sizes = np.where(going_on <= STEP_SEGMENTS, going_on, -(-going_on // STEP_SEGMENTS) * STEP_SEGMENTS)
    until = np.cumsum(sizes)
    parts = np.arange(times)[::-1] if backwards else np.arange(times)
    while first < longest:
        before = int(until[first] - sizes[first])
        last = min(longest, max(first + 1, int(np.searchsorted(until, before + ROWS_AT_ONCE, side="right"))))
        own = sizes[first:last]
        step = np.repeat(np.arange(first, last), own)
        rank = np.arange(len(step)) - np.repeat(until[first:last] - own - before, own)
        segment = order[rank]
        there = step < rows[segment]
        row = np.where(there, rows[segment] - 1 - step if backwards else step, 0)
        sources = begins[segment] + row
        goals = np.where(
            (there & real[rank])[:, None], sources[:, None] * times + parts, int(rows.sum()) * times
        )
        steps = np.concatenate([part.T.ravel() for part in np.split(goals, np.cumsum(own)[:-1])])
        yield Block(sources, own.tolist(), steps)
        first = last


class JoinedTimestamps:
    """Hidden states → weights α of the upsampled frames, for segments of different lengths. float32, on the CPU.

    The recurrent weights have 16 bits where this torch has such products, since a step waits for memory.
    """

    def __init__(self, module: Any) -> None:
        """`module`: FunASR's `CifPredictorV3` with `upsample_type` "cnn_blstm" or "cnn"."""
        self._up = upsampling(module, torch.float32)
        self.times = self._up.times
        self.from_conv = self._up.from_conv
        self._output = affine(module.cif_output2, torch.float32)
        self._directions: tuple[_Direction, ...] = ()
        if module.upsample_type == "cnn_blstm":
            ahead, back = module.cif_output2.weight.detach().float()[0].split(module.blstm.hidden_size)
            self._bias = float(module.cif_output2.bias.detach()[0])
            self._directions = (
                _Direction(module.blstm, self._up, ahead, backwards=False),
                _Direction(module.blstm, self._up, back, backwards=True),
            )

    @property
    def parts(self) -> Sequence[Callable[[Sequence[Tensor]], Tensor]]:
        """Functions that may run side by side over the same segments: rows (T, D) of each → parts of `weights`."""
        return self._directions or (self._without_network,)

    def weights(self, rows: Sequence[int], made: Sequence[Tensor]) -> list[Tensor]:
        """Weights α of each segment's upsampled frames, (times · rows,) float32. made: results of all `parts`."""
        scores = torch.stack(tuple(made)).sum(dim=0)
        if self._directions:
            scores += self._bias
        return list(self._up.alpha(scores).split([n * self.times for n in rows]))

    def _without_network(self, segments: Sequence[Tensor]) -> Tensor:
        return self._output(self._up(torch.cat(tuple(segments)))).flatten()


class _Direction:
    """Rows → share of a direction of the recurrent network in the scores of the output layer."""

    def __init__(self, blstm: Any, up: Upsampling, column: Tensor, *, backwards: bool) -> None:
        suffix = "_reverse" if backwards else ""
        taken, recurrent, *biases = (
            _gates(getattr(blstm, name + suffix).detach().float())
            for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        )
        # Upsampling is linear, too: one product for both. (times, D, D) and (times, D), in the order of the steps.
        widened = up.weight.float().unflatten(0, (up.times, -1))
        offsets = up.bias.float().unflatten(0, (up.times, -1))
        if backwards:
            widened, offsets = widened.flip(0), offsets.flip(0)
        both = (taken.double() @ widened.double()).float().flatten(0, 1)
        bias = (offsets.double() @ taken.double().t()).float() + biases[0] + biases[1]
        self._inputs: Product = product(both.contiguous(), bias.flatten())
        self._recurrent = of_few_rows(recurrent.contiguous())
        self._column = column.contiguous()
        self._times = up.times
        self._backwards = backwards

    def __call__(self, segments: Sequence[Tensor]) -> Tensor:
        """Scores of the steps of all segments, concatenated: (times · rows,)."""
        x = torch.cat(tuple(segments))
        width = self._column.shape[0]
        scores = torch.empty(len(x) * self._times + 1)
        hidden = cells = x.new_zeros(0, width)
        for block in blocks_of([len(s) for s in segments], self._times, backwards=self._backwards):
            if not len(cells):
                hidden, cells = (x.new_zeros(block.sizes[0], width) for _ in range(2))
            gates = self._inputs(x[torch.from_numpy(block.sources)])
            states = torch.empty(len(block.goals), width)
            first = done = 0
            for size in block.sizes:
                hidden, cells = hidden[:size], cells[:size]
                for taken in gates[first : first + size].split(4 * width, dim=1):
                    hidden = self._step(hidden, cells, taken, states[done : done + size])
                    done += size
                first += size
            scores[torch.from_numpy(block.goals)] = states @ self._column
        return scores[:-1]

    def _step(self, hidden: Tensor, cells: Tensor, taken: Tensor, out: Tensor) -> Tensor:
        """One step: writes the new states to `out` and `cells`."""
        width = hidden.shape[1]
        gates = self._recurrent(hidden).add_(taken)
        open_, kept, shown = gates[:, : 3 * width].sigmoid_().split(width, dim=1)
        cells.mul_(kept).addcmul_(open_, gates[:, 3 * width :].tanh_())
        return torch.mul(cells.tanh(), shown, out=out)


def _gates(rows: Tensor) -> Tensor:
    """Gates in the order `GATES`. rows: (4 · H, …)."""
    return torch.cat([rows.chunk(4)[i] for i in GATES])
