"""SenseVoiceSmall recogniser over batches of segments.

The result of a segment does not depend on the rest of its batch, and equals FunASR's `inference` of the segment alone.
The tags of language, emotion and sound event are apart from the text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dropscribe.engine.core.interfaces import Hypothesis, SpeechSegment
from dropscribe.engine.core.turns import TURNS
from dropscribe.engine.layers.fbank import Sound, frames_in, sound_of
from dropscribe.engine.layers.thread_groups import ThreadGroups
from dropscribe.engine.models.loading import LoadedModel, device_faults
from dropscribe.engine.models.sense_voice.collapse import DecodedSegment
from dropscribe.engine.models.sense_voice.encoder import queries
from dropscribe.engine.models.sense_voice.forward import PaddedForward
from dropscribe.engine.models.text.hypotheses import long_enough, of_words
from dropscribe.engine.models.text.pieces import Pieces
from dropscribe.engine.protocol import AUTO
from dropscribe.errors import EngineError

if TYPE_CHECKING:
    from dropscribe.engine.models.sense_voice.packed_forward import Launched

Forward = Callable[[Sequence[Sound], Tensor], list[DecodedSegment]]
#: Frames of 10 ms in the largest task of a thread, without padding.
TASK_FRAMES = 2_000
#: Output of the model for audio without speech; FunASR's own postprocessing removes it, too.
NOTHING_SAID = "The."


def _padded(loaded: LoadedModel, threads: int) -> Forward:
    padded = PaddedForward(loaded.module, loaded.frontend, loaded.device)
    if threads == 1 or loaded.device.type != "cpu":
        return padded
    groups = ThreadGroups(threads, TASK_FRAMES)

    def forward(sounds: Sequence[Sound], queries: Tensor) -> list[DecodedSegment]:
        each = queries.expand(len(sounds), -1, -1)
        return groups(
            [frames_in(sound) for sound in sounds],
            lambda group: padded([sounds[i] for i in group], each[group]),
        )

    return forward


class SenseVoiceRecogniser:
    """One forward pass per call. Owned by the worker's thread."""

    takes_frames = True

    def __init__(self, loaded: LoadedModel, forward: Forward | None = None, *, threads: int = 1) -> None:
        """Use fp32 unless another `forward` is given. Raises EngineError for an unsupported model or option.

        threads: on a CPU, those that share a batch.
        """
        processor = getattr(loaded.tokenizer, "sp", None)
        if processor is None or getattr(loaded.frontend, "cmvn", None) is None:
            lacking = "sentence piece model" if processor is None else "mean and variance of its features"
            raise EngineError(
                f"it has no {lacking}",
                operation="load model",
                path=loaded.directory,
                remedy="check that the directory is complete, or fetch the model again",
            )
        self._pieces = Pieces.of(processor)
        self._questions = Questions(loaded)
        self._forward = forward or _padded(loaded, threads)

    @property
    def languages(self) -> tuple[str, ...]:
        """See `dropscribe.engine.core.interfaces.Multilingual`."""
        return self._questions.languages

    def __call__(self, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        """See `dropscribe.engine.core.interfaces.Recogniser`."""
        kept, hypotheses = long_enough(segments)
        if kept:
            with device_faults(), torch.inference_mode():
                decoded = self._forward([sound_of(s) for s in kept], self._questions.of(kept))
            hypotheses += self._hypotheses(kept, decoded)
        return hypotheses

    def _hypotheses(
        self, segments: Sequence[SpeechSegment], decoded: Sequence[DecodedSegment]
    ) -> list[Hypothesis]:
        return [self._hypothesis(s, one) for s, one in zip(segments, decoded, strict=True)]

    def _hypothesis(self, segment: SpeechSegment, decoded: DecodedSegment) -> Hypothesis:
        words, tags = self._pieces.words(decoded.ids, decoded.spans), self._pieces.tags(decoded.ids)
        if words.text == NOTHING_SAID:
            return of_words(segment, "", [], [])._replace(tags=tags)
        return of_words(segment, words.text, words.words, words.spans)._replace(tags=tags)


class Questions:
    """The query vectors of the model: language, punctuation and ITN."""

    def __init__(self, loaded: LoadedModel) -> None:
        """Language detected automatically, with punctuation and ITN by default.

        The options `language` and `use_itn` in a model directory's config.yaml (FunASR's own names) override that for
        streams that ask for no language. Raises EngineError for a language unknown to the model (FunASR silently uses
        `auto` then).
        """
        default = str(loaded.options.get("language", AUTO))
        known = sorted(loaded.module.lid_dict)
        if default not in known:
            raise EngineError(
                f"it does not know the language {default}",
                operation="load model",
                path=loaded.directory,
                remedy=f"set language in its config.yaml to one of {', '.join(known)}",
            )
        style = "withitn" if loaded.options.get("use_itn", True) else "woitn"
        self._by_language = {name: queries(loaded.module, name, style) for name in known}
        self._default = self._by_language[default]
        #: Languages that a stream may ask for.
        self.languages = tuple(name for name in known if name not in {AUTO, "nospeech"})

    def of(self, segments: Sequence[SpeechSegment]) -> Tensor:
        """Query vectors, (4, F) if all segments have the same, else (B, 4, F), float32."""
        wanted = [s.options.language for s in segments]
        made = [self._default if name == AUTO else self._by_language[name] for name in wanted]
        return made[0] if len(set(wanted)) == 1 else torch.stack(made)


@dataclass(slots=True, eq=False)
class _UnderWay:
    """A batch of a `PipelinedSenseVoice`. Owned by the worker's thread."""

    segments: list[SpeechSegment]
    empty: list[Hypothesis]  #: of segments too short for a frame
    words: Future[list[Hypothesis]] | None = None


class PipelinedSenseVoice(SenseVoiceRecogniser):
    """Recogniser on CUDA in half precision with three batches under way.

    One runs on the device, one is queued behind it, one is converted to text in a separate thread.
    """

    depth = 3

    def __init__(self, loaded: LoadedModel) -> None:
        # Imported here, since Triton comes only with CUDA builds of torch.
        from dropscribe.engine.models.sense_voice.packed_forward import PackedForward  # noqa: PLC0415

        self._packed = PackedForward(loaded.module, loaded.frontend, loaded.device)
        super().__init__(loaded, self._packed)
        self._words = ThreadPoolExecutor(1, thread_name_prefix="words")

    def begin(self, segments: Sequence[SpeechSegment]) -> _UnderWay:
        """See `dropscribe.engine.core.interfaces.Pipelined`."""
        batch = _UnderWay(*long_enough(segments))
        if batch.segments:
            with TURNS, device_faults(), torch.inference_mode():
                asked = self._questions.of(batch.segments)
                launched = self._packed.begin([sound_of(s) for s in batch.segments], asked)
            batch.words = self._words.submit(self._in_words, batch.segments, launched)
        return batch

    def ready(self, handle: _UnderWay) -> bool:
        """See `dropscribe.engine.core.interfaces.Pipelined`."""
        return handle.words is None or handle.words.done()

    def finish(self, handle: _UnderWay) -> Sequence[Hypothesis]:
        """See `dropscribe.engine.core.interfaces.Pipelined`."""
        return handle.empty if handle.words is None else handle.empty + handle.words.result()

    def _in_words(self, segments: Sequence[SpeechSegment], launched: Launched) -> list[Hypothesis]:
        """Wait for a batch and convert its tokens to text, in the thread `words`."""
        with device_faults():
            self._packed.wait_for(launched)
        with TURNS:
            return self._hypotheses(segments, self._packed.collect(launched))
