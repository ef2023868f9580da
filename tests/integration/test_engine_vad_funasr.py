"""Regions of the streaming detector equal FunASR's offline run with fixed silence, for any block size."""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

import wave
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dropscribe.engine.core.interfaces import Pcm, Region
from dropscribe.engine.models import store
from dropscribe.errors import EngineError
from tests.support.engines import FUNASR_WARNS
from tests.support.models import change, copy_of

pytestmark = FUNASR_WARNS

Find = Callable[[Path, Pcm], list[Region]]
RATE = 16_000


def speech() -> Pcm:
    with wave.open(str(store.SAMPLE)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def synthetic() -> dict[str, Pcm]:
    rng = np.random.default_rng(7)
    said = speech()
    silence = np.zeros(RATE, np.int16)
    noise = rng.normal(0, 300, 3 * RATE).astype(np.int16)
    talk = said[int(0.5 * RATE) : int(4.3 * RATE)]  # within one sentence: no pause to cut at
    return {
        "nothing": np.zeros(0, np.int16),
        "less than a frame": said[5000:5399],
        "one frame": said[5000:5400],
        "three frames": said[5000:5720],
        "silence": np.tile(silence, 3),
        "noise": noise,
        "speech to the last sample": said[: int(3 * RATE)],
        "sentences and pauses": np.concatenate([said, noise, said[: 5 * RATE], silence, said]),
        "over a minute without a pause": np.tile(talk, 20),
        "exactly two minutes": np.resize(said, 120 * RATE),
    }


@pytest.fixture(scope="module")
def ours() -> Callable[[Path, Pcm, int], list[Region]]:
    import torch

    from dropscribe.engine.models.loading import load
    from dropscribe.engine.vad.model import FsmnVadModel

    torch.set_num_threads(1)

    @cache
    def model(directory: Path) -> FsmnVadModel:
        return FsmnVadModel(load(directory, torch.device("cpu"), 1))

    def find(directory: Path, pcm: Pcm, block: int) -> list[Region]:
        detector = model(directory).open()
        found: list[Region] = []
        for at in range(0, len(pcm), block):
            found += detector.accept(pcm[at : at + block], final=False)
        return [*found, *detector.accept(pcm[:0], final=True)]

    return find


@pytest.fixture(scope="module")
def funasr() -> Find:
    import torch
    from funasr import AutoModel

    @cache
    def model(directory: Path) -> Any:
        return AutoModel(model=str(directory), device="cpu", ncpu=1, disable_update=True, disable_pbar=True)

    def find(directory: Path, pcm: Pcm) -> list[Region]:
        if len(pcm) < 400:  # FunASR fails for less than one frame
            return []
        samples = torch.from_numpy(pcm.astype(np.float32) / 32768)
        result = model(directory).generate(input=samples, fs=RATE, dynamic_silence=False)
        return [Region(start, end) for start, end in result[0]["value"]]

    return find


@pytest.mark.parametrize("name", synthetic())
def test_generated_audio_gives_the_regions_of_funasr(
    name: str, ours: Callable[[Path, Pcm, int], list[Region]], funasr: Find
) -> None:
    directory = store.BUNDLED / "vad-mini"
    pcm = synthetic()[name]
    wanted = funasr(directory, pcm)
    for block in (163_840, 7_919, max(1, len(pcm))):
        assert ours(directory, pcm, block) == wanted, f"in blocks of {block} samples"


@pytest.mark.parametrize("frontend", ["WavFrontend", "wav_frontend"])
def test_a_model_with_the_other_front_end_finds_the_same(
    frontend: str, ours: Callable[[Path, Pcm, int], list[Region]], funasr: Find, tmp_path: Path
) -> None:
    """Fine-tuned models and FunASR's template name this front end; only its streaming differs."""
    directory = change(
        copy_of(store.BUNDLED / "vad-mini", tmp_path / "m"), lambda c: c.update(frontend=frontend)
    )
    for name, pcm in synthetic().items():
        wanted = funasr(store.BUNDLED / "vad-mini", pcm)
        for block in (163_840, 7_919):
            assert ours(directory, pcm, block) == wanted, name


@pytest.mark.parametrize(
    "option", [{"dither": 1.0}, {"snip_edges": False}, {"lfr_n": 6}, {"fs": 8000}, {"frame_shift": 20}]
)
def test_a_front_end_that_computes_something_else_is_refused(option: dict[str, Any], tmp_path: Path) -> None:
    import torch

    from dropscribe.engine.models.loading import load
    from dropscribe.engine.vad.model import FsmnVadModel

    directory = change(
        copy_of(store.BUNDLED / "vad-mini", tmp_path / "m"), lambda c: c["frontend_conf"].update(option)
    )
    with pytest.raises(EngineError, match="not supported"):
        FsmnVadModel(load(directory, torch.device("cpu"), 1))


def test_the_made_audio_has_speech_to_find(ours: Callable[[Path, Pcm, int], list[Region]]) -> None:
    """So that the equality above is not that of two empty lists."""
    directory = store.BUNDLED / "vad-mini"
    assert len(ours(directory, speech(), 163_840)) == 3
    long = ours(directory, synthetic()["over a minute without a pause"], 163_840)
    assert max(r.end_ms - r.start_ms for r in long) > 30_000
    assert ours(directory, synthetic()["silence"], 163_840) == []


@pytest.mark.shared
@pytest.mark.parametrize("model", ["fsmn-vad", "vad-mini"])
def test_real_recordings_give_the_regions_of_funasr(
    model: str, shared: Path, ours: Callable[[Path, Pcm, int], list[Region]], funasr: Find
) -> None:
    import soundfile

    directory = shared / "models" / model
    folder = shared / "data" / "recordings"
    paths = sorted([*folder.rglob("*.wav"), *folder.rglob("*.flac")])
    assert len(paths) > 60
    regions = 0
    for path in paths:
        samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
        if rate != RATE:
            continue
        pcm = np.ascontiguousarray(samples[:, 0])
        wanted = funasr(directory, pcm)
        regions += len(wanted)
        for block in (163_840, 12_345):
            assert ours(directory, pcm, block) == wanted, path.name
    assert regions > 60


@pytest.mark.usefixtures("ours")
def test_a_recogniser_is_refused_as_detector() -> None:
    import torch

    from dropscribe.engine.models.loading import load
    from dropscribe.engine.vad.model import FsmnVadModel

    loaded = load(store.BUNDLED / "paraformer-mini", torch.device("cpu"), 1)
    with pytest.raises(EngineError, match="not a voice activity detector"):
        FsmnVadModel(loaded)
