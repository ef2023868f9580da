"""Lists of hotwords in files: encodings, comments, weights, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from dropscribe import config, hotword_files
from dropscribe.cli.arguments.settings import database_location
from dropscribe.errors import ConfigError
from dropscribe.service.changed_files import ChangedFiles

LIST = "达摩院\r\n\n  # people\n通义  千问 20\nDropscribe\t-1.5\n达摩院\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gbk"])
def test_any_usual_encoding_is_read(encoding: str) -> None:
    found = hotword_files.parse(LIST.encode(encoding))
    assert (found.words, found.weights) == (("达摩院", "通义 千问", "Dropscribe"), 2)


def test_a_number_alone_is_a_word() -> None:
    assert hotword_files.parse(b"360\n").words == ("360",)


def test_an_empty_file_is_an_empty_list() -> None:
    assert hotword_files.parse(b"").words == ()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a\n" + b"b" * 51, "line 2 has 51 characters"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not a text file"),
        (b"ok\nbad\x1b[31m\n", "line 2"),
        (b"a" * ((1 << 24) + 1), "too large"),
    ],
)
def test_what_is_no_list_is_refused_with_its_line(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        hotword_files.parse(data)


def write(folder: Path, words: str, inline: str = "") -> Path:
    (folder / "words.txt").write_text(words, encoding="utf-8")
    file = folder / "dropscribe.toml"
    file.write_text(
        f"[profiles.calls]\nhotwords = [{inline}]\nhotwords_file = 'words.txt'\n", encoding="utf-8"
    )
    return file


def test_the_words_of_a_file_are_added_to_those_of_the_profile(tmp_path: Path) -> None:
    loaded = config.load(write(tmp_path, "上海 3\n北京\n", "'北京', '南京'"))
    assert loaded.settings.profile("calls").hotwords == ("北京", "南京", "上海")
    assert loaded.settings.profile("default").hotwords == ()
    (note,) = loaded.notes
    assert note == f"{tmp_path / 'words.txt'}: weights are ignored (lines with one: 1)"
    assert config.override(loaded, engine__device="cpu").settings.profile("calls").hotwords[-1] == "上海"


def test_a_changed_list_is_another_recipe(tmp_path: Path) -> None:
    one = config.load(write(tmp_path, "上海\n")).settings.recipe("calls")
    assert config.load(write(tmp_path, "上海\n北京\n")).settings.recipe("calls") != one


@pytest.mark.parametrize("words", ["\n".join(map(str, range(1001))), "x" * 51])
def test_a_list_that_cannot_be_used_names_its_file(tmp_path: Path, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(write(tmp_path, words))
    assert caught.value.path == tmp_path / "words.txt"
    assert caught.value.remedy


def test_a_list_that_is_missing_names_the_setting(tmp_path: Path) -> None:
    file = write(tmp_path, "上海\n")
    (tmp_path / "words.txt").unlink()
    with pytest.raises(ConfigError) as caught:
        config.load(file)
    assert "profiles.calls.hotwords_file" in str(caught.value.remedy)


def test_who_needs_no_hotwords_does_not_need_the_list(tmp_path: Path) -> None:
    """Such as `dropscribe jobs` of a person who may not read the list."""
    file = write(tmp_path, "上海\n", "'北京'")
    (tmp_path / "words.txt").unlink()
    assert config.load(file, lists=False).settings.profile("calls").hotwords == ("北京",)
    assert database_location(file, None).file == config.load(file, lists=False).settings.database


def test_changes_are_noticed_once(tmp_path: Path) -> None:
    words, other = tmp_path / "words.txt", tmp_path / "other.txt"
    words.write_text("a")
    compared = ChangedFiles([words])
    assert not compared.changed([words])
    words.write_text("ab")
    assert compared.changed([words])
    assert not compared.changed([words])
    # Saved by an editor: another file of the same name.
    other.write_text("ab")
    other.replace(words)
    assert compared.changed([words])
    words.unlink()
    assert compared.changed([words])
    assert not compared.changed([words])


def test_a_file_that_is_new_in_the_list_is_not_a_change(tmp_path: Path) -> None:
    compared = ChangedFiles([])
    assert not compared.changed([tmp_path])
