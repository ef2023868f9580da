"""Official model directories with few layers and random weights load and give the text of FunASR."""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dropscribe.engine.models import store
from dropscribe.engine.models.model_config import read_model_config
from dropscribe.errors import EngineError
from dropscribe.transcript.roles import ASR, VAD
from tests.support.engines import FUNASR_WARNS, on_cpu, segment
from tests.support.models import change, save, speaking, weights_of, with_random_weights
from tests.support.seaco import pieces

pytestmark = [*FUNASR_WARNS, pytest.mark.shared]


def few_layers(config: dict[str, Any]) -> None:
    for part, layers in (("encoder_conf", 2), ("decoder_conf", 2)):
        config.get(part, {}).update(num_blocks=layers)
    if "decoder_conf" in config:
        config["decoder_conf"]["att_layer_num"] = 2
    if config["model"] == "SenseVoiceSmall":
        config["encoder_conf"]["tp_blocks"] = 1
    # Without this option FunASR adds random noise, and its text varies.
    config.get("frontend_conf", {}).setdefault("dither", 0.0)


def official(name: str, shared: Path, folder: Path) -> Path:
    """Official directory; with the vocabulary of paraformer-zh if its own is not available."""
    source = shared / "models" / "official"
    folder.mkdir()
    for path in (source / name).iterdir():
        shutil.copyfile(path, folder / path.name)
    for missing in ("tokens.json", "am.mvn"):
        if not (folder / missing).exists() and name not in ("SenseVoiceSmall", "fsmn-vad"):
            shutil.copyfile(source / "paraformer-zh" / missing, folder / missing)
    return change(folder, few_layers)


def characters_only(module: Any, tokens: list[str]) -> None:
    """Restrict a model to Chinese characters, since FunASR's joining of other tokens is not compared."""
    speaking(module)
    others = [i for i, token in enumerate(tokens) if not ("一" <= token <= "龥" and len(token) == 1)]
    module.decoder.output_layer.bias[others] = -1e4
    if hasattr(module, "hotword_output_layer"):
        module.hotword_output_layer.bias[[i for i in others if i != module.NO_BIAS]] = -1e4


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("name", ["paraformer-zh", "bicif-vad-punc", "paraformer-large"])
def test_paraformers_give_the_text_of_funasr(name: str, legacy: bool, shared: Path, tmp_path: Path) -> None:
    from funasr import AutoModel

    from dropscribe.engine.models.paraformer.recogniser import ParaformerRecogniser

    folder = official(name, shared, tmp_path / "m")
    tokens = json.loads((folder / "tokens.json").read_text(encoding="utf-8"))
    with_random_weights(folder, lambda module: characters_only(module, tokens))
    if legacy:
        save(weights_of(folder), folder / "model.pt", legacy=True)
    assert store.resolve(str(folder), ASR, lambda _: folder).config.directory == folder
    recogniser = ParaformerRecogniser(on_cpu(folder))
    model: Any = AutoModel(model=str(folder), device="cpu", ncpu=1, disable_update=True, disable_pbar=True)
    said = sorted(recogniser([segment(p, i) for i, p in enumerate(pieces())]), key=lambda h: h.stream)
    count = 0
    for one, pcm in zip(said, pieces(), strict=True):
        result = model.generate(input=pcm.astype(np.float32) / 32768, fs=16_000)[0]
        assert one.text.replace(" ", "") == result["text"].replace(" ", "")
        if name != "paraformer-large":
            words, spans = result["text"].split(), result["timestamp"]
            assert [t.text for t in one.tokens] == words
            assert [[t.start_ms, t.end_ms] for t in one.tokens] == spans
        count += len(one.tokens)
    assert count > 60


def test_sense_voice_gives_the_text_of_funasr(shared: Path, tmp_path: Path) -> None:
    from funasr import AutoModel

    from dropscribe.engine.models.sense_voice.recogniser import NOTHING_SAID, SenseVoiceRecogniser

    folder = with_random_weights(official("SenseVoiceSmall", shared, tmp_path / "m"), _various)
    recogniser = SenseVoiceRecogniser(on_cpu(folder))
    model: Any = AutoModel(model=str(folder), device="cpu", ncpu=1, disable_update=True, disable_pbar=True)
    said = sorted(recogniser([segment(p, i) for i, p in enumerate(pieces())]), key=lambda h: h.stream)
    for one, pcm in zip(said, pieces(), strict=True):
        result = model.generate(
            input=pcm.astype(np.float32) / 32768, fs=16_000, language="auto", use_itn=True
        )
        raw = result[0]["text"]
        plain = "".join(part.split("|>")[-1] for part in raw.split("<|"))
        if plain.strip() != NOTHING_SAID:
            assert "".join(one.text.split()) == "".join(plain.split()).replace("⁇", "")
    assert any(h.text for h in said)


def _various(module: Any) -> None:
    module.ctc.ctc_lo.weight.mul_(20)


def test_the_detector_is_the_official_one(shared: Path, tmp_path: Path) -> None:
    from dropscribe.engine.vad.model import FsmnVadModel

    folder = tmp_path / "m"
    shutil.copytree(shared / "models" / "official" / "fsmn-vad", folder)
    (folder / "model.pt").write_bytes((shared / "models" / "fsmn-vad" / "model.pt").read_bytes())
    assert store.resolve(str(folder), VAD, lambda _: folder).config.family == "FsmnVADStreaming"
    FsmnVadModel(on_cpu(folder))
    # FunASR's template names the other front end.
    shutil.copyfile(folder / "config.template.yaml", folder / "config.yaml")
    FsmnVadModel(on_cpu(folder))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("paraformer-large-v1", "before FunASR 1.0"),
        ("ct-transformer-template", "punctuation"),
        ("campplus-template", "speaker"),
        ("ct-punc-c", "lacks"),
    ],
)
def test_other_models_are_refused_with_their_kind(name: str, told: str, shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    shutil.copytree(shared / "models" / "official" / name, folder)
    for path in ("model.pt", "tokens.json"):
        if name != "ct-punc-c":
            (folder / path).write_text("[]")
    with pytest.raises(EngineError, match=told):
        store.resolve(str(folder), ASR, lambda _: folder)


@pytest.mark.parametrize("name", ["paraformer-zh", "paraformer-large", "SenseVoiceSmall", "fsmn-vad"])
def test_an_official_directory_gives_the_options_that_funasr_reads(
    name: str, shared: Path, tmp_path: Path
) -> None:
    from funasr.download.download_model_from_hub import download_model

    folder = official(name, shared, tmp_path / "m")
    (folder / "model.pt").touch()
    (folder / "seg_dict").touch()
    ours, theirs = read_model_config(folder).options, download_model(model=str(folder))
    assert {k: ours[k] for k in ours if k in theirs} == {k: theirs[k] for k in ours if k in theirs}
    left = theirs.keys() - ours.keys()
    assert left <= {
        "train_conf",
        "dataset",
        "dataset_conf",
        "optim",
        "optim_conf",
        "scheduler",
        "scheduler_conf",
        "init_param",
        "config",
        "device",
    }
