"""Recogniser for other FunASR models through `AutoModel.generate`: one segment at a time, and slower."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from funasr import AutoModel
from funasr.utils import postprocess_utils

from dropscribe.engine.core.interfaces import Hypothesis, SpeechSegment
from dropscribe.engine.models.loading import cannot_build, device_faults
from dropscribe.engine.models.model_config import read_model_config
from dropscribe.engine.models.text import spacing
from dropscribe.engine.models.text.joining import join_tokens, join_words
from dropscribe.engine.models.text.tags import TAG, tags_of
from dropscribe.engine.models.weights import load_weights
from dropscribe.transcript.types import Tokens


class AutoModelRecogniser:
    """Recogniser that passes segments to FunASR. Owned by the worker's thread."""

    def __init__(self, directory: Path, device: torch.device, threads: int) -> None:
        """Load the model. Raises EngineError if FunASR cannot build it, or if its weights do not match."""
        config = read_model_config(directory)
        try:
            self._model = AutoModel(
                **config.options,
                device=str(device),
                ncpu=threads,
                disable_update=True,
                disable_pbar=True,
                log_level="ERROR",
            )
        except Exception as e:
            raise cannot_build(config, e) from e
        load_weights(self._model.model, config.weights, directory)

    def __call__(self, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        """See `dropscribe.engine.core.interfaces.Recogniser`."""
        return [self._one(s) for s in segments]

    def _one(self, segment: SpeechSegment) -> Hypothesis:
        assert segment.pcm is not None, "it takes no frames"
        wave = torch.from_numpy(segment.pcm.astype(np.float32) / 32768.0)
        with device_faults(), _own_joining():
            results: Any = self._model.generate(input=wave, fs=16_000)
        # Without speech FunASR returns an empty list.
        result = results[0] if results else {}
        whole = str(result.get("text", ""))
        text, tags = TAG.sub("", whole).strip(), tags_of(TAG.findall(whole))
        times = result.get("timestamp") or []
        words = spacing.split(text)
        if len(times) != len(words) and len(times) == len(text.split()):
            # With timestamps FunASR's text is its words, separated by spaces.
            words = text.split()
        if len(times) == len(words):
            starts, ends = ([segment.start_ms + int(span[i]) for span in times] for i in (0, 1))
            tokens = Tokens(words, starts, ends)
        else:
            tokens = spacing.spread(words, segment.start_ms, segment.end_ms)
        return Hypothesis(segment.stream, segment.index, spacing.join(words), tokens, tags)


@contextlib.contextmanager
def _own_joining() -> Iterator[None]:
    """Join tokens by `join_words` while FunASR runs.

    FunASR's own `sentence_postprocess` raises IndexError on some sequences and loses timestamps and subwords of others
    (see `dropscribe.engine.models.text.joining`). FunASR's models get the function from `postprocess_utils` at each
    call, so replacing it there is enough.
    """
    theirs = postprocess_utils.sentence_postprocess
    postprocess_utils.sentence_postprocess = _sentence
    try:
        yield
    finally:
        postprocess_utils.sentence_postprocess = theirs


def _sentence(
    words: Sequence[str | bytes], time_stamp: Sequence[Sequence[int]] | None = None
) -> tuple[Any, ...]:
    """Replacement of `sentence_postprocess`: (text, words), or, given timestamps in ms, (text, timestamps, words)."""
    tokens = [w if isinstance(w, str) else w.decode("utf-8") for w in words]
    if time_stamp is None:
        whole = join_tokens(tokens)
        return whole.text, whole.words
    # A model without timestamps for this segment passes an empty list.
    spans = [(int(a), int(b)) for a, b in time_stamp] if len(time_stamp) == len(tokens) else None
    joined, places = join_words(tokens, spans)
    return " ".join(joined), [list(span) for span in places or ()], joined
