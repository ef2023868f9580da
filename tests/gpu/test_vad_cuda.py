"""Speech found on CUDA is what is found on a CPU, whoever shares the call."""

# ruff: noqa: PLC0415 - torch takes seconds and warns at import: only where a test runs it

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from dropscribe.engine.core.interfaces import Pcm, Region, VadChunk
from dropscribe.engine.models import store
from tests.support.engines import ON_GPU
from tests.support.vad_recordings import recordings

pytestmark = ON_GPU
#: Samples a stream is given at a time, one size for each round.
ROUNDS = (163_840, 50_000, 7, 400_000)


def regions(model: Any, pcms: Sequence[Pcm]) -> list[list[Region]]:
    """All streams together, round by round."""
    vads = [model.open() for _ in pcms]
    found: list[list[Region]] = [[] for _ in pcms]
    at = 0
    for number, size in enumerate(ROUNDS):
        final = number == len(ROUNDS) - 1
        pieces = [
            VadChunk(vad, (pcm[at:] if final else pcm[at : at + size],), final)
            for vad, pcm in zip(vads, pcms, strict=True)
        ]
        for own, new in zip(found, model.accept(pieces), strict=True):
            own.extend(new)
        at += size
    return found


def regions_ahead(model: Any, pcms: Sequence[Pcm]) -> list[list[Region]]:
    """The same in pieces of 3 s, with two looks under way before the one before them is finished, as in throughput mode."""
    vads = [model.open() for _ in pcms]
    found: list[list[Region]] = [[] for _ in pcms]
    under_way: list[tuple[list[int], Any]] = []

    def take(streams: list[int], look: Any) -> None:
        for i, new in zip(streams, model.finish(look), strict=True):
            found[i].extend(new)

    size = 48_000
    for at in range(0, max(map(len, pcms)), size):
        here = [i for i, pcm in enumerate(pcms) if at < len(pcm)]
        # A copy that is overwritten at once: whoever gave the samples has them back when the look has begun.
        lent = [pcms[i][at : at + size].copy() for i in here]
        pieces = [
            VadChunk(vads[i], (part,), at + size >= len(pcms[i])) for i, part in zip(here, lent, strict=True)
        ]
        under_way.append((here, model.begin(pieces)))
        for part in lent:
            part[:] = 12_345
        if len(under_way) > 2:
            take(*under_way.pop(0))
    for look in under_way:
        take(*look)
    return found


def test_cuda_finds_the_regions_a_cpu_finds() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    from dropscribe.engine.models.loading import load
    from dropscribe.engine.vad.model import FsmnVadModel

    on_cpu, on_cuda = (
        FsmnVadModel(load(store.BUNDLED / "vad-mini", torch.device(where), 4)) for where in ("cpu", "cuda:0")
    )
    pcms = recordings()
    expected = regions(on_cpu, pcms)
    assert sum(map(len, expected)) > len(pcms)
    assert regions(on_cuda, pcms) == expected
    assert [regions(on_cuda, [pcm])[0] for pcm in pcms[:4]] == expected[:4]
    assert regions_ahead(on_cuda, pcms) == expected
