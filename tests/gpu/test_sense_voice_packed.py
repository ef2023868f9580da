"""SenseVoiceSmall in packed half precision on CUDA says what the fp32 padded path says, and does not care who shares its batch."""

# ruff: noqa: PLC0415 - torch takes seconds and warns at import: only where a test runs it

from __future__ import annotations

from typing import Any

import pytest

from tests.support import sense_voice as material
from tests.support.engines import ON_GPU, segment

pytestmark = ON_GPU


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    from dropscribe.engine.models.loading import load

    folder = tmp_path_factory.mktemp("sense-voice")
    material.write(folder)
    return load(folder, torch.device("cuda:0"), 1)


@pytest.fixture(scope="module")
def packed(loaded: Any) -> Any:
    from dropscribe.engine.models.sense_voice.packed_forward import PackedForward

    return PackedForward(loaded.module, loaded.frontend, loaded.device)


@pytest.fixture(scope="module")
def asked(loaded: Any) -> Any:
    """Query vectors without a language."""
    from dropscribe.engine.models.sense_voice.recogniser import Questions

    return Questions(loaded).of([segment(material.pieces()[0])])


def test_fp16_hears_the_same_tokens_at_the_same_places(loaded: Any, packed: Any, asked: Any) -> None:
    import torch

    from dropscribe.engine.models.sense_voice.forward import PaddedForward

    exact_forward = PaddedForward(loaded.module, loaded.frontend, loaded.device)
    with torch.inference_mode():
        exact = exact_forward(material.pieces(), asked)
        half = packed(material.pieces(), asked)
        each = packed(material.pieces(), torch.stack([asked] * len(material.pieces())))
    assert [s.ids for s in each] == [s.ids for s in half]
    assert [s.ids for s in half] == [s.ids for s in exact]
    assert [s.spans for s in half] == [s.spans for s in exact]
    assert sum(len(s.ids) for s in exact) > 120


def test_hidden_states_are_those_of_fp32_but_for_rounding(loaded: Any, packed: Any) -> None:
    """Both stacks, queries and positions in front of every recording: a wrong row would be off by far more."""
    import torch

    from dropscribe.engine.layers.packed import rows_of
    from dropscribe.engine.layers.sequences import Padded
    from dropscribe.engine.models.sense_voice.encoder import SenseVoiceEncoder

    lengths = [5, 71, 1, 240]
    rows = rows_of(lengths, loaded.device)
    x = torch.randn(sum(lengths), 560, device=loaded.device, generator=torch.Generator("cuda").manual_seed(0))
    exact = SenseVoiceEncoder(loaded.module.encoder)
    with torch.inference_mode():
        half = torch.split(packed._encoder(x, rows).float(), lengths)
        alone = [
            exact(part[None], Padded(torch.ones(1, len(part), dtype=torch.bool, device=x.device)))[0]
            for part in torch.split(x, lengths)
        ]
    for a, b in zip(half, alone, strict=True):
        assert float((a - b).norm() / b.norm()) < 0.01


def test_a_segment_gives_the_same_alone_and_among_others(packed: Any, asked: Any) -> None:
    import torch

    with torch.inference_mode():
        together = packed(material.pieces(), asked)
        alone = [packed([p], asked)[0] for p in material.pieces()]
    assert [(s.ids, s.spans) for s in together] == [(s.ids, s.spans) for s in alone]


def test_batches_under_way_do_not_mix(loaded: Any) -> None:
    from dropscribe.engine.models.sense_voice.recogniser import PipelinedSenseVoice

    recogniser = PipelinedSenseVoice(loaded)
    batches = [
        [segment(p, b, i) for i, p in enumerate((*material.pieces()[b : b + 3], material.pieces()[0][:100]))]
        for b in range(4)
    ]
    handles = [recogniser.begin(b) for b in batches]
    said = [recogniser.finish(h) for h in handles]
    for batch, hypotheses in zip(batches, said, strict=True):
        alone = {h.index: h.text for h in recogniser(batch)}
        assert {h.index: h.text for h in hypotheses} == alone
        assert sorted(alone) == [s.index for s in batch]
    assert any(h.text for h in said[0])


def test_a_batch_of_nothing_but_slivers_is_a_batch_of_empty_hypotheses(loaded: Any) -> None:
    from dropscribe.engine.models.sense_voice.recogniser import PipelinedSenseVoice

    recogniser = PipelinedSenseVoice(loaded)
    sliver = segment(material.pieces()[0][:100])
    assert [h.text for h in recogniser.finish(recogniser.begin([sliver]))] == [""]
