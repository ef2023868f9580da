"""Recogniser for Paraformer, BiCifParaformer and SeacoParaformer over batches of segments.

The result of a segment does not depend on the rest of its batch, and equals FunASR's `inference` of the segment alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import torch

from dropscribe.engine.core.interfaces import NO_HOTWORDS, Hypothesis, SpeechSegment
from dropscribe.engine.core.turns import TURNS
from dropscribe.engine.layers.fbank import Sound, sound_of
from dropscribe.engine.layers.linear.product import Factors
from dropscribe.engine.models.loading import LoadedModel, device_faults
from dropscribe.engine.models.paraformer.forward import (
    SILENT_IDS,
    DecodedBatch,
    DecodedSegment,
    PaddedForward,
)
from dropscribe.engine.models.paraformer.joined_forward import JoinedForward
from dropscribe.engine.models.paraformer.seaco import has_bias
from dropscribe.engine.models.paraformer.timestamps import times_of
from dropscribe.engine.models.text.decoded import DecodedTokens
from dropscribe.engine.models.text.hypotheses import long_enough
from dropscribe.engine.models.text.vocabulary import Vocabulary, silent_ids, vocabulary_of
from dropscribe.errors import EngineDiedError, EngineError, release_traceback

if TYPE_CHECKING:
    from dropscribe.engine.models.paraformer.packed_forward import Decoded, Encoded

#: Encoded hotword lists in the cache; there is one list for each profile with hotwords.
LISTS_KEPT = 64


class Forward(Protocol):
    """Forward pass of a model on its device. The type of encoded hotwords is private to each implementation."""

    def encode_hotwords(self, words: Sequence[Sequence[int]]) -> Any:
        """Encode a list of hotwords, given as token numbers; called only if the model supports hotwords."""

    def __call__(self, sounds: Sequence[Sound], hotwords: Sequence[Any]) -> list[DecodedSegment]:
        """Recognise a batch; hotwords: for each segment a result of `encode_hotwords`, or None."""


class ParaformerRecogniser:
    """One forward pass per call. Owned by the worker's thread."""

    takes_frames = True

    def __init__(
        self,
        loaded: LoadedModel,
        forward: Forward | None = None,
        *,
        threads: int = 1,
        factors: Factors = "fp32",
    ) -> None:
        """Use the padded forward pass unless another is given. Raises EngineError for an unsupported vocabulary.

        threads: on a CPU, those that share a batch; `factors`: see `PaddedForward`.
        """
        special = {getattr(loaded.module, name, None) for name in ("blank_id", "sos", "eos")}
        if special != set(range(SILENT_IDS)):
            raise EngineError(
                f"blank, start and end of sentence are {special}, not the first three tokens",
                operation="load model",
                path=loaded.directory,
                remedy="use a model of FunASR's Paraformer family",
            )
        self._vocabulary = vocabulary_of(loaded)
        self._forward: Forward = forward or _in_fp32(loaded, threads, factors=factors)
        self._takes_hotwords = has_bias(loaded.module)
        self._spelling = self._vocabulary.spelling
        self._encoded = lru_cache(LISTS_KEPT)(self._encode)

    def __call__(self, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        """See `dropscribe.engine.core.interfaces.Recogniser`."""
        kept, hypotheses = long_enough(segments)
        if kept:
            with device_faults(), torch.inference_mode():
                decoded = self._forward([sound_of(s) for s in kept], self._hotwords(kept))
            hypotheses += self._hypotheses(kept, DecodedBatch.of(decoded))
        return hypotheses

    def complaint(self, hotwords: Sequence[str]) -> str:
        """See `dropscribe.engine.core.interfaces.Listener`."""
        if not self._takes_hotwords:
            return NO_HOTWORDS
        return self._spelling.complaint(hotwords)

    def _hotwords(self, segments: Sequence[SpeechSegment]) -> list[Any]:
        """Encoded hotwords of each segment, or None; only lists that are not in the cache are encoded."""
        lists = [s.options.hotwords if self._takes_hotwords else () for s in segments]
        return [self._encoded(words) if words else None for words in lists]

    def _encode(self, hotwords: tuple[str, ...]) -> Any:
        return self._forward.encode_hotwords([self._spelling.numbers_of(word) for word in hotwords])

    def _hypotheses(self, segments: Sequence[SpeechSegment], decoded: DecodedBatch) -> list[Hypothesis]:
        return hypotheses_of(self._vocabulary, segments, decoded)


def hypotheses_of(
    vocabulary: Vocabulary, segments: Sequence[SpeechSegment], decoded: DecodedBatch
) -> list[Hypothesis]:
    """Hypotheses of a batch from the output for it, in any order."""
    ordered = [segments[i] for i in decoded.order]
    times = None
    if decoded.fires is not None:
        times = times_of(*decoded.fires, decoded.bounds, decoded.frames, [s.start_ms for s in ordered])
    tokens = DecodedTokens(decoded.ids, decoded.bounds, decoded.confidence, times)
    return vocabulary.hypotheses(ordered, tokens)


def _in_fp32(loaded: LoadedModel, threads: int, *, factors: Factors) -> Forward:
    parts, silent = (loaded.module, loaded.frontend), _silent(loaded)
    if loaded.device.type == "cpu":
        return JoinedForward(*parts, silent, threads=threads, factors=factors)
    return PaddedForward(*parts, loaded.device, silent)


def _silent(loaded: LoadedModel) -> set[int]:
    return {*range(SILENT_IDS), *silent_ids(loaded)}


@dataclass(slots=True, eq=False)
class _UnderWay:
    """A batch of a `PipelinedParaformer`. Owned by the worker's thread."""

    segments: list[SpeechSegment]
    empty: list[Hypothesis]  #: of segments too short for a frame
    encoded: Encoded | None = None
    words: Future[list[Hypothesis]] | None = None
    #: Error in decoding, raised by `finish` for this batch even if it occurred in a step of another batch.
    error: Exception | None = None


class PipelinedParaformer(ParaformerRecogniser):
    """Recogniser on CUDA in half precision with three batches under way.

    One is encoded on the device, the decoding of the previous one is queued behind it, and the one before is converted
    to text in a separate thread, so that the launching thread does not wait for it.
    """

    depth = 3

    def __init__(self, loaded: LoadedModel) -> None:
        # Imported here, since Triton comes only with CUDA builds of torch.
        from dropscribe.engine.models.paraformer.packed_forward import PackedForward  # noqa: PLC0415

        self._packed = PackedForward(loaded.module, loaded.frontend, loaded.device, _silent(loaded))
        super().__init__(loaded, self._packed)
        #: Batches whose decoder is not launched, oldest first.
        self._encoded_only: deque[_UnderWay] = deque()
        self._words = ThreadPoolExecutor(1, thread_name_prefix="words")

    def begin(self, segments: Sequence[SpeechSegment]) -> _UnderWay:
        """See `dropscribe.engine.core.interfaces.Pipelined`."""
        batch = _UnderWay(*long_enough(segments))
        if batch.segments:
            with TURNS, device_faults(), torch.inference_mode():
                hotwords = self._hotwords(batch.segments)
                batch.encoded = self._packed.begin([sound_of(s) for s in batch.segments], hotwords)
            self._encoded_only.append(batch)
        self._decode_counted()
        return batch

    def ready(self, handle: _UnderWay) -> bool:
        """See `dropscribe.engine.core.interfaces.Pipelined`."""
        self._decode_counted()
        return handle.encoded is None and (handle.words is None or handle.words.done())

    def finish(self, handle: _UnderWay) -> Sequence[Hypothesis]:
        """See `dropscribe.engine.core.interfaces.Pipelined`."""
        while handle.encoded is not None:
            self._decode(self._encoded_only.popleft())
        if handle.error is not None:
            raise handle.error
        return handle.empty if handle.words is None else handle.empty + handle.words.result()

    def _decode_counted(self) -> None:
        """Launch the decoder for all batches whose tokens the device has counted."""
        while self._encoded_only:
            encoded = self._encoded_only[0].encoded
            assert encoded is not None
            with device_faults():
                if not self._packed.ready(encoded):
                    return
            self._decode(self._encoded_only.popleft())

    def _decode(self, batch: _UnderWay) -> None:
        encoded, batch.encoded = batch.encoded, None
        if encoded is None:
            return
        try:
            with device_faults(), torch.inference_mode():
                self._packed.wait_for(encoded)
                with TURNS:
                    decoded = self._packed.decode(encoded)
        except EngineDiedError:
            raise
        except Exception as e:
            batch.error = release_traceback(e)
        else:
            batch.words = self._words.submit(self._in_words, batch.segments, decoded)

    def _in_words(self, segments: Sequence[SpeechSegment], decoded: Decoded) -> list[Hypothesis]:
        """Wait for a batch and convert its tokens to text, in the thread `words`; shares no mutable state."""
        with device_faults():
            self._packed.wait_for(decoded)
        with TURNS:
            return self._hypotheses(segments, self._packed.collect(decoded))
