"""Finding models and their sizes, and what loading leaves behind; no torch."""

from __future__ import annotations

import gc

import pytest

from dropscribe.config import EngineSettings
from dropscribe.engine import registry
from dropscribe.engine.core.residency import Part
from dropscribe.engine.models import store
from dropscribe.engine.models.families import Kind
from dropscribe.transcript.roles import ASR, NULL, PUNCTUATION, SPEAKERS, VAD

PARTS = {
    ASR: "paraformer-mini",
    VAD: "vad-mini",
    PUNCTUATION: "ct-punc-mini",
    SPEAKERS: "campplus-zh-en",
}


def shares(precision: str) -> dict[str, float]:
    """Bytes on the device of each byte of a model's weights, by role."""
    loader = registry.ModelLoader(EngineSettings(device="cuda:0", precision=precision), lambda _: None)
    return {
        role: round(
            loader.find(Part(role, name)).size / (store.BUNDLED / name / "model.pt").stat().st_size, 3
        )
        for role, name in PARTS.items()
    }


def test_only_weights_that_are_in_half_precision_take_half(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shares("fp16") == {ASR: 0.5, VAD: 1.0, PUNCTUATION: 0.5, SPEAKERS: 0.5}
    assert set(shares("fp32").values()) == {1.0}
    monkeypatch.setattr(registry, "kind_of", lambda _: Kind.AUTO_MODEL)
    assert shares("fp16")[ASR] == 1.0, "FunASR's own code runs in fp32"


def test_models_loaded_beside_recordings_are_hidden_from_the_collector_as_the_first_ones_are() -> None:
    loader = registry.ModelLoader(EngineSettings(model=NULL, device="cpu"), lambda _: None)
    found = loader.find(Part(ASR, NULL))
    gc.unfreeze()
    try:
        loader.load(found)
        assert gc.get_freeze_count() == 0, "the first ones are frozen together, when the engine is ready"
        loader.alone = False
        loader.load(found)
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
