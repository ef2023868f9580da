"""Packed forward pass on CUDA: audio to token numbers and fires, in three steps so that the device never waits.

`begin` launches features, encoder and predictor. `decode` needs the number of tokens on the host, which is copied
while the next batch's `begin` is launched. `collect` reads the result. The timestamp branch has a recurrent network
with thousands of tiny dependent kernels; a separate thread launches it on a separate CUDA stream, in parallel with the
next encoder.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dropscribe.engine.layers.best import Best
from dropscribe.engine.layers.fbank import Frontend, Sound
from dropscribe.engine.layers.packed import HALF, PackedEncoder, Rows, rows_of
from dropscribe.engine.layers.transfer import to_host
from dropscribe.engine.models.paraformer.cif import Predictor, Timestamps, integrate
from dropscribe.engine.models.paraformer.forward import SILENT_IDS, DecodedBatch, DecodedSegment, decoded_of
from dropscribe.engine.models.paraformer.packed_decoder import Looking, PackedDecoder
from dropscribe.engine.models.paraformer.packed_seaco import PackedBias, PackedHotwords, side_by_side
from dropscribe.engine.models.paraformer.packed_times import PackedTimestamps
from dropscribe.engine.models.paraformer.seaco import has_bias


@dataclass(frozen=True, slots=True)
class _Times:
    """Output of the timestamp branch for a batch."""

    alpha: Tensor  #: (batch, 3 · longest) float32, once `done`
    done: torch.cuda.Event


@dataclass(frozen=True, slots=True)
class Encoded:
    """A batch after `begin`. Segments with hotwords come first, those with the same list adjacent."""

    order: list[int]  #: original index of each segment
    hotwords: list[PackedHotwords]  #: of the first segments; the others have none
    rows: list[int]
    frames: Rows
    hidden: Tensor  #: (rows, D) float16, packed
    padded: Tensor  #: (batch, longest, D) float16
    total: Tensor  #: cumulative sum of α, (batch, longest) float64
    counts: Tensor  #: (batch,) int64, pinned on the host once `counted`
    counted: torch.cuda.Event
    times: Future[_Times] | None


@dataclass(frozen=True, slots=True)
class Decoded:
    """A batch after `decode`, whose result is being copied to the host."""

    order: list[int]  #: original index of each segment
    rows: list[int]
    counts: list[int]
    ids: Tensor  #: (tokens,) int32, pinned
    sure: Tensor  #: (tokens,) uint8, pinned
    fires: Tensor | None  #: (batch, most + 1) int32, pinned
    done: torch.cuda.Event


class PackedForward:
    """Segments packed without padding. Owned by the worker's thread."""

    def __init__(
        self, module: Any, frontend: Any, device: torch.device, silent: Collection[int] = range(SILENT_IDS)
    ) -> None:
        """`module`: FunASR's Paraformer, BiCifParaformer or SeacoParaformer on `device`, in evaluation mode.

        `silent`: as of `forward.PaddedForward`.
        """
        self._device = device
        cmvn = torch.as_tensor(np.asarray(frontend.cmvn))
        self._frontend = Frontend(cmvn, stack=frontend.lfr_m, skip=frontend.lfr_n, device=device)
        self._encoder = PackedEncoder(module.encoder)
        self._predictor = Predictor(module.predictor, HALF)
        self._decoder = PackedDecoder(module.decoder)
        has_times = hasattr(module.predictor, "get_upsample_timestamp")
        self._times = PackedTimestamps(module.predictor, HALF) if has_times else None
        self._bias = PackedBias(module, device, silent) if has_bias(module) else None
        # Of no higher priority: punctuation, whose few kernels a person waits for, would wait behind its thousands.
        self._times_stream = torch.cuda.Stream(device)
        self._launcher = ThreadPoolExecutor(1, thread_name_prefix="timestamps")

    def encode_hotwords(self, words: Sequence[Sequence[int]]) -> PackedHotwords | None:
        """Encode hotwords, given as token numbers, for `begin`; None for a model without hotword support."""
        return None if self._bias is None else self._bias.encode(words)

    def begin(self, sounds: Sequence[Sound], hotwords: Sequence[PackedHotwords | None] = ()) -> Encoded:
        """Launch features, encoder, predictor and timestamp branch.

        hotwords: results of `encode_hotwords`, one per segment, or empty; segments with the same list must have the
        same object.
        """
        order = side_by_side(hotwords) if hotwords else [*range(len(sounds))]
        lists = [words for i in order if hotwords and (words := hotwords[i]) is not None]
        features = self._frontend([sounds[i] for i in order])
        frames = rows_of(features.rows, self._device)
        hidden = self._encoder(features.packed, frames)
        lengths = frames.ends.diff().long()
        longest = frames.longest
        keep = torch.arange(longest, device=self._device)[None] < lengths[:, None]
        place = torch.arange(hidden.shape[0], device=self._device) - frames.first
        owner = torch.repeat_interleave(lengths, output_size=hidden.shape[0])
        padded = hidden.new_zeros(len(sounds) * longest, hidden.shape[1])
        padded.index_copy_(0, owner * longest + place, hidden)
        padded = padded.unflatten(0, (len(sounds), longest))
        alpha, convolved = self._predictor.weights(padded, keep)
        total = alpha.double().cumsum(dim=1)
        counts = to_host(total[:, -1].floor().long())
        times = self._begin_times(padded, convolved, features.rows)
        return Encoded(order, lists, features.rows, frames, hidden, padded, total[:, :-1], *counts, times)

    def ready(self, batch: Encoded) -> bool:
        """True if `wait_for` would not wait."""
        return batch.counted.query() and (batch.times is None or batch.times.done())

    def wait_for(self, batch: Encoded | Decoded) -> None:
        """Wait for what the next step, `decode` or `collect`, needs on the host."""
        if isinstance(batch, Decoded):
            batch.done.synchronize()
            return
        batch.counted.synchronize()
        if batch.times is not None:
            # Another thread launches them.
            batch.times.result()

    def decode(self, batch: Encoded) -> Decoded:
        """Launch the decoder, after `wait_for`."""
        counts = batch.counts.tolist()
        if not any(counts):
            # No tokens at all, and kernels do not accept an empty batch.
            nothing = torch.empty(0, dtype=torch.int32)
            unsure = torch.empty(0, dtype=torch.uint8)
            return Decoded(batch.order, batch.rows, counts, nothing, unsure, None, batch.counted)
        most = max(counts)
        tokens = rows_of(counts, self._device)
        embeds = integrate(batch.padded.float(), batch.total, most)
        place = torch.arange(tokens.first.numel(), device=self._device) - tokens.first
        owner = torch.repeat_interleave(tokens.ends.diff().long(), output_size=sum(counts))
        packed = embeds.flatten(0, 1)[owner * most + place]
        looking = Looking(tokens, batch.frames)
        decoded = self._decoder.hidden(packed, tokens, self._decoder.sources(batch.hidden), looking)
        best = self._biased(batch, counts, self._decoder.tokens(decoded), packed, decoded)
        fires = self._fires(batch, best.ids, owner, most)
        host_ids, _ = to_host(best.ids.int())
        host_sure, done = to_host(best.sure)
        host_fires = None
        if fires is not None:
            host_fires, done = to_host(fires.int())
        return Decoded(batch.order, batch.rows, counts, host_ids, host_sure, host_fires, done)

    def collect(self, batch: Decoded) -> DecodedBatch:
        """The result, after `wait_for`; its `order` is that given to `begin`."""
        fires = None if batch.fires is None else batch.fires.numpy()
        times = 1 if self._times is None else self._times.times
        frames = [rows * times for rows in batch.rows]
        return decoded_of(batch.ids.numpy(), batch.sure.numpy(), batch.counts, fires, frames, batch.order)

    def __call__(
        self, sounds: Sequence[Sound], hotwords: Sequence[PackedHotwords | None] = ()
    ) -> list[DecodedSegment]:
        """Run all steps; one `DecodedSegment` per segment, in order."""
        encoded = self.begin(sounds, hotwords)
        self.wait_for(encoded)
        decoded = self.decode(encoded)
        self.wait_for(decoded)
        return self.collect(decoded).segments()

    def _biased(self, batch: Encoded, counts: list[int], best: Best, embeds: Tensor, decoded: Tensor) -> Best:
        """Tokens after hotword biasing."""
        own = counts[: len(batch.hotwords)]
        end = sum(own)
        if self._bias is None or not end:
            return best
        first, rest = best.rows(slice(end)), best.rows(slice(end, None))
        biased = self._bias(first, embeds[:end], decoded[:end], own, batch.hotwords)
        return Best(torch.cat((biased.ids, rest.ids)), torch.cat((biased.sure, rest.sure)))

    def _begin_times(self, padded: Tensor, convolved: Tensor, rows: list[int]) -> Future[_Times] | None:
        if self._times is None:
            return None
        ready = torch.cuda.Event()
        ready.record()
        return self._launcher.submit(self._run_times, self._times, (padded, convolved), rows, ready)

    def _run_times(
        self,
        branch: PackedTimestamps,
        inputs: tuple[Tensor, Tensor],
        rows: list[int],
        ready: torch.cuda.Event,
    ) -> _Times:
        """Run the branch, in the launcher's thread: launching thousands of small kernels would delay the encoder."""
        with torch.inference_mode(), torch.cuda.stream(self._times_stream):
            self._times_stream.wait_event(ready)
            alpha = branch.weights(*inputs, rows)
            for used in inputs:
                # The allocator must not reuse their memory on the main stream while this stream reads it.
                used.record_stream(self._times_stream)
            done = torch.cuda.Event()
            done.record(self._times_stream)
        return _Times(alpha, done)

    def _fires(self, batch: Encoded, ids: Tensor, owner: Tensor, most: int) -> Tensor | None:
        if batch.times is None:
            return None
        times = batch.times.result()
        main = torch.cuda.current_stream(self._device)
        main.wait_event(times.done)
        times.alpha.record_stream(main)
        said = torch.zeros(len(batch.rows), dtype=torch.int64, device=self._device)
        said.index_add_(0, owner, (ids >= SILENT_IDS).long())
        counts = batch.counts.to(self._device, non_blocking=True)
        return Timestamps.fires(times.alpha, counts, said, most)
