"""Locating a model: bundled, in a directory, on the hub; errors for missing and incomplete ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dropscribe.engine.models import store
from dropscribe.errors import EngineError
from dropscribe.transcript.roles import ASR, PUNCTUATION, VAD


def no_fetch(name: str) -> Path:
    raise AssertionError(f"{name} was looked for on the hub")


def a_model(folder: Path, *files: str, declared: object = None, family: str = "Paraformer") -> Path:
    folder.mkdir()
    for name in files:
        (folder / name).write_text(f"model: {family}\nmodel_conf: {{}}\n" if name == "config.yaml" else "x")
    if declared is not None:
        (folder / "configuration.json").write_text(json.dumps({"file_path_metas": declared}))
    return folder


@pytest.mark.parametrize("name", ["paraformer-mini", "vad-mini"])
def test_a_bundled_model_needs_no_hub_and_has_a_demonstration_notice(name: str) -> None:
    role = {"vad-mini": VAD, "ct-punc-mini": PUNCTUATION}.get(name, ASR)
    source = store.resolve(name, role, no_fetch)
    assert source.directory == store.BUNDLED / name
    assert source.notice is not None
    assert f"demonstration model {name}" in source.notice
    assert "about one character in five is wrong" in source.notice


def test_the_bundled_model_by_its_path_has_the_notice_too() -> None:
    source = store.resolve(str(store.BUNDLED / "paraformer-mini"), ASR, no_fetch)
    assert source.notice is not None


def test_a_complete_directory_is_accepted(tmp_path: Path) -> None:
    folder = a_model(tmp_path / "m", "config.yaml", "model.pt")
    source = store.resolve(str(folder), ASR, no_fetch)
    assert source.directory == folder
    assert source.notice is None


def test_any_other_name_is_downloaded(tmp_path: Path) -> None:
    folder = a_model(tmp_path / "m", "config.yaml", "model.pt")
    source = store.resolve("paraformer-zh", ASR, lambda name: folder if name == "paraformer-zh" else tmp_path)
    assert source.directory == folder
    assert source.name == "paraformer-zh"


def test_a_missing_directory_is_not_taken_for_a_hub_name(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no such directory") as caught:
        store.resolve(str(tmp_path / "gone"), VAD, no_fetch)
    assert caught.value.path == tmp_path / "gone"
    assert "VAD model" in caught.value.operation
    assert caught.value.remedy


def test_a_file_in_place_of_a_directory_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.pt").write_text("x")
    with pytest.raises(EngineError, match="not a directory") as caught:
        store.resolve(str(tmp_path / "model.pt"), ASR, no_fetch)
    assert str(tmp_path) in caught.value.remedy
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EngineError, match="not a directory"):
        store.resolve("model.pt", ASR, no_fetch)


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
        store.resolve(str(folder), ASR, no_fetch)
    assert missing in caught.value.reason
    assert caught.value.path == folder
    assert caught.value.remedy


def test_a_damaged_list_of_files_is_an_error(tmp_path: Path) -> None:
    folder = a_model(tmp_path / "m", "config.yaml", "model.pt")
    (folder / "configuration.json").write_text("{")
    with pytest.raises(EngineError, match=r"configuration\.json"):
        store.resolve(str(folder), ASR, no_fetch)


FULL = ("config.yaml", "model.pt", "tokens.json", "am.mvn")
LISTED = {"init_param": "model.pt", "config": "config.yaml", "tokenizer_conf": {"token_list": "tokens.json"}}


@pytest.mark.parametrize(
    "more",
    [
        {"llm_conf": {"init_param_path": "llm"}},  # a directory
        {
            "tokenizer_conf": {"token_list": "tokens.json", "seg_dict_file": "seg_dict"}
        },  # missing, but not needed
        {"tokenizer_conf": {"token_list": "sub/tokens.json"}},
        {"tokenizer_conf": {"token_list": "llm/../tokens.json"}},
        {"seg_dicts": ["tokens.json", "gone", {"inner": "am.mvn"}]},
        {"frontend_conf": [{"cmvn_file": "am.mvn"}]},
        {
            "model_name_in_hub": {"ms": "", "hf": "iic/some-model"},
            "batch_size": 3,
            "use_itn": True,
            "none": None,
        },
        {"jieba_usr_dict": "", "extra": ""},
        {"note": "any text, not a name"},
    ],
)
def test_other_entries_in_a_list_of_files_are_ignored(tmp_path: Path, more: dict[str, object]) -> None:
    folder = a_model(tmp_path / "m", *FULL, declared=LISTED | more)
    (folder / "llm").mkdir()
    (folder / "sub").mkdir()
    (folder / "sub" / "tokens.json").write_text("[]")
    config = store.resolve(str(folder), ASR, no_fetch).config
    assert config.weights == folder / "model.pt"
    tokens = config.file("tokenizer_conf", "token_list")
    assert tokens is not None
    assert tokens.is_file()


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../other/tokens.json", "sub/../../tokens.json", "..", "http://127.0.0.1/t"]
)
def test_a_list_of_files_cannot_leave_the_directory(tmp_path: Path, name: str) -> None:
    folder = a_model(tmp_path / "m", *FULL, declared=LISTED | {"tokenizer_conf": {"token_list": name}})
    (tmp_path / "tokens.json").write_text("[]")
    with pytest.raises(EngineError, match="outside the directory") as caught:
        store.resolve(str(folder), ASR, no_fetch)
    assert name in caught.value.reason
    assert caught.value.path == folder


def test_a_hub_cache_of_links_is_accepted(tmp_path: Path) -> None:
    blobs = a_model(tmp_path / "blobs", *FULL, declared=LISTED)
    folder = tmp_path / "snapshot"
    folder.mkdir()
    for path in blobs.iterdir():
        (folder / path.name).symlink_to(Path("..") / "blobs" / path.name)
    assert store.resolve(str(folder), ASR, no_fetch).config.family == "Paraformer"


def test_a_configuration_by_another_name_is_read(tmp_path: Path) -> None:
    folder = a_model(tmp_path / "m", *FULL, declared=LISTED | {"config": "conf/asr.yaml"})
    (folder / "conf").mkdir()
    (folder / "config.yaml").rename(folder / "conf" / "asr.yaml")
    assert store.resolve(str(folder), ASR, no_fetch).config.family == "Paraformer"


@pytest.mark.parametrize(
    ("family", "role", "told"),
    [
        ("CTTransformer", ASR, "punctuation"),
        ("CTTransformerStreaming", VAD, "punctuation"),
        ("CAMPPlus", ASR, "speaker"),
        ("ERes2NetV2", VAD, "speaker"),
        ("FsmnVADStreaming", ASR, "engine.models.vad"),
        ("BiCifParaformer", VAD, "engine.models.asr"),
        ("SenseVoiceSmall", VAD, "engine.models.asr"),
        ("Conformer", VAD, "engine.models.asr"),
        ("Emotion2vec", ASR, "emotion"),
        ("FsmnKWS", ASR, "keyword"),
        ("MonotonicAligner", ASR, "alignment"),
        ("FunASRNano", ASR, "large language model"),
        ("Qwen3ASR", ASR, "large language model"),
        ("WhisperWarp", ASR, "Whisper"),
        ("SileroVad", VAD, "FSMN"),
        ("paraformer", ASR, "before FunASR 1.0"),
        ("SomethingNew", ASR, "not known"),
        ("SomethingNew", VAD, "not known"),
    ],
)
def test_a_model_of_another_role_is_refused_with_its_purpose(
    tmp_path: Path, family: str, role: str, told: str
) -> None:
    folder = a_model(tmp_path / "m", "config.yaml", "model.pt", family=family)
    with pytest.raises(EngineError) as caught:
        store.resolve(str(folder), role, no_fetch)
    assert family in caught.value.reason
    assert told in str(caught.value)
    assert caught.value.operation == {ASR: "load model", VAD: "load VAD model"}[role]
    assert caught.value.path == folder
    assert "fsmn-vad" in caught.value.remedy if role == VAD else "paraformer-zh" in caught.value.remedy


@pytest.mark.parametrize(
    ("files", "told", "remedy"),
    [
        ((), "it is empty", "model directory"),
        (("model.onnx", "model_quant.onnx", "config.yaml", "configuration.json", "tokens.json"), "ONNX export", "exported from"),
        (("model.onnx", "am.mvn"), "ONNX", "exported from"),
        (("config.json", "model.safetensors", "tokenizer.json"), "transformers", "FunASR model directory"),
        (("paraformer/config.yaml", "vad/config.yaml"), "no model directory itself", "/m/paraformer, or another"),
        (("iic--x/snapshots/master/config.yaml",), "no model directory itself", "snapshots/master"),
        (("README.md",), "lacks config.yaml", "complete"),
    ],
)  # fmt: skip
def test_a_directory_without_a_model_is_an_error_with_the_reason(
    tmp_path: Path, files: tuple[str, ...], told: str, remedy: str
) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}" if name.endswith(".json") else "model: Paraformer\nmodel_conf: {}\n")
    with pytest.raises(EngineError, match=told) as caught:
        store.resolve(str(folder), ASR, no_fetch)
    assert remedy in caught.value.remedy
    assert caught.value.path == folder
