"""Progress of a model download, and completeness of local copies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dropscribe.engine.models.hub import client as hub
from dropscribe.engine.models.hub import receipt
from dropscribe.engine.models.store import BUNDLED

MB = 1_000_000


def test_progress_covers_all_files_and_is_reported_every_few_seconds_at_most() -> None:
    now = 0.0
    notes: list[str] = []
    progress = hub._Progress("paraformer-zh", notes.append, lambda: now)
    large = progress.of_file("model.pt", 900 * MB)
    small = progress.of_file("seg_dict", 100 * MB)
    for _ in range(10):
        now += hub.PROGRESS_S / 4
        large.update(50 * MB)
        small.update(5 * MB)
    assert notes == [
        "fetching paraformer-zh: 215 of 1000 MB (21 %)",
        "fetching paraformer-zh: 435 of 1000 MB (43 %)",
    ]


def test_a_restarted_file_subtracts_its_bytes() -> None:
    progress = hub._Progress("m", lambda _: None)
    file = progress.of_file("model.pt", 10)
    file.update(7)
    file.update(-7)
    file.update(10)
    assert progress.done == 10


def test_progress_without_known_size_does_not_divide_by_zero() -> None:
    now = 0.0
    notes: list[str] = []
    progress = hub._Progress("m", notes.append, lambda: now)
    file = progress.of_file("model.pt", 0)
    now = 100.0
    file.update(3 * MB)
    assert notes == ["fetching m: 3 of 3 MB (100 %)"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return shutil.copytree(BUNDLED / "paraformer-mini", tmp_path / "copy")


@pytest.mark.parametrize("name", ["config.yaml", "configuration.json", "model.pt", "tokens.json", "am.mvn"])
def test_a_copy_without_all_files_is_incomplete(copy: Path, name: str) -> None:
    assert receipt.is_whole(copy)
    (copy / name).unlink()
    assert not receipt.is_whole(copy)


def test_a_directory_may_be_in_the_list_of_files(copy: Path) -> None:
    listed = copy / "configuration.json"
    content = json.loads(listed.read_text(encoding="utf-8"))
    content["file_path_metas"]["llm"] = ["parts"]
    listed.write_text(json.dumps(content), encoding="utf-8")
    assert not receipt.is_whole(copy)
    (copy / "parts").mkdir()
    assert receipt.is_whole(copy)


def test_a_copy_with_a_receipt_is_complete_regardless_of_its_list(copy: Path) -> None:
    (copy / "configuration.json").unlink()
    receipt.write(copy)
    assert receipt.is_whole(copy)
    with (copy / "model.pt").open("ab") as file:
        file.truncate(100)
    assert not receipt.is_whole(copy)


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "", '{"file_path_metas": 3}'])
def test_a_damaged_list_is_not_an_error(copy: Path, text: str) -> None:
    (copy / "configuration.json").write_text(text, encoding="utf-8")
    assert receipt.is_whole(copy) == ("metas" in text)


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        (None, "www.modelscope.cn"),
        ("", "www.modelscope.cn"),
        ("https://hub.example:8443/", "hub.example:8443"),
        ("hub.example", "hub.example"),
        ("https://me:secret@hub.example/x", "hub.example"),
    ],
)
def test_the_host_is_named_without_credentials(
    monkeypatch: pytest.MonkeyPatch, endpoint: str | None, host: str
) -> None:
    monkeypatch.delenv("MODELSCOPE_DOMAIN", raising=False)
    monkeypatch.delenv("MODELSCOPE_ENDPOINT", raising=False)
    if endpoint is not None:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", endpoint)
    assert hub.host() == host
