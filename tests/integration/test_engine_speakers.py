"""CAM++ against FunASR's own, and the speakers of real recordings."""

# ruff: noqa: PLC0415 - torch and funasr take seconds: only where a test runs them

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dropscribe.engine.core.interfaces import Hypothesis, SpeechSegment
from dropscribe.engine.models.model_config import read_model_config
from dropscribe.engine.models.speakers.stage import SpeakerStage
from dropscribe.engine.models.store import BUNDLED, SAMPLE
from dropscribe.engine.protocol import Annotations, StreamOptions
from dropscribe.errors import EngineError, OutOfDeviceMemoryError
from dropscribe.scoring.references import read_rttm
from dropscribe.transcript.types import Tokens
from tests.support import speaking

if TYPE_CHECKING:
    from torch import Tensor

    from dropscribe.engine.models.speakers.embedder import Embedder, Launched, Windows

MODEL = BUNDLED / "campplus-zh-en"


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return speaking.bundled_embedder()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_embeddings_equal_those_of_funasr(embedder: Embedder) -> None:
    """On the same frames, which for FunASR are those of a Povey window."""
    import torch

    from dropscribe.engine.models.funasr_parts import _part

    model, features = _part("models.campplus.model"), _part("models.campplus.utils")
    stored = torch.load(MODEL / "model.pt", weights_only=True)
    theirs = model.CAMPPlus()
    theirs.load_state_dict(stored)
    theirs.eval()
    sound = speaking.samples(SAMPLE).astype(np.float32) / 32768
    windows = [sound[at : at + 24_000] for at in range(16_000, 64_000, 24_000)]
    frames, _, _ = features.extract_feature([torch.from_numpy(w) for w in windows])
    with torch.inference_mode():
        wanted = torch.nn.functional.normalize(theirs(frames), dim=1).numpy()
    ours = embedder(list(frames)).astype(np.float32)
    assert np.abs(ours - wanted).max() < 1e-3
    # The detector's frames, of a Hamming window, serve as well.
    detector = embedder([embedder.frames((w * 32768).astype(np.int16)) for w in windows]).astype(np.float32)
    assert (detector * wanted).sum(axis=1).min() > 0.97


def test_a_model_of_another_shape_is_refused(tmp_path: Path) -> None:
    import torch

    from dropscribe.engine.models.speakers.embedder import load_embedder

    for file in ("configuration.json", "model.pt"):
        (tmp_path / file).symlink_to(MODEL / file)
    (tmp_path / "config.yaml").write_text(
        (MODEL / "config.yaml").read_text(encoding="utf-8").replace("192", "512"), encoding="utf-8"
    )
    with pytest.raises(EngineError, match="embedding_size"):
        load_embedder(read_model_config(tmp_path), torch.device("cpu"), half=False)


def pieces(stream: int, lengths: list[int], seed: int = 0) -> tuple[list[SpeechSegment], list[Hypothesis]]:
    """Segments of the sample, `lengths` in ms, with a token every 500 ms."""
    pcm = speaking.samples(SAMPLE)
    rng = random.Random(seed)
    segments, hypotheses, at = [], [], 0
    for index, length in enumerate(lengths):
        begin = rng.randrange(len(pcm) - 16 * length)
        sound = pcm[begin : begin + 16 * length]
        options = StreamOptions(speakers=0)
        segments.append(SpeechSegment(stream, index, at, at + length, len(sound), 0.0, options, pcm=sound))
        starts = tuple(range(at, at + length, 500))
        tokens = Tokens("字" * len(starts), starts, tuple(s + 400 for s in starts))
        hypotheses.append(
            Hypothesis(stream, index, tokens.texts if isinstance(tokens.texts, str) else "", tokens)
        )
        at += length + 300
    return segments, hypotheses


