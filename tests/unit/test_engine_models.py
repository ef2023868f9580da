"""Finding a model: bundled, a directory, the hub; and what is said when it is not there or not whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daemon.engine import models
from daemon.errors import EngineError


def no_fetch(name: str) -> Path:
    raise AssertionError(f"{name} was looked for on the hub")


def a_model(folder: Path, *files: str, declared: object = None) -> Path:
    folder.mkdir()
    for name in files:
        (folder / name).write_text("x")
    if declared is not None:
        (folder / "configuration.json").write_text(json.dumps({"file_path_metas": declared}))
    return folder


@pytest.mark.parametrize("name", models.BUNDLED_MODELS)
def test_a_bundled_model_needs_no_hub_and_says_that_it_is_for_demonstration(name: str) -> None:
    source = models.resolve(name, "model", no_fetch)
    assert source.directory == models.BUNDLED / name
    assert source.notice is not None
    assert f"demonstration model {name}" in source.notice
    assert "not for commercial use" in source.notice


def test_the_bundled_model_by_its_path_says_so_too() -> None:
    source = models.resolve(str(models.BUNDLED / "paraformer-mini"), "model", no_fetch)
    assert source.notice is not None


def test_a_complete_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = a_model(tmp_path / "m", "config.yaml", "model.pt")
    source = models.resolve(str(folder), "model", no_fetch)
    assert source.directory == folder
    assert source.notice is None


def test_any_other_name_is_fetched(tmp_path: Path) -> None:
    folder = a_model(tmp_path / "m", "config.yaml", "model.pt")
    source = models.resolve(
        "paraformer-zh", "model", lambda name: folder if name == "paraformer-zh" else tmp_path
    )
    assert source.directory == folder
    assert source.name == "paraformer-zh"


def test_a_directory_that_is_not_there_is_not_taken_for_a_hub_name(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no such directory") as caught:
        models.resolve(str(tmp_path / "gone"), "VAD model", no_fetch)
    assert caught.value.path == tmp_path / "gone"
    assert "VAD model" in caught.value.operation
    assert caught.value.remedy


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_text("x")
    with pytest.raises(EngineError, match="not a directory"):
        models.resolve(str(tmp_path / "model.pt"), "model", no_fetch)


@pytest.mark.parametrize(
    ("files", "declared", "missing"),
    [
        (("model.pt",), None, "config.yaml"),
        (("config.yaml",), None, "model.pt"),
        (
            ("config.yaml", "model.pt"),
            {"init_param": "model.pt", "tokenizer_conf": {"token_list": "tokens.json"}},
            "tokens.json",
        ),
        (
            ("config.yaml", "model.pt"),
            {"frontend_conf": {"cmvn_file": "am.mvn"}, "more": ["seg_dict"]},
            "am.mvn",
        ),
    ],
)
def test_a_missing_file_is_named(
    tmp_path: Path, files: tuple[str, ...], declared: object, missing: str
) -> None:
    folder = a_model(tmp_path / "m", *files, declared=declared)
    with pytest.raises(EngineError) as caught:
        models.resolve(str(folder), "model", no_fetch)
    assert missing in caught.value.reason
    assert caught.value.path == folder
    assert caught.value.remedy


def test_a_spoilt_list_of_files_is_told(tmp_path: Path) -> None:
    folder = a_model(tmp_path / "m", "config.yaml", "model.pt")
    (folder / "configuration.json").write_text("{")
    with pytest.raises(EngineError, match=r"configuration\.json"):
        models.resolve(str(folder), "model", no_fetch)


def test_a_model_fetched_before_is_found_without_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path))
    assert models.cached_directory("iic/speech_x.y") is None
    folder = tmp_path / "hub" / "models" / "iic" / "speech_x___y"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("x")
    assert models.cached_directory("iic/speech_x.y") is None, "half a download is none"
    (folder / "model.pt").write_text("x")
    assert models.cached_directory("iic/speech_x.y") == folder
