"""Classify every frame of many streams as speech or silence, on the device, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dropscribe.engine.core.interfaces import Frames
from dropscribe.engine.core.turns import launching
from dropscribe.engine.layers.fbank import LogMel
from dropscribe.engine.layers.memory import usable_bytes
from dropscribe.engine.layers.transfer import Upload, to_host
from dropscribe.engine.vad.layout import SHIFT_SAMPLES, Plan, Splice, Step, cuda_rows, groups, plan
from dropscribe.engine.vad.network import FsmnNetwork

#: Row limit of a forward pass on a CPU: fits its caches.
CPU_ROWS = 2_200
#: Highest priority of a CUDA stream: VAD is little work, and batches are made of its results.
FIRST = -1


@dataclass(frozen=True, slots=True, eq=False)
class Threshold:
    """A frame is speech if 1 - noise >= noise ** ratio + margin; noise is the probability of `silence_ids`."""

    silence_ids: Tensor  #: int64, on the device
    ratio: float
    margin: float

    def __call__(self, scores: Tensor) -> Tensor:
        """scores: (n, classes) float32. Returns (n,) bool."""
        noise = scores.index_select(1, self.silence_ids).double().sum(dim=-1)
        return 1.0 - noise >= noise**self.ratio + self.margin


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Results of a call that may still be running on the device.

    `memories`: new state of the network for each stream, which may be passed to the next call at once; None after a
    stream's last step. `log_mels`: newly computed frames of each stream, which may be read on any CUDA stream after
    `Scorer.speech` has returned.
    """

    plans: list[Plan]
    memories: list[Tensor | None]
    log_mels: list[Frames]
    speech: Tensor  #: (rows of all plans,) bool, on the host
    done: torch.cuda.Event | None

    @property
    def ready(self) -> bool:
        """True if `Scorer.speech` would not wait."""
        return self.done is None or bool(self.done.query())  # type: ignore[no-untyped-call]


class Scorer:
    """Filter bank, splice, normalisation and network. Streams of one call do not affect each other."""

    def __init__(
        self,
        network: FsmnNetwork,
        threshold: Threshold,
        splice: Splice,
        cmvn: Tensor | None,
        device: torch.device,
    ) -> None:
        """cmvn: (2, inputs of the network): every row is shifted by the first row, then scaled by the second."""
        self._network = network
        self._threshold = threshold
        self._splice = splice
        self._cmvn = None if cmvn is None else cmvn.to(device=device, dtype=torch.float32)
        self._device = device
        self._upload = Upload(device)
        self._log_mel = LogMel(device)
        self._near = torch.arange(-splice.before, splice.after + 1, device=device)
        self._on_gpu = device.type == "cuda"
        self._most_rows = _rows_on(device)
        #: State of the network before the first frame of a stream.
        self.nothing = torch.zeros(network.layers, network.left, network.width, device=device)
        # A separate CUDA stream: on the default one the results would wait for all batches launched before.
        self._cuda_stream = torch.cuda.Stream(device, priority=FIRST) if self._on_gpu else None  # type: ignore[no-untyped-call]
        if self._on_gpu:
            torch.cuda.synchronize(device)

    def judge(self, steps: Sequence[Step], memories: Sequence[Tensor]) -> Judged | None:
        """Launch steps, each of which must have rows, and one transfer of the results; None if there are no steps."""
        left = self._network.left
        plans: list[Plan] = []
        decided: list[Tensor] = []
        new_memories: list[Tensor | None] = []
        computed: list[Frames] = []
        with torch.inference_mode(), launching(self._on_own_stream()):
            for part in groups((left + s.rows for s in steps), self._most_rows):
                made = plan(steps[part], left)
                speech, memory, log_mel = self._judge(made, steps[part], memories[part])
                plans.append(made)
                decided.append(speech)
                for i, (s, first) in enumerate(zip(steps[part], made.sizes[2].tolist(), strict=True)):
                    # A copy: a view would keep the tensor of all streams of the group alive.
                    new_memories.append(None if s.final else memory[i].clone())
                    computed.append(Frames(log_mel, first + s.computed, first + s.frames))
            if not decided:
                return None
            speech = decided[0] if len(decided) == 1 else torch.cat(decided)
            host, done = to_host(speech) if self._on_gpu else (speech, None)
        return Judged(plans, new_memories, computed, host, done)

    def speech(self, judged: Judged) -> list[NDArray[np.bool_]]:
        """Wait for the results; returns for each stream an array (n,), true for each new frame that is speech."""
        if judged.done is not None:
            judged.done.synchronize()
        host, left = judged.speech.numpy(), self._network.left
        found: list[NDArray[np.bool_]] = []
        at = 0
        for made in judged.plans:
            found += [host[at : at + made.rows][made.new_rows(i, left)] for i in range(made.streams)]
            at += made.rows
        return found

    def _judge(
        self, made: Plan, steps: Sequence[Step], memories: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Speech decisions (rows,) bool, states (streams, layers, left, width) and log-mel frames (frames, 80)."""
        left = self._network.left
        sizes = self._upload.values(made.sizes)
        pcm = self._upload.samples([part for s in steps for part in s.parts])
        log_mel = self._frames(made, pcm, sizes)
        rows = self._rows(made, log_mel, sizes)
        _, _, _, counts, first_row, _ = sizes
        within = torch.arange(left, device=self._device)
        context = (first_row[:, None] + within).flatten()
        newest = ((first_row + counts - left)[:, None] + within).flatten()
        scores, memory = self._network(rows, torch.stack(list(memories)), context, newest)
        return self._threshold(scores), memory, log_mel

    def _frames(self, made: Plan, pcm: Tensor, sizes: Tensor) -> Tensor:
        """Log-mel frames of all streams, (frames, 80)."""
        first_sample, frames, first_frame, *_ = sizes
        owner, within = self._owners(frames, first_frame, made.frames)
        return self._log_mel(pcm, first_sample[owner] + within * SHIFT_SAMPLES)

    def _rows(self, made: Plan, log_mel: Tensor, sizes: Tensor) -> Tensor:
        """Spliced, normalised frames, (rows, inputs); values of context rows are meaningless."""
        _, frames, first_frame, counts, first_row, skipped = sizes
        owner, within = self._owners(counts, first_row, made.rows)
        centre = within - self._network.left + skipped[owner]
        place = (centre[:, None] + self._near).clamp_(min=0).minimum((frames[owner] - 1)[:, None])
        spliced = log_mel[place + first_frame[owner][:, None]].flatten(1)
        if self._cmvn is not None:
            spliced = spliced.add_(self._cmvn[0]).mul_(self._cmvn[1])
        return spliced

    def _owners(self, counts: Tensor, firsts: Tensor, total: int) -> tuple[Tensor, Tensor]:
        """Stream and position in that stream of each of `total` items (frames or rows) laid out consecutively."""
        owner = torch.repeat_interleave(counts, output_size=total)
        return owner, torch.arange(total, device=self._device) - firsts[owner]

    def _on_own_stream(self) -> AbstractContextManager[Any] | None:
        return None if self._cuda_stream is None else torch.cuda.stream(self._cuda_stream)


def _rows_on(device: torch.device) -> int:
    """Row limit of a forward pass."""
    if device.type != "cuda":
        return CPU_ROWS
    return cuda_rows(usable_bytes(device))
