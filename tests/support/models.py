"""Model directories for tests: small copies of the bundled ones, in other formats, damaged, or hostile."""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

import io
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from dropscribe.engine.models import store

MINI = store.BUNDLED / "paraformer-mini"
VAD = store.BUNDLED / "vad-mini"
SAID = "the quick brown fox jumps over the lazy dog and runs home again. it was a fine day in the park, they said"


def copy_of(model: Path, folder: Path) -> Path:
    """Copy of a model directory that a test may change; large files are links."""
    folder.mkdir(parents=True)
    for path in model.iterdir():
        if path.stat().st_size > 1 << 20:
            (folder / path.name).symlink_to(path)
        else:
            shutil.copyfile(path, folder / path.name)
    return folder


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """Edit the config.yaml of a directory."""
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    edit(config)
    path.write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return folder


def change_list(folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """Edit `file_path_metas` of the configuration.json of a directory."""
    path = folder / "configuration.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content["file_path_metas"])
    path.write_text(json.dumps(content), encoding="utf-8")
    return folder


def weights_of(model: Path) -> dict[str, Any]:
    """The weights of a bundled model."""
    import torch

    weights: dict[str, Any] = torch.load(model / "model.pt", map_location="cpu", weights_only=True)
    return weights


def save(weights: Any, path: Path, *, legacy: bool = False) -> None:
    """Write a file of weights, replacing an existing one."""
    import torch

    path.unlink(missing_ok=True)
    torch.save(weights, path, _use_new_zipfile_serialization=not legacy)


def sentence_pieces(text: str = SAID, size: int = 60) -> bytes:
    """A small SentencePiece model; its first three tokens are FunASR's blank, start and end."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text] * 4),
        model_writer=model,
        model_type="bpe",
        vocab_size=size,
        character_coverage=1.0,
        minloglevel=2,
    )
    return model.getvalue()


def with_random_weights(folder: Path, bias: Callable[[Any], object] | None = None) -> Path:
    """Write the initial weights of FunASR's class for this configuration, after `bias` has changed them."""
    import torch
    from funasr import AutoModel

    from dropscribe.engine.models.model_config import read_model_config

    (folder / "model.pt").unlink(missing_ok=True)
    (folder / "model.pt").touch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = read_model_config(folder).options
        module, _ = AutoModel.build_model(**options, device="cpu", disable_update=True, seed=1)
    if bias is not None:
        with torch.no_grad():
            bias(module)
    save(module.state_dict(), folder / "model.pt")
    return folder


def speaking(module: Any, tokens_per_s: float = 4.5) -> None:
    """Bias a Paraformer with random weights to the token rate of speech."""
    import math

    share = tokens_per_s / (1000 / 60)
    predictor = module.predictor
    predictor.cif_output.weight.mul_(0.1)
    predictor.cif_output.bias.fill_(math.log(share / (1 - share)))
    if hasattr(predictor, "cif_output2"):
        share /= 3 * 0.25
        predictor.cif_output2.weight.mul_(0.1)
        predictor.cif_output2.bias.fill_(math.log(share / (1 - share)))
