"""Weights load in every format of FunASR's models; other files raise a one-line error, and their code is not run."""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dropscribe.errors import EngineError
from tests.support.engines import FUNASR_WARNS, on_cpu
from tests.support.models import MINI, VAD, copy_of, save, weights_of

pytestmark = FUNASR_WARNS


class Marker:
    """Pickled object that writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def _half(weights: dict[str, Any], kind: str) -> dict[str, Any]:
    import torch

    return {
        name: value.to(getattr(torch, kind)) if value.is_floating_point() else value
        for name, value in weights.items()
    }


def _beside_training(weights: dict[str, Any]) -> dict[str, Any]:
    import torch

    moments = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-3}]}
    return {"epoch": 3, "state_dict": weights, "optimizer": moments, "saved_step": {"a": 0.5}, "extra": None}


FORMATS: dict[str, tuple[Callable[[dict[str, Any]], Any], bool]] = {
    "zip": (lambda w: w, False),
    "legacy": (lambda w: w, True),
    "legacy in state_dict": (lambda w: {"state_dict": w}, True),
    "model_state_dict": (lambda w: {"model_state_dict": w}, False),
    "model": (lambda w: {"model": w}, False),
    "model in state_dict": (lambda w: {"state_dict": {"model": w}}, False),
    "beside the state of training": (_beside_training, False),
    "parallel": (lambda w: {f"module.{name}": value for name, value in w.items()}, False),
    "parallel, legacy, wrapped": (lambda w: {"model": {f"module.{n}": v for n, v in w.items()}}, True),
    "more than is needed": (lambda w: w | {"of.another": next(iter(w.values()))}, False),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_weights_that_funasr_reads(name: str, tmp_path: Path) -> None:
    import torch

    wrap, legacy = FORMATS[name]
    folder = copy_of(VAD, tmp_path / "m")
    weights = weights_of(VAD)
    save(wrap(weights), folder / "model.pt", legacy=legacy)
    found = on_cpu(folder).module.state_dict()
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[key], weights[key]) for key in weights)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("legacy", [False, True])
def test_weights_of_another_precision_become_fp32_as_in_funasr(
    kind: str, legacy: bool, tmp_path: Path
) -> None:
    import torch
    from funasr import AutoModel

    folder = copy_of(VAD, tmp_path / "m")
    save(_half(weights_of(VAD), kind), folder / "model.pt", legacy=legacy)
    found = on_cpu(folder).module.state_dict()
    theirs, _ = AutoModel.build_model(model=str(folder), device="cpu", disable_update=True)
    for key, value in theirs.state_dict().items():
        assert found[key].dtype == torch.float32
        assert torch.equal(found[key], value)


def test_tensors_that_share_memory_in_the_file_keep_no_more_than_themselves(tmp_path: Path) -> None:
    import torch

    folder = copy_of(VAD, tmp_path / "m")
    weights = weights_of(VAD)
    name = max(weights, key=lambda n: weights[n].numel())
    large = torch.zeros(1000, *weights[name].shape)
    large[7] = weights[name]
    save(weights | {name: large[7]}, folder / "model.pt")
    found = on_cpu(folder).module.state_dict()[name]
    assert torch.equal(found, weights[name])
    assert found.untyped_storage().nbytes() == found.numel() * 4


def _safetensors() -> bytes:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 880502012\n", "git-lfs"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "web page"),
        (b"\n  <HTML><head><title>502 Bad Gateway</title>", "web page"),
        (b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "web page"),
        (b'{"Code":404,"Message":"not found"}', "JSON"),
        (bytes(100_000), "zeros"),
        (b"not weights at all", "not a file of weights"),
        (b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00K\x01.", "not a file of weights"),
        (_safetensors(), "safetensors"),
        (b"PK\x03\x04" + bytes(500), "damaged"),
    ],
)
def test_a_file_that_is_no_weights_is_refused_with_its_kind(
    content: bytes, told: str, tmp_path: Path
) -> None:
    folder = copy_of(VAD, tmp_path / "m")
    (folder / "model.pt").unlink(missing_ok=True)
    (folder / "model.pt").write_bytes(content)
    refused(folder, told)


def refused(folder: Path, told: str) -> EngineError:
    with pytest.raises(EngineError, match=told) as caught:
        on_cpu(folder)
    error = caught.value
    assert error.path == folder
    assert error.reason.startswith("model.pt ")
    assert error.remedy
    assert "\n" not in str(error)
    assert len(str(error)) < 600
    return error


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_file_cut_short_is_refused(legacy: bool, share: float, tmp_path: Path) -> None:
    folder = copy_of(VAD, tmp_path / "m")
    save(weights_of(VAD), folder / "model.pt", legacy=legacy)
    whole = (folder / "model.pt").read_bytes()
    (folder / "model.pt").write_bytes(whole[: int(len(whole) * share)])
    refused(folder, "model.pt")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("place", ["alone", "beside", "in a tensor's place"])
def test_code_in_a_file_of_weights_is_refused_and_not_run(legacy: bool, place: str, tmp_path: Path) -> None:
    folder = copy_of(VAD, tmp_path / "m")
    weights: Any = weights_of(VAD)
    marker = tmp_path / "ran"
    first = next(iter(weights))
    content = {"alone": Marker(marker), "beside": weights | {"x": Marker(marker)}}
    save(content.get(place, weights | {first: Marker(marker)}), folder / "model.pt", legacy=legacy)
    refused(folder, "more than weights")
    assert not marker.exists()


def test_code_is_not_run_where_the_environment_asks_torch_to_trust_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    folder = copy_of(VAD, tmp_path / "m")
    marker = tmp_path / "ran"
    save({"x": Marker(marker)}, folder / "model.pt")
    with pytest.raises(EngineError):
        on_cpu(folder)
    assert not marker.exists()


@pytest.mark.parametrize("spoil", ["shape", "missing", "no tensors", "a list", "a number in its place"])
def test_weights_that_do_not_fit_are_refused(spoil: str, tmp_path: Path) -> None:
    import torch

    folder = copy_of(VAD, tmp_path / "m")
    weights: Any = weights_of(VAD)
    first = next(iter(weights))
    content = {
        "shape": weights | {first: torch.zeros(3)},
        "missing": {name: value for name, value in weights.items() if name != first},
        "no tensors": {"epoch": 3},
        "a list": [1, 2],
        "a number in its place": weights | {first: 3.0},
    }
    save(content[spoil], folder / "model.pt")
    refused(folder, "lacks")


def test_a_recurrent_recogniser_gives_the_same_text_from_a_legacy_file(tmp_path: Path) -> None:
    """Loading replaces parameters, to which an LSTM keeps references."""
    import torch

    folder = copy_of(MINI, tmp_path / "m")
    save(weights_of(MINI), folder / "model.pt", legacy=True)
    sound = torch.randn(1, 40, 560, generator=torch.Generator().manual_seed(1))
    outs = []
    for directory in (MINI, folder):
        module = on_cpu(directory).module
        with torch.inference_mode():
            hidden, lengths = module.encode(sound, torch.tensor([40]))
            outs.append((hidden, *module.calc_predictor_timestamp(hidden, lengths, torch.tensor([9]))))
    assert all(torch.equal(a, b) for a, b in zip(*outs, strict=True) if isinstance(a, torch.Tensor))


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["campplus-zh-en", "ct-punc-mini", "fsmn-vad", "vad-mini", "paraformer-mini"]
)
def test_the_reference_models_load_out_of_the_files_they_name(name: str, shared: Path) -> None:
    import torch
    from funasr import AutoModel

    found = on_cpu(shared / "models" / name)
    theirs, _ = AutoModel.build_model(model=str(shared / "models" / name), device="cpu", disable_update=True)
    assert all(torch.equal(found.module.state_dict()[k], v) for k, v in theirs.state_dict().items())
