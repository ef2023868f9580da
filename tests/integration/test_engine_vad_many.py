"""Streams that share calls of the detector get the regions of separate calls; a failed call consumes nothing."""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dropscribe.engine.core.interfaces import Pcm, Region, VadChunk
from dropscribe.engine.models import store
from dropscribe.engine.models.null import NullVad
from tests.support.engines import FUNASR_WARNS, on_cpu, sample

if TYPE_CHECKING:
    from dropscribe.engine.vad.model import FsmnVadModel

pytestmark = FUNASR_WARNS
RATE = 16_000


@pytest.fixture(scope="module")
def model() -> FsmnVadModel:
    from dropscribe.engine.vad.model import FsmnVadModel

    return FsmnVadModel(on_cpu(store.BUNDLED / "vad-mini"))


def recordings() -> list[Pcm]:
    said = sample()
    noise = np.random.default_rng(7).normal(0, 300, 3 * RATE).astype(np.int16)
    return [
        np.zeros(0, np.int16), said[5000:5399], said[5000:5400], said[5000:5880], noise, said[: 3 * RATE], said,
        np.concatenate([noise, said, noise, said[: 5 * RATE]]), np.resize(said, 100 * RATE), said[7:],
    ]  # fmt: skip


def alone(model: FsmnVadModel, pcm: Pcm) -> list[Region]:
    return list(model.open().accept(pcm, final=True))


def together(model: FsmnVadModel, pcms: list[Pcm], seed: int, most: int) -> list[list[Region]]:
    """Irregular blocks; in each call only some of the streams."""
    rng = random.Random(seed)
    vads = [model.open() for _ in pcms]
    at = [0] * len(pcms)
    found: list[list[Region]] = [[] for _ in pcms]
    left = set(range(len(pcms)))
    while left:
        chosen = rng.sample(sorted(left), rng.randint(1, len(left)))
        pieces = []
        for i in chosen:
            size = rng.choice([0, 1, 159, 400, rng.randint(0, most), most])
            part = pcms[i][at[i] : at[i] + size]
            at[i] += len(part)
            final = at[i] == len(pcms[i]) and rng.random() < 0.5
            pieces.append(VadChunk(vads[i], (part[:5], part[5:]), final))
            if final:
                left.remove(i)
        for i, regions in zip(chosen, model.accept(pieces), strict=True):
            found[i] += regions
    return found


@pytest.mark.parametrize("seed", range(4))
def test_streams_in_one_call_get_the_regions_of_single_calls(model: FsmnVadModel, seed: int) -> None:
    pcms = recordings()
    wanted = [alone(model, pcm) for pcm in pcms]
    assert sum(len(regions) for regions in wanted) > 10
    assert together(model, pcms, seed, most=163_840) == wanted


def test_overlapping_vad_passes_give_the_same_regions(model: FsmnVadModel) -> None:
    pcms = recordings()
    vads = [model.open() for _ in pcms]
    found: list[list[Region]] = [[] for _ in pcms]
    under_way: list[Any] = []
    size, longest = 50_000, max(map(len, pcms))
    for at in range(0, longest, size):
        here = [i for i, pcm in enumerate(pcms) if at < len(pcm)]
        pieces = [VadChunk(vads[i], (pcms[i][at : at + size],), at + size >= len(pcms[i])) for i in here]
        under_way.append((here, model.begin(pieces)))
        if len(under_way) > 2:
            take(found, model, *under_way.pop(0))
    for look in under_way:
        take(found, model, *look)
    assert found == [alone(model, pcm) for pcm in pcms]


def take(found: list[list[Region]], model: FsmnVadModel, streams: list[int], handle: Any) -> None:
    for i, regions in zip(streams, model.finish(handle), strict=True):
        found[i] += regions


@pytest.mark.shared
@pytest.mark.parametrize("name", ["fsmn-vad", "vad-mini"])
def test_all_real_recordings_at_once(name: str, shared: Path) -> None:
    """Single streams are compared with FunASR in test_engine_vad_funasr.py."""
    import soundfile

    from dropscribe.engine.vad.model import FsmnVadModel

    model = FsmnVadModel(on_cpu(shared / "models" / name))
    folder = shared / "data" / "recordings"
    pcms = []
    for path in sorted([*folder.rglob("*.wav"), *folder.rglob("*.flac")]):
        samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
        if rate == RATE:
            pcms.append(np.ascontiguousarray(samples[:, 0]))
    assert len(pcms) > 50
    assert together(model, pcms, 1, most=163_840) == [alone(model, pcm) for pcm in pcms]


def test_a_failed_call_consumes_no_audio(model: FsmnVadModel, monkeypatch: pytest.MonkeyPatch) -> None:
    pcms = [sample(), sample()[3 * RATE :]]
    vads = [model.open() for _ in pcms]
    found = [
        list(r)
        for r in model.accept([VadChunk(v, (p[: 2 * RATE],), False) for v, p in zip(vads, pcms, strict=True)])
    ]
    rest = [VadChunk(v, (p[2 * RATE :],), True) for v, p in zip(vads, pcms, strict=True)]

    def broken(*_: object) -> None:
        raise ArithmeticError("out of luck")

    with monkeypatch.context() as patch:
        patch.setattr(model._scorer._network, "_leave", (broken,))
        with pytest.raises(ArithmeticError):
            model.accept(rest)
    later = model.accept(rest)
    assert [[*a, *b] for a, b in zip(found, later, strict=True)] == [alone(model, pcm) for pcm in pcms]


def test_a_strange_detector_is_refused(model: FsmnVadModel) -> None:
    with pytest.raises(TypeError, match="NullVad"):
        model.accept([VadChunk(NullVad(), (sample(),), True)])


def test_the_network_is_funasrs() -> None:
    """Three streams in blocks compared with FunASR's module on each whole stream."""
    import torch

    from dropscribe.engine.vad.network import FsmnNetwork

    encoder = on_cpu(store.BUNDLED / "vad-mini").module.encoder
    network = FsmnNetwork(encoder)
    left, rng = network.left, torch.Generator().manual_seed(3)
    streams = [torch.randn(n, 400, generator=rng) for n in (70, 31, 45)]
    memory = torch.zeros(3, network.layers, left, network.width)
    scores: list[list[torch.Tensor]] = [[], [], []]
    with torch.inference_mode():
        for begin, end in ((0, 30), (30, 31), (31, 70)):
            some = [
                i for i, s in enumerate(streams) if len(s) > begin
            ]  # the second stream ends before the others
            parts = [streams[i][begin:end] for i in some]
            # The content of context rows must not matter.
            rows = torch.cat([x for part in parts for x in (torch.full((left, 400), 1e3), part)])
            ends = torch.tensor([left + len(part) for part in parts]).cumsum(0)
            begins = ends - torch.tensor([left + len(part) for part in parts])
            within = torch.arange(left)
            made, memory[some] = network(
                rows,
                memory[some],
                (begins[:, None] + within).flatten(),
                (ends[:, None] - left + within).flatten(),
            )
            for i, first, last in zip(some, begins.tolist(), ends.tolist(), strict=True):
                scores[i].append(made[first + left : last])
        for stream, got in zip(streams, scores, strict=True):
            torch.testing.assert_close(
                torch.cat(got), encoder(stream[None], cache={})[0], rtol=1e-4, atol=1e-5
            )