def test_no_result_depends_on_batches_or_their_order(embedder: Embedder) -> None:
    streams = {1: pieces(1, [3100, 300, 900]), 2: pieces(2, [1600, 2000], seed=1)}
    every = [
        pair for segments, hypotheses in streams.values() for pair in zip(segments, hypotheses, strict=True)
    ]
    together = SpeakerStage(embedder)
    together.recognised([s for s, _ in every], [h for _, h in every])
    wanted = together.finish([1, 2])
    assert [len(wanted[n].speakers) for n in (1, 2)] == [7 + 1 + 2, 4 + 4]
    random.Random(5).shuffle(every)
    apart = SpeakerStage(embedder)
    for segment, hypothesis in every:
        apart.recognised([segment], [hypothesis])
    found = {n: apart.finish([n])[n] for n in (2, 1)}
    for number, one in wanted.items():
        assert found[number].speakers == one.speakers
        for voice, other in zip(found[number].voices, one.voices, strict=True):
            assert float(np.frombuffer(voice, "<f2").astype(float) @ np.frombuffer(other, "<f2")) > 0.999
        assert [stage for stage, _ in found[number].seconds] == ["embedding", "clustering"]


def test_too_little_speech_is_of_one_speaker(embedder: Embedder) -> None:
    stage = SpeakerStage(embedder)
    segments, hypotheses = pieces(1, [200])
    stage.recognised(segments, hypotheses)
    assert stage.finish([1])[1].speakers == b"\1"
    assert stage.finish([2]) == {2: Annotations()}, "a recording without speech"


class _Failing:
    """An embedder whose device has no room for the windows of some recordings."""

    def __init__(self, real: Embedder, limit: int) -> None:
        self._real = real
        self.batch = 4
        self.limit = limit  #: windows that fit
        self.runs_ahead = False

    def joined(self, sounds: object) -> object:
        return self._real.joined(sounds)  # type: ignore[arg-type]

    def begin(self, windows: list[Windows]) -> Launched:
        if sum(map(len, windows)) > self.limit:
            raise OutOfDeviceMemoryError("full", operation="recognise")
        return self._real.begin(windows)

    def finish(self, launched: Launched) -> object:
        return self._real.finish(launched)


def test_a_failure_costs_only_the_recordings_it_hits(embedder: Embedder) -> None:
    failing = _Failing(embedder, limit=0)
    stage = SpeakerStage(failing)  # type: ignore[arg-type]
    stage.recognised(*pieces(1, [6100]))
    failing.limit = 4
    stage.recognised(*pieces(2, [1600]))
    with pytest.raises(OutOfDeviceMemoryError):
        stage.finish([1, 2])
    with pytest.raises(OutOfDeviceMemoryError):
        stage.finish([1])
    stage.drop(1)
    assert set(stage.finish([2])[2].speakers) == {1}


def test_a_full_device_gets_smaller_batches(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    real = embedder._network.__call__

    def full(frames: Tensor) -> Tensor:
        if len(frames) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return real(frames)

    whole = embedder([torch.randn(50, 80) for _ in range(1)])
    assert whole.shape == (1, 192)
    monkeypatch.setattr(embedder, "_network", full)
    monkeypatch.setattr(embedder, "batch", 16)
    assert embedder([torch.randn(50, 80) for _ in range(5)]).shape == (5, 192)
    assert embedder.batch == 2


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "tokens", "confused"), [("2speakers_example", 0.005, 0.005), ("pyannote-sample", 0.11, 0.04)]
)
def test_tokens_have_the_right_speaker(
    shared: Path, embedder: Embedder, name: str, tokens: float, confused: float
) -> None:
    folder = shared / "data" / "speakers"
    (reference,) = read_rttm((folder / f"{name}.rttm").read_text(encoding="utf-8")).values()
    vad = shared / "models" / "fsmn-vad"
    heard = speaking.recognised(speaking.samples(folder / f"{name}.wav"), vad=vad)
    stage = SpeakerStage(embedder)
    stage.recognised(heard.segments, heard.hypotheses)
    found = stage.finish([1])[1]
    assert len(found.voices) == 2
    assert speaking.wrong_tokens(reference, heard.tokens_ms, found.speakers) <= tokens
    assert speaking.confusion(reference, speaking.turns(heard.tokens_ms, found)) <= confused


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "speakers"), [("0-four-speakers-zh", 4), ("1-two-speakers-en", 2), ("2-two-speakers-en", 2)]
)
def test_the_number_of_speakers_is_right(shared: Path, embedder: Embedder, name: str, speakers: int) -> None:
    heard = speaking.recognised(speaking.samples(shared / "data" / "speakers" / f"{name}.wav"))
    stage = SpeakerStage(embedder)
    stage.recognised(heard.segments, heard.hypotheses)
    assert len(stage.finish([1])[1].voices) == speakers
