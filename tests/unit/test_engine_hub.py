"""What is said while a model is fetched, and which local copy counts as whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dropscribe.engine.models import hub
from dropscribe.engine.models.store import BUNDLED

MB = 1_000_000


def test_progress_is_of_all_files_together_and_not_more_often_than_every_few_seconds() -> None:
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


def test_a_file_that_begins_anew_takes_back_what_it_had() -> None:
    progress = hub._Progress("m", lambda _: None)
    file = progress.of_file("model.pt", 10)
    file.update(7)
    file.update(-7)
    file.update(10)
    assert progress.done == 10


def test_a_hub_that_does_not_know_the_size_divides_by_nothing() -> None:
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
def test_a_copy_that_lacks_a_file_is_not_whole(copy: Path, name: str) -> None:
    assert hub._is_whole(copy)
    (copy / name).unlink()
    assert not hub._is_whole(copy)


def test_a_directory_in_the_list_of_files_counts_as_one(copy: Path) -> None:
    listed = copy / "configuration.json"
    content = json.loads(listed.read_text(encoding="utf-8"))
    content["file_path_metas"]["llm"] = ["parts"]
    listed.write_text(json.dumps(content), encoding="utf-8")
    assert not hub._is_whole(copy)
    (copy / "parts").mkdir()
    assert hub._is_whole(copy)


def test_what_was_fetched_whole_is_whole_whatever_its_list_says(copy: Path) -> None:
    (copy / "configuration.json").unlink()
    hub._write_receipt(copy)
    assert hub._is_whole(copy)
    with (copy / "model.pt").open("ab") as file:
        file.truncate(100)
    assert not hub._is_whole(copy)


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "", '{"file_path_metas": 3}'])
def test_a_spoilt_list_is_no_failure(copy: Path, text: str) -> None:
    (copy / "configuration.json").write_text(text, encoding="utf-8")
    assert hub._is_whole(copy) == ("metas" in text)


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
def test_the_host_is_told_without_a_password(
    monkeypatch: pytest.MonkeyPatch, endpoint: str | None, host: str
) -> None:
    monkeypatch.delenv("MODELSCOPE_DOMAIN", raising=False)
    monkeypatch.delenv("MODELSCOPE_ENDPOINT", raising=False)
    if endpoint is not None:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", endpoint)
    assert hub.host() == host
