"""A model directory cannot run code, install packages, download, write files, or read files outside it."""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dropscribe.config import EngineSettings
from dropscribe.engine.models import store
from dropscribe.engine.models.model_config import read_model_config
from dropscribe.errors import EngineError
from dropscribe.transcript.roles import ASR
from tests.support.command_line import process
from tests.support.engines import FUNASR_WARNS, assembled, on_cpu
from tests.support.models import MINI, VAD, change, change_list, copy_of

pytestmark = FUNASR_WARNS


def armed(model: Path, folder: Path, marker: Path) -> Path:
    """Copy of a model with Python files and packages that would create the marker when imported."""
    copy_of(model, folder)
    (folder / "model.py").write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n")
    package = folder / "package"
    package.mkdir()
    (package / "setup.py").write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n")
    (folder / "requirements.txt").write_text(f"{package}\n")
    return folder


def _set(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda config: config.update(values)


def _inner(part: str, **values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda config: config[part].update(values)


#: Changes of config.yaml that would run code; refused.
CODE: dict[str, Callable[[dict[str, Any]], object]] = {
    "trust and a file": _set(trust_remote_code=True, remote_code="{folder}/model.py"),
    "trust alone": _set(trust_remote_code=True),
    "trust as a word": _set(trust_remote_code="yes"),
    "code alone": _set(remote_code="{folder}/model.py"),
    "an address": _set(trust_remote_code=True, remote_code="http://127.0.0.1:9/model.py"),
    "in the model's own part": _inner("model_conf", trust_remote_code=True, remote_code="{folder}/model.py"),
    "for a further model": _set(
        vad_model="x", vad_kwargs={"trust_remote_code": True, "remote_code": "model.py"}
    ),
}
#: Changes with paths outside the directory; refused.
OUTSIDE: dict[str, Callable[[dict[str, Any]], object]] = {
    "tokens": _inner("tokenizer_conf", token_list="/etc/passwd"),
    "tokens above": _inner("tokenizer_conf", token_list="../tokens.json"),
    "sentence pieces": _inner("tokenizer_conf", bpemodel="http://127.0.0.1:9/bpe.model"),
    "dictionary": _inner("tokenizer_conf", seg_dict="/etc/passwd"),
    "a punctuation model's dictionary": _set(jieba_usr_dict="/etc/passwd"),
    "statistics": _set(normalize="GlobalMVN", normalize_conf={"stats_file": "/etc/passwd"}),
    "an option of the encoder": _inner("encoder_conf", path="~/secret"),
    "the environment": _inner("model_conf", ctc_weight="${oc.env:HOME}"),
    "a part of other values": _inner("model_conf", ctc_weight="${model_conf}"),
}
#: Options that would download, write or read outside; ignored.
IGNORED: dict[str, Callable[[dict[str, Any]], object]] = {
    "further models": _set(vad_model="fsmn-vad", punc_model="ct-punc", spk_model="cam++"),
    "another model's place": _set(hub="hf", model_path="/etc", model_revision="evil"),
    "weights elsewhere": _set(init_param="/etc/passwd", oss_bucket="evil", lora_only=True),
    "weights by another name": _set(scope_map=["a.", "b."], excludes=["encoder"], ignore_init_mismatch=True),
    "a place to write to": _set(output_dir="{folder}/written"),
    "hotwords from an address": _set(hotword="http://127.0.0.1:9/words.txt"),
    "a device": _set(device="cuda:7", ngpu=0, ncpu=99, fp16=True, bf16=True),
    "a class to make": _set(_target_="os.system", callback={"_target_": "os.system", "command": "true"}),
    "an expression in a part that is not used": _set(dataset_conf={"path": "${oc.env:HOME}"}),
}


def hostile(
    folder: Path, edit: Callable[[dict[str, Any]], object], model: Path = MINI, *, listed: bool = True
) -> tuple[Path, Path]:
    """The directory, and the marker that must not appear."""
    marker = folder.parent / "ran"
    armed(model, folder, marker)
    change(folder, edit)
    path = folder / "config.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("{folder}", str(folder)), encoding="utf-8")
    if not listed:
        (folder / "configuration.json").unlink()
    return folder, marker


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("name", CODE)
def test_a_directory_that_asks_for_code_is_refused_early(name: str, listed: bool, tmp_path: Path) -> None:
    folder, marker = hostile(tmp_path / "m", CODE[name], listed=listed)
    for load in (on_cpu, lambda f: store.resolve(str(f), ASR, lambda _: f)):
        with pytest.raises(EngineError, match="code of its own") as caught:
            load(folder)
        assert caught.value.path == folder
        assert "never run" in caught.value.remedy
    assert not marker.exists()


@pytest.mark.parametrize(
    "value",
    [
        {"trust_remote_code": "model.py"},
        {"remote_code": "model.py"},
        {"model_conf": {"trust_remote_code": "am.mvn"}},
    ],
)
def test_the_list_of_files_may_not_ask_for_code_either(value: dict[str, Any], tmp_path: Path) -> None:
    folder, marker = hostile(tmp_path / "m", _set())
    change_list(folder, _set(**value))
    with pytest.raises(EngineError, match="code of its own"):
        on_cpu(folder)
    assert not marker.exists()


@pytest.mark.parametrize("name", OUTSIDE)
def test_paths_outside_the_directory_are_refused(name: str, tmp_path: Path) -> None:
    folder, marker = hostile(tmp_path / "m", OUTSIDE[name], listed=False)
    (folder / "tokens.json").rename(folder / "kept.json")  # otherwise it would be used, as in FunASR
    if "tokens" not in name:
        (folder / "kept.json").rename(folder / "tokens.json")
    if name == "dictionary":
        (folder / "seg_dict").unlink(missing_ok=True)
    with pytest.raises(EngineError, match=r"outside the directory|not supported") as caught:
        on_cpu(folder)
    assert caught.value.path == folder
    assert not marker.exists()


@pytest.mark.parametrize("name", IGNORED)
def test_options_that_do_not_describe_the_model_change_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    # Before its names are replaced: it would keep the replacement of one that it imports.
    from funasr.auto import auto_model
    from funasr.download import download_model_from_hub

    def reached(*_: Any, **__: Any) -> None:
        raise AssertionError("FunASR went to look for a model")

    for function in ("download_model", "download_from_ms", "download_from_hf", "get_or_download_model_dir"):
        monkeypatch.setattr(download_model_from_hub, function, reached)
    monkeypatch.setattr(auto_model, "download_model", reached)
    folder, marker = hostile(tmp_path / "m", IGNORED[name])
    loaded = on_cpu(folder)
    assert loaded.device == torch.device("cpu")
    plain = on_cpu(MINI).module.state_dict()
    assert all(torch.equal(plain[k], v) for k, v in loaded.module.state_dict().items())
    assert {k: v for k, v in read_model_config(folder).options.items() if not isinstance(v, (dict, str))} == {
        k: v for k, v in read_model_config(MINI).options.items() if not isinstance(v, (dict, str))
    }
    assert not marker.exists()
    assert not (folder / "written").exists()


YAML = {
    "an object": "x: !!python/object/apply:os.system ['touch {marker}']\n",
    "a new object": "x: !!python/object/new:os.system ['touch {marker}']\n",
    "a module": "x: !!python/module:model\n",
    "a name": "x: !!python/name:os.system\n",
    "a bomb": "a: &a [x, x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(24)),
    "a value that holds itself": "a: &a [*a]\n",
    "a deep one": "a: " + "[" * 5000 + "]" * 5000 + "\n",
    "no options": "- 1\n- 2\n",
    "not text": "\xff\xfe",
    "twice": "model: Paraformer\n",
    "nothing": "",
}  # fmt: skip


@pytest.mark.parametrize("name", YAML)
def test_yaml_with_object_tags_is_refused(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    folder = armed(MINI, tmp_path / "m", marker)
    path = folder / "config.yaml"
    whole = path.read_bytes() if name not in ("no options", "nothing") else b""
    path.write_bytes(whole + YAML[name].format(marker=marker).encode("latin-1"))
    with pytest.raises(EngineError, match=r"cannot be read|names no model") as caught:
        on_cpu(folder)
    assert "\n" not in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "\xff", '{"file_path_metas": "x"}', "[]", "null"])
def test_a_list_of_files_that_is_none_never_raises_anything_else(content: str, tmp_path: Path) -> None:
    folder = copy_of(VAD, tmp_path / "m")
    (folder / "configuration.json").write_bytes(content.encode("latin-1"))
    if content in ("[]", "null", '{"file_path_metas": "x"}'):  # treated as a missing list, as in FunASR
        assert read_model_config(folder).file("frontend_conf", "cmvn_file") == folder / "am.mvn"
        return
    with pytest.raises(EngineError, match=r"configuration\.json"):
        read_model_config(folder)


@pytest.mark.parametrize(
    "component",
    [
        {"tokenizer": "HuggingfaceTokenizer"},
        {"tokenizer": ["CharTokenizer"]},
        {"frontend": "WhisperFrontend"},
        {"tokenizer": "os.system"},
    ],
)
def test_components_that_fetch_or_are_unknown_are_refused(component: dict[str, Any], tmp_path: Path) -> None:
    folder = change(copy_of(MINI, tmp_path / "m"), _set(**component))
    with pytest.raises(EngineError, match="not supported"):
        on_cpu(folder)


def test_the_options_equal_those_that_funasr_reads(tmp_path: Path) -> None:
    """Directories with the official layout, with and without a list of files."""
    from funasr.download.download_model_from_hub import download_model

    for model in (MINI, VAD):
        folder = tmp_path / model.name
        shutil.copytree(model, folder)
        for _ in range(2):
            ours = read_model_config(folder)
            theirs = download_model(model=str(folder))
            same = ours.options.keys() & theirs.keys()
            assert {key: theirs[key] for key in same} == {key: ours.options[key] for key in same} | {
                "model_path": str(folder)
            }
            assert {key for key in theirs if key.endswith("_conf")} <= same
            assert str(ours.weights) == theirs["init_param"]
            (folder / "configuration.json").unlink(missing_ok=True)


@pytest.mark.parametrize("place", ["model", "vad_model"])
def test_the_engine_and_the_adapter_for_other_models_refuse(place: str, tmp_path: Path) -> None:
    import torch

    from dropscribe.engine.models.automodel import AutoModelRecogniser

    model = MINI if place == "model" else VAD
    folder, marker = hostile(tmp_path / "m", CODE["trust and a file"], model)
    named = {"model": "paraformer-mini", "vad_model": "vad-mini", place: str(folder)}
    with pytest.raises(EngineError, match="code of its own"):
        assembled(EngineSettings(device="cpu", **named))
    with pytest.raises(EngineError, match="code of its own"):
        AutoModelRecogniser(folder, torch.device("cpu"), 1)
    assert not marker.exists()


@pytest.mark.parametrize("option", ["--model", "--vad-model"])
def test_the_commands_refuse_with_one_line_and_what_to_do(option: str, tmp_path: Path) -> None:
    folder, marker = hostile(tmp_path / "m", CODE["trust and a file"], MINI if option == "--model" else VAD)
    done = process("transcribe", store.SAMPLE, "--device", "cpu", option, folder)
    assert done.returncode == 5, done.stderr
    assert "code of its own" in done.stderr
    assert "Traceback" not in done.stderr
    (tmp_path / "drop").mkdir()
    place = ("--watch", tmp_path / "drop", "--database", tmp_path / "jobs.db", "--device", "cpu")
    done = process("doctor", *place, option, folder, "--json")
    assert done.returncode == 1, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["model"]["status"] == "fail"
    assert "code of its own" in checks["model"]["detail"]
    assert "never run" in checks["model"]["remedy"]
    assert not marker.exists()


@pytest.mark.parametrize("name", ["config.yaml", "tokens.json", "am.mvn", "model.pt"])
@pytest.mark.parametrize("kind", ["a pipe", "an endless device", "a directory", "a link to itself"])
def test_special_files_count_as_missing_and_are_not_opened(name: str, kind: str, tmp_path: Path) -> None:
    folder = copy_of(MINI, tmp_path / "m")
    (folder / name).unlink()
    if kind == "a pipe":
        os.mkfifo(folder / name)
    elif kind == "a directory":
        (folder / name).mkdir()
    else:
        (folder / name).symlink_to("/dev/zero" if kind == "an endless device" else name)
    with pytest.raises(EngineError, match=f"lacks {name}"):
        on_cpu(folder)
