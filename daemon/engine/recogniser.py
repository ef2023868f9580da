"""Paraformer and BiCifParaformer over a batch of segments, by our own inference path.

What a segment yields does not depend on what else is in its batch, and equals FunASR's `inference` of the segment alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from daemon.engine.hypotheses import LEAST_SAMPLES, Span, hypothesis
from daemon.engine.loading import LoadedModel, device_faults
from daemon.engine.paraformer.forward import SILENT_IDS, PaddedForward, Spoken
from daemon.engine.paraformer.timestamps import spans_of
from daemon.engine.stages import Hypothesis, Pcm, SpeechSegment
from daemon.errors import EngineError

Forward = Callable[[Sequence[Pcm]], list[Spoken]]


class ParaformerRecogniser:
    """One forward pass per call. Owned by the worker's thread."""

    def __init__(self, loaded: LoadedModel, precision: str = "fp32") -> None:
        """`precision`: "fp32", on any device, or "fp16", on CUDA. Raises EngineError for a vocabulary we do not know."""
        special = {getattr(loaded.module, name, None) for name in ("blank_id", "sos", "eos")}
        if special != set(range(SILENT_IDS)):
            raise EngineError(
                f"blank, start and end of sentence are {special}, not the first three tokens",
                operation="load model",
                path=loaded.directory,
                remedy="use a model of FunASR's Paraformer family",
            )
        self._tokenizer = loaded.tokenizer
        self._forward = _forward(loaded, precision)

    def __call__(self, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        """See `daemon.engine.stages.Recogniser`."""
        long_enough = [s for s in segments if len(s.pcm) >= LEAST_SAMPLES]
        said = [Hypothesis(s.stream, s.index, "", ()) for s in segments if len(s.pcm) < LEAST_SAMPLES]
        if long_enough:
            with device_faults(), torch.inference_mode():
                spoken = self._forward([s.pcm for s in long_enough])
            said += [self._hypothesis(s, one) for s, one in zip(long_enough, spoken, strict=True)]
        return said

    def _hypothesis(self, segment: SpeechSegment, spoken: Spoken) -> Hypothesis:
        tokens: list[str] = self._tokenizer.ids2tokens(spoken.ids)
        return hypothesis(segment, tokens, _spans(spoken))


def _spans(spoken: Spoken) -> list[Span] | None:
    """Where each token stands; None if the model found no place for them (all its weights are zero)."""
    if spoken.fires is None or (spoken.fires and spoken.fires[0] >= spoken.frames):
        return None
    return spans_of(spoken.fires, spoken.frames)


def _forward(loaded: LoadedModel, precision: str) -> Forward:
    if precision == "fp16":
        # Imports Triton, which comes with CUDA builds of torch only.
        from daemon.engine.paraformer.packed_forward import PackedForward  # noqa: PLC0415

        return PackedForward(loaded.module, loaded.frontend, loaded.device)
    return PaddedForward(loaded.module, loaded.frontend, loaded.device)
