"""Forward pass on a CPU: segments one after another without padding, in tasks that threads run side by side.

The counterpart of `forward.PaddedForward`, with the same result for each segment.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dropscribe.engine.layers.best import Best, best_of
from dropscribe.engine.layers.fbank import Frontend, Sound, frames_in, stacked_of
from dropscribe.engine.layers.linear.product import Factors
from dropscribe.engine.layers.sanm import SanmDecoder, SanmEncoder
from dropscribe.engine.layers.sequences import Joined
from dropscribe.engine.layers.thread_groups import ThreadGroups
from dropscribe.engine.models.paraformer.cif import Predictor, Timestamps, integrate
from dropscribe.engine.models.paraformer.forward import SILENT_IDS, DecodedSegment
from dropscribe.engine.models.paraformer.joined_times import JoinedTimestamps
from dropscribe.engine.models.paraformer.seaco import Bias, BiasEncoder, has_bias

#: Rows of 60 ms in the largest task. Products of fewer rows are slower, those of more no faster, and take more memory.
TASK_ROWS = 400
#: Segments of a call of the timestamp branch, to limit its memory.
TIMES_SEGMENTS = 64


@dataclass(frozen=True, slots=True)
class _Spoken:
    """A segment without times."""

    ids: Tensor  #: token numbers with special tokens, (tokens,) int64
    sure: Tensor  #: (tokens,) uint8
    source: Tensor  #: input of the timestamp branch, (rows, D)

    @property
    def said(self) -> Tensor:
        """True for tokens that are not special."""
        return self.ids >= SILENT_IDS


class JoinedForward:
    """Segments one after another, on the CPU. Owned by the worker's thread."""

    def __init__(
        self,
        module: Any,
        frontend: Any,
        silent: Collection[int] = range(SILENT_IDS),
        *,
        threads: int = 1,
        factors: Factors = "fp32",
    ) -> None:
        """`module`, `frontend`, `silent`, `factors`: as of `PaddedForward`; `threads`: those that share a batch."""
        cmvn = torch.as_tensor(np.asarray(frontend.cmvn))
        self._skip = int(frontend.lfr_n)
        self._frontend = Frontend(cmvn, stack=frontend.lfr_m, skip=self._skip, device=torch.device("cpu"))
        self._encoder = SanmEncoder(module.encoder, torch.float32, factors=factors)
        self._predictor = Predictor(module.predictor, torch.float32)
        self._decoder = SanmDecoder(module.decoder, torch.float32, factors=factors)
        has_times = hasattr(module.predictor, "get_upsample_timestamp")
        self._times = JoinedTimestamps(module.predictor) if has_times else None
        self._bias_encoder = BiasEncoder(module) if has_bias(module) else None
        self._bias = Bias(module, silent) if has_bias(module) else None
        self._threads = threads
        self._groups = ThreadGroups(threads, TASK_ROWS)

    def encode_hotwords(self, words: Sequence[Sequence[int]]) -> Tensor | None:
        """See `PaddedForward.encode_hotwords`."""
        return None if self._bias_encoder is None else self._bias_encoder(words)

    def __call__(
        self, sounds: Sequence[Sound], hotwords: Sequence[Tensor | None] = ()
    ) -> list[DecodedSegment]:
        """See `PaddedForward.__call__`."""

        def run(task: list[int]) -> list[_Spoken]:
            words = [hotwords[i] for i in task] if hotwords else [None] * len(task)
            return self._spoken([sounds[i] for i in task], words)

        rows = [stacked_of(frames_in(sound), self._skip) for sound in sounds]
        spoken = self._groups(rows, run)
        times = self._times
        if times is None:
            return [_decoded(one, None, len(one.source)) for one in spoken]
        alphas = self._alphas(times, [one.source for one in spoken])
        return [
            _decoded(one, _fires(alpha, one), len(one.source) * times.times)
            for one, alpha in zip(spoken, alphas, strict=True)
        ]

    def _spoken(self, sounds: Sequence[Sound], hotwords: Sequence[Tensor | None]) -> list[_Spoken]:
        """Tokens of the segments of a task."""
        features = self._frontend(sounds)
        frames = Joined(features.rows, self._encoder.reach)
        encoded = self._encoder(frames.spread(features.packed), frames)
        embeds, sources = [], []
        for hidden in frames.of_each(encoded):
            found, convolved = self._embedded(hidden[None])
            embeds.append(found)
            sources.append(convolved if self._times is not None and self._times.from_conv else hidden)
        best = self._tokens(embeds, encoded, frames, hotwords)
        # Copies, since views would keep the whole task in memory.
        return [_Spoken(own.ids, own.sure, source.clone()) for own, source in zip(best, sources, strict=True)]

    def _embedded(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Acoustic embeddings of a segment, (tokens, D), and the predictor's convolution, (rows, D)."""
        keep = torch.ones(hidden.shape[:2], dtype=torch.bool)
        alpha, convolved = self._predictor.weights(hidden, keep)
        total = alpha.double().cumsum(dim=1)
        return integrate(hidden, total[:, :-1], int(total[0, -1]))[0], convolved[0]

    def _tokens(
        self, embeds: Sequence[Tensor], encoded: Tensor, frames: Joined, hotwords: Sequence[Tensor | None]
    ) -> list[Best]:
        """Best tokens of each segment."""
        tokens = Joined([len(own) for own in embeds], self._decoder.reach)
        if not any(len(own) for own in embeds):
            nothing = Best(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.uint8))
            return [nothing] * len(embeds)
        hidden = self._decoder.hidden(tokens.spread(torch.cat(tuple(embeds))), tokens, encoded, frames)
        decoded = tokens.of_each(hidden)
        best = best_of(self._decoder.scores(torch.cat(decoded)))
        lengths = [len(own) for own in embeds]
        each = [Best(*pair) for pair in zip(best.ids.split(lengths), best.sure.split(lengths), strict=True)]
        for i, words in enumerate(hotwords):
            if words is not None and self._bias is not None and lengths[i]:
                one = Best(each[i].ids[None], each[i].sure[None])
                everything = torch.ones(1, lengths[i], dtype=torch.bool)
                biased = self._bias(one, embeds[i][None], decoded[i][None], everything, words)
                each[i] = Best(biased.ids[0], biased.sure[0])
        return each

    def _alphas(self, times: JoinedTimestamps, sources: Sequence[Tensor]) -> list[Tensor]:
        """Weights α of all segments, in their order."""
        groups = max(-(-self._threads // len(times.parts)), -(-len(sources) // TIMES_SEGMENTS))
        # Each group gets segments of all lengths, and so as many steps as any other.
        falling = sorted(range(len(sources)), key=lambda i: (-len(sources[i]), i))
        divided = [own for first in range(groups) if (own := falling[first::groups])]
        tasks = [(part, [sources[i] for i in own]) for own in divided for part in times.parts]
        made = iter(self._groups.side_by_side(tasks, lambda task: task[0](task[1])))
        alphas: dict[int, Tensor] = {}
        for own in divided:
            parts = [next(made) for _ in times.parts]
            alphas |= dict(zip(own, times.weights([len(sources[i]) for i in own], parts), strict=True))
        return [alphas[i] for i in range(len(sources))]


def _fires(alpha: Tensor, spoken: _Spoken) -> Any:
    """Frames at which the tokens of a segment start and the last one ends, see `Timestamps.fires`."""
    said = spoken.said.sum().view(1)
    counts = torch.tensor([len(spoken.ids)])
    return Timestamps.fires(alpha[None], counts, said, int(said))[0].numpy()


def _decoded(spoken: _Spoken, fires: Any, frames: int) -> DecodedSegment:
    said = spoken.said
    return DecodedSegment(spoken.ids[said].tolist(), fires, frames, spoken.sure[said].numpy().tobytes())
