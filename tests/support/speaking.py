"""Recordings through detector, recogniser and the stage of speakers, without a process, and how right the speakers are."""

# ruff: noqa: PLC0415 - torch takes seconds: only where a test runs it

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from dropscribe.engine.core.interfaces import Hypothesis, Pcm, SpeechSegment
from dropscribe.engine.models.store import BUNDLED
from dropscribe.engine.protocol import Annotations, StreamOptions
from dropscribe.scoring.diarization import DiarizationError, Turn, diarization_error

if TYPE_CHECKING:
    from dropscribe.engine.models.speakers.embedder import Embedder


@dataclass(frozen=True)
class Recognised:
    segments: list[SpeechSegment]
    hypotheses: list[Hypothesis]

    @property
    def tokens_ms(self) -> list[tuple[int, int]]:
        return [
            (start, end)
            for h in self.hypotheses
            for start, end in zip(h.tokens.starts_ms, h.tokens.ends_ms, strict=True)
        ]


def bundled_embedder() -> Embedder:
    import torch

    from dropscribe.engine.models.model_config import read_model_config
    from dropscribe.engine.models.speakers.embedder import load_embedder

    config = read_model_config(BUNDLED / "campplus-zh-en")
    return load_embedder(config, torch.device("cpu"), half=False)


def samples(path: Path) -> Pcm:
    """A recording at 16 kHz, mixed to one channel."""
    import soxr

    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = soxr.resample(sound.mean(axis=1), rate, 16_000)
    return np.asarray(np.clip(mono * 32768, -32768, 32767).astype(np.int16))


def recognised(
    pcm: Pcm, speakers: int = 0, *, vad: Path = BUNDLED / "vad-mini", stream: int = 1
) -> Recognised:
    """Segments of a recording with the detector's frames, and their hypotheses of the bundled model."""
    import torch

    from dropscribe.engine.models.loading import load
    from dropscribe.engine.models.paraformer.recogniser import ParaformerRecogniser
    from dropscribe.engine.vad.model import FsmnVadModel

    device = torch.device("cpu")
    regions = FsmnVadModel(load(vad, device, 1)).open().accept(pcm, final=True)
    options = StreamOptions(speakers=speakers)
    segments = [
        SpeechSegment(
            stream, i, r.start_ms, r.end_ms, (r.end_ms - r.start_ms) * 16, 0.0, options, log_mel=r.log_mel
        )
        for i, r in enumerate(regions)
    ]
    found = ParaformerRecogniser(load(BUNDLED / "paraformer-mini", device, 1))(segments)
    return Recognised(segments, sorted(found, key=lambda h: h.index))


def turns(tokens_ms: Sequence[tuple[int, int]], annotations: Annotations, gap_ms: int = 1000) -> list[Turn]:
    """Consecutive tokens of one speaker with pauses of at most `gap_ms`."""
    found: list[Turn] = []
    for (start, end), number in zip(tokens_ms, annotations.speakers, strict=True):
        last = found[-1] if found else None
        if last is not None and last.speaker == str(number) and start - last.end_ms <= gap_ms:
            found[-1] = Turn(last.start_ms, end, last.speaker)
        else:
            found.append(Turn(start, end, str(number)))
    return found


def confusion(reference: Sequence[Turn], found: Sequence[Turn]) -> float:
    """Diarization error rate with the usual collar of 0.25 s, without missed and falsely found speech."""
    error: DiarizationError = diarization_error(reference, found, collar_ms=250)
    return error.confusion_ms / error.total_ms


def wrong_tokens(reference: Sequence[Turn], tokens_ms: Sequence[tuple[int, int]], numbers: bytes) -> float:
    """Share of the tokens with a speaker in the reference that have another one, by the best naming of the numbers."""
    middles = [(start + end) / 2 for start, end in tokens_ms]
    there = [{t.speaker for t in reference if t.start_ms <= at < t.end_ms} for at in middles]
    found = sorted(set(numbers))
    names = sorted({t.speaker for t in reference})
    names += [""] * max(0, len(found) - len(names))
    wrong = min(
        sum(
            bool(true) and dict(zip(found, chosen, strict=True))[n] not in true
            for n, true in zip(numbers, there, strict=True)
        )
        for chosen in itertools.permutations(names, len(found))
    )
    return wrong / max(1, sum(map(bool, there)))
