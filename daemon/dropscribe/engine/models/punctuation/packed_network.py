"""The network on CUDA: windows packed without padding, float16 products, float32 residual stream.

Its passes run on a CUDA stream of high priority, so that they do not wait for the batches of the recogniser that are
already queued. The hundred launches of a pass are recorded for some sizes, and replayed as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dropscribe.engine.core.turns import launching
from dropscribe.engine.layers.packed import HALF, PackedLayers, Rows, aligned, placed, rows_of
from dropscribe.engine.layers.transfer import to_host
from dropscribe.engine.models.punctuation import steps
from dropscribe.engine.models.punctuation.network import Ids, Parameters
from dropscribe.engine.models.punctuation.pass_sizes import SIZES

#: Words of a recorded pass for each window.
WORDS_A_WINDOW = 16
#: Longest window of a recorded pass, words: that of any text, also of one without sentence ends.
LONGEST = steps.LONGEST + steps.STEP


class _Recorded:
    """The launches of a pass of a fixed size, as a CUDA graph with its input and output."""

    def __init__(self, network: PackedNetwork, words: int, pool: Any, device: torch.device) -> None:
        """Record on the current CUDA stream, with memory of `pool`. Raises the errors of torch."""
        self.words, self.windows = words, words // WORDS_A_WINDOW
        #: Numbers of the words, first and last + 1 word of each one's window, cumulative lengths of the windows.
        sizes = (words, words, words, self.windows + 1)
        self._host = torch.zeros(sum(sizes), dtype=torch.int32, pin_memory=True)
        self._input = torch.zeros(sum(sizes), dtype=torch.int32, device=device)
        ids, first, last, ends = self._input.split(sizes)
        self._columns = [part.numpy() for part in self._host.split(sizes)]
        self._fill([np.zeros(1, np.int32)])
        rows = Rows(ends, first, last, LONGEST)
        network.best(ids, rows)
        self._graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream(device)
        stream.synchronize()
        with torch.cuda.graph(self._graph, pool, stream, capture_error_mode="thread_local"):
            self._best = network.best(ids, rows)

    def __call__(self, windows: Sequence[Ids]) -> Tensor:
        """The best mark behind each word, on the device; overwritten by the next call."""
        self._fill(windows)
        self._graph.replay()
        return self._best

    def _fill(self, windows: Sequence[Ids]) -> None:
        ids, first, last, ends = self._columns
        lengths = np.array([len(window) for window in windows])
        until = np.cumsum(lengths)
        total = int(until[-1])
        np.concatenate(windows, out=ids[:total], casting="same_kind")
        ids[total:] = 0
        first[:total] = np.repeat(until - lengths, lengths)
        last[:total] = np.repeat(until, lengths)
        # The words behind the last window are windows of no word: they reach no other word.
        first[total:] = last[total:] = np.arange(total, self.words)
        ends[0] = 0
        ends[1 : len(windows) + 1] = until
        ends[len(windows) + 1 :] = total
        self._input.copy_(self._host, non_blocking=True)


class PackedNetwork:
    """Owned by one thread."""

    def __init__(self, module: Parameters, device: torch.device) -> None:
        """`module`: on the CPU, in evaluation mode; it is not kept."""
        self._device = device
        self._embedding = module.embed.weight.detach().to(HALF).to(device)
        encoder = module.encoder.to(device)
        self._scale = float(encoder.output_size()) ** 0.5
        self._layers = PackedLayers([*encoder.encoders0, *encoder.encoders], encoder.after_norm)
        # So few outputs cost nothing in float32, in which close marks are ranked as on a CPU.
        weight, bias = module.decoder.weight.detach(), module.decoder.bias.detach()
        self._weight = F.pad(weight, (0, aligned(weight.shape[1]) - weight.shape[1])).to(device).float()
        self._bias = bias.to(device).float()
        self._stream = torch.cuda.Stream(device, priority=-1)
        self._recorded: list[_Recorded] = []
        # The weights were copied on another stream.
        torch.cuda.synchronize(device)

    def __call__(self, windows: Sequence[Ids]) -> bytes:
        """See `dropscribe.engine.models.punctuation.network.Network`."""
        lengths = [len(ids) for ids in windows]
        total = sum(lengths)
        with launching(torch.cuda.stream(self._stream)):
            recorded = self._recorded_for(total, len(windows), max(lengths))
            if recorded is not None:
                best = recorded(windows)[:total]
            else:
                host = torch.from_numpy(np.concatenate(windows)).pin_memory()
                best = self.best(host.to(self._device, non_blocking=True), rows_of(lengths, self._device))
            found, done = to_host(best)
        done.synchronize()
        return found.numpy().tobytes()

    def record(self, most_words: int) -> None:
        """Record passes of the sizes in `pass_sizes`, up to `most_words`. Raises the errors of torch."""
        sizes = [words for words in SIZES if words <= most_words]
        with torch.cuda.stream(self._stream):
            # One at a time is replayed and read, so they share their memory; the largest comes first.
            pool = torch.cuda.graph_pool_handle()
            recorded = [_Recorded(self, words, pool, self._device) for words in reversed(sizes)]
            self._recorded = recorded[::-1]

    def best(self, ids: Tensor, rows: Rows) -> Tensor:
        """The best mark behind each word, uint8; `ids`: numbers of the words, int32."""
        embedded = F.embedding(ids, self._embedding).float()
        _, hidden = self._layers(placed(embedded, self._scale, rows), rows)
        return F.linear(hidden.float(), self._weight, self._bias).argmax(dim=-1).to(torch.uint8)

    def _recorded_for(self, words: int, windows: int, longest: int) -> _Recorded | None:
        """The smallest recorded pass for so many words and windows; None: there is none."""
        if longest > LONGEST:
            return None
        fitting = (one for one in self._recorded if one.words >= words and one.windows >= windows)
        return next(fitting, None)
