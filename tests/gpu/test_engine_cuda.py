"""The same code on CUDA: models really there, results those of the CPU, a full device survived."""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from dropscribe.config import EngineSettings
from dropscribe.engine.core.interfaces import Hypothesis, Region, SpeechSegment
from dropscribe.engine.models import store
from dropscribe.errors import OutOfDeviceMemoryError
from tests.support.engines import ON_GPU, assembled, sample, segment
from tests.support.on_gpu import through_the_engine

pytestmark = ON_GPU


@pytest.fixture(autouse=True)
def cuda() -> Iterator[None]:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device here")
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def pieces() -> list[SpeechSegment]:
    cuts = ((0.28, 4.53), (5.29, 8.78), (9.55, 13.28), (0.0, 14.35), (5.3, 6.0), (10.0, 10.3))
    parts = [sample()[int(a * 16_000) : int(b * 16_000)] for a, b in cuts]
    return [segment(p, i) for i, p in enumerate(parts)]


def test_the_engine_takes_the_gpu_and_says_the_same() -> None:
    device, said = through_the_engine("auto")
    assert device.startswith("cuda:0 (")
    assert len(said) == 3
    assert (said, "cpu") == (through_the_engine("cpu")[1], "cpu")


def test_a_mixed_batch_gives_the_words_of_the_cpu_at_its_positions() -> None:
    import torch

    from dropscribe.engine.models.loading import load
    from dropscribe.engine.models.paraformer.recogniser import ParaformerRecogniser

    said: dict[str, list[Hypothesis]] = {}
    for device in ("cpu", "cuda:0"):
        recogniser = ParaformerRecogniser(load(store.BUNDLED / "paraformer-mini", torch.device(device), 1))
        said[device] = sorted(recogniser(pieces()), key=lambda h: h.stream)
    for here, there in zip(said["cpu"], said["cuda:0"], strict=True):
        assert here.text == there.text
        for a, b in zip(here.tokens, there.tokens, strict=True):
            # The last bits of a product differ between devices, and may move a peak by one frame of 20 ms.
            assert abs(a.start_ms - b.start_ms) <= 20


def test_speech_is_found_where_the_cpu_finds_it() -> None:
    import torch

    from dropscribe.engine.models.loading import load
    from dropscribe.engine.vad.model import FsmnVadModel

    found: list[list[Region]] = []
    for device in ("cpu", "cuda:0"):
        detector = FsmnVadModel(load(store.BUNDLED / "vad-mini", torch.device(device), 1)).open()
        pcm = np.tile(sample(), 6)
        regions = [*detector.accept(pcm[:500_000], final=False), *detector.accept(pcm[500_000:], final=True)]
        found.append(regions)
    assert len(found[0]) > 10
    assert found[0] == found[1]


def test_a_full_device_is_told_as_such_and_a_smaller_batch_still_works() -> None:
    import torch

    from dropscribe.engine.models.loading import load
    from dropscribe.engine.models.paraformer.recogniser import ParaformerRecogniser

    recogniser = ParaformerRecogniser(load(store.BUNDLED / "paraformer-mini", torch.device("cuda:0"), 1))
    minute = np.resize(sample(), 60 * 16_000)
    many = [segment(minute, i) for i in range(40)]
    recogniser(many[:1])
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(0) + 1e9) / total)
    with pytest.raises(OutOfDeviceMemoryError):
        recogniser(many)
    assert next(iter(recogniser(many[:1]))).text


def test_a_share_of_the_memory_is_kept_to() -> None:
    import torch

    from dropscribe.engine import registry

    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    share = (torch.cuda.memory_reserved(0) + 12e8) / total
    settings = EngineSettings(
        model="paraformer-mini", vad_model="vad-mini", device="cuda:0", gpu_memory=share
    )
    loaded = assembled(settings)
    assert 60.0 <= loaded.batch_s < registry.CUDA_BATCH_S, "as much as fits the share"
    assert torch.cuda.memory_reserved(0) <= share * total
