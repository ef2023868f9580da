"""End-point rules equal FunASR's state machine on random decisions, for any chunking."""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

import random
from typing import Any

import pytest

from dropscribe.engine.core.interfaces import Region
from dropscribe.engine.models import store
from dropscribe.engine.models.model_config import read_model_config
from dropscribe.engine.vad.endpoint import Endpointer
from tests.support.endpointing import OFFICIAL
from tests.support.engines import FUNASR_WARNS

pytestmark = FUNASR_WARNS


def decisions(seed: int, frames: int) -> list[bool]:
    """Random runs of speech and silence with errors; some runs exceed the longest segment."""
    rng = random.Random(seed)
    error = rng.choice([0.0, 0.02, 0.1, 0.3])
    longest_run = rng.choice([30, 120, 900, 8000])
    states: list[bool] = []
    speech = rng.random() < 0.5
    while len(states) < frames:
        states += [speech != (rng.random() < error) for _ in range(rng.randint(1, longest_run))]
        speech = not speech
    return states[:frames]


def in_pieces(states: list[bool], seed: int) -> list[Region]:
    rng = random.Random(seed)
    endpointer = Endpointer(OFFICIAL)
    found: list[Region] = []
    at = 0
    while at < len(states):
        size = rng.choice([1, 7, 100, 1024, 20_000])
        found += endpointer.accept(states[at : at + size], final=False)
        at += size
    return found + endpointer.accept([], final=True)


@pytest.fixture(scope="module")
def funasr_vad() -> Any:
    from dropscribe.engine.models.funasr_parts import build_model

    # FunASR's class; no weights, since its network is not run.
    model, _ = build_model(read_model_config(store.BUNDLED / "vad-mini").options, 1)
    return model


def by_funasr(model: Any, states: list[bool], chunk: int) -> list[Region]:
    """Regions of FunASR's state machine, with artificial scores instead of a network's."""
    import torch

    cache = model.init_cache({})
    found: list[Region] = []
    for at in range(0, len(states), chunk):
        part = states[at : at + chunk]
        # The two are mutually exclusive; 0.01 and 0.99 are far from both thresholds.
        silence = torch.tensor([0.01 if s else 0.99 for s in part])
        scores = torch.stack([silence, 1 - silence], dim=1)[None]
        model.encoder = lambda _feats, cache, scores=scores: scores
        got = model.forward(
            feats=torch.zeros(1, len(part), 1),
            waveform=torch.zeros(1, (len(part) - 1) * 160 + 400),
            cache=cache,
            is_final=at + chunk >= len(states),
            is_streaming_input=False,
        )
        found += [Region(start, end) for batch in got for start, end in batch]
    return found


@pytest.mark.parametrize("seed", range(40))
def test_equal_to_funasr(funasr_vad: Any, seed: int) -> None:
    encoder = funasr_vad._modules.pop("encoder", None)
    try:
        rng = random.Random(1000 + seed)
        states = decisions(seed, rng.choice([1, 14, 15, 16, 40, 66, 500, 3000, 14_000]))
        assert in_pieces(states, seed) == by_funasr(funasr_vad, states, chunk=6000)
    finally:
        funasr_vad.__dict__.pop("encoder", None)
        if encoder is not None:
            funasr_vad.encoder = encoder


@pytest.mark.parametrize("seed", range(20))
def test_samples_of_a_region_were_still_needed_before_it_was_returned(seed: int) -> None:
    """`needed_from_ms` never exceeds the start of a region that is returned later."""
    endpointer = Endpointer(OFFICIAL)
    states = decisions(seed, 14_000)
    for i, state in enumerate(states):
        needed = endpointer.needed_from_ms
        final = i == len(states) - 1
        for region in endpointer.accept([state], final=final):
            assert region.start_ms >= needed


def test_unbroken_speech_is_cut_and_silence_yields_nothing() -> None:
    speech = Endpointer(OFFICIAL).accept([True] * 15_000, final=True)
    assert max(r.end_ms - r.start_ms for r in speech) <= 60_010
    assert speech[-1].end_ms == 150_000
    assert Endpointer(OFFICIAL).accept([False] * 15_000, final=True) == []


def test_the_first_region_is_returned_before_the_end_of_the_recording() -> None:
    found = Endpointer(OFFICIAL).accept([True] * 100 + [False] * 100, final=False)
    assert [r.start_ms for r in found] == [0]


def test_no_frames_yield_no_speech() -> None:
    assert Endpointer(OFFICIAL).accept([], final=True) == []
