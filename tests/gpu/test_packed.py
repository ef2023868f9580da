"""The half-precision packed path on CUDA says what the fp32 padded path says, and does not care who shares its batch."""

# ruff: noqa: PLC0415 - torch takes seconds and warns at import: only where a test runs it

from __future__ import annotations

import wave
from typing import Any

import numpy as np
import pytest

from dropscribe.engine.core.interfaces import Pcm
from dropscribe.engine.models import store
from tests.support.engines import ON_GPU, segment

pytestmark = ON_GPU


@pytest.fixture(scope="module")
def loaded() -> Any:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    from dropscribe.engine.models.loading import load

    return load(store.BUNDLED / "paraformer-mini", torch.device("cuda:0"), 1)


def pieces() -> list[Pcm]:
    with wave.open(str(store.SAMPLE)) as file:
        said = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    cuts = ((0.28, 4.53), (5.29, 8.78), (9.55, 13.28), (0.0, 14.35), (5.3, 6.0), (10.0, 10.3), (0.0, 0.05))
    return [said[int(a * 16_000) : int(b * 16_000)] for a, b in cuts]


def test_fp16_hears_the_same_tokens_at_the_same_places(loaded: Any) -> None:
    import torch

    from dropscribe.engine.models.paraformer.forward import PaddedForward
    from dropscribe.engine.models.paraformer.packed_forward import PackedForward

    with torch.inference_mode():
        exact = PaddedForward(loaded.module, loaded.frontend, loaded.device)(pieces())
        half = PackedForward(loaded.module, loaded.frontend, loaded.device)(pieces())
    assert [s.ids for s in half] == [s.ids for s in exact]
    for a, b in zip(half, exact, strict=True):
        assert a.frames == b.frames
        if a.ids:
            # One frame is 20 ms; a fire close to the border between two may fall into either.
            assert np.abs(np.array(a.fires) - np.array(b.fires)).max() <= 1


def test_a_segment_gives_the_same_alone_and_among_others(loaded: Any) -> None:
    import torch

    from dropscribe.engine.models.paraformer.packed_forward import PackedForward

    forward = PackedForward(loaded.module, loaded.frontend, loaded.device)
    with torch.inference_mode():
        together = forward(pieces())
        alone = [forward([p])[0] for p in pieces()]
    assert [s.ids for s in together] == [s.ids for s in alone]


def test_a_batch_in_which_nothing_is_said_is_no_fault(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from dropscribe.engine.models.paraformer.packed_forward import PackedForward

    silent = [np.zeros(n, np.int16) for n in (400, 1_000)]
    forward = PackedForward(loaded.module, loaded.frontend, loaded.device)
    # Whatever the weights are: nothing is counted in any segment.
    monkeypatch.setattr(
        forward._predictor,
        "weights",
        lambda padded, keep: (torch.zeros(keep.shape[0], keep.shape[1] + 1, device=keep.device), padded),
    )
    with torch.inference_mode():
        assert [s.ids for s in forward(silent)] == [[], []]


def test_batches_under_way_do_not_mix(loaded: Any) -> None:
    from dropscribe.engine.models.paraformer.recogniser import PipelinedParaformer

    recogniser = PipelinedParaformer(loaded)
    batches = [[segment(p, b, i) for i, p in enumerate(pieces()[b : b + 3])] for b in range(4)]
    handles = [recogniser.begin(b) for b in batches]
    said = [recogniser.finish(h) for h in handles]
    for batch, hypotheses in zip(batches, said, strict=True):
        alone = {h.index: h for h in recogniser(batch)}
        assert {h.index: h.text for h in hypotheses} == {i: h.text for i, h in alone.items()}
        assert sorted(h.index for h in hypotheses) == [s.index for s in batch]
