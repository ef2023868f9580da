"""Classification of files by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dropscribe.config import RECORDING_EXTENSIONS, Folder
from dropscribe.intake.names import Kind, Names, why_foreign


def names(**values: Any) -> Names:
    return Names(Folder.model_validate({"path": Path("/in"), **values}))


@pytest.mark.parametrize("extension", RECORDING_EXTENSIONS)
def test_recordings_in_any_case(extension: str) -> None:
    assert names().kind(f"a{extension}") is Kind.RECORDING
    assert names().kind(f"Long Name.with.dots{extension.upper()}") is Kind.RECORDING


@pytest.mark.parametrize(
    "name",
    [
        *(f"a.wav{suffix}" for suffix in (".part", ".partial", ".filepart", ".crdownload", ".download")),
        *(f"a.wav{suffix}" for suffix in (".tmp", "~", ".!sync", ".bts", ".icloud", ".PART", ".Tmp")),
        *("~$a.wav", "~syncthing~a.wav", ".syncthing.a.wav.tmp", ".a.wav.Xy12Zq", "._a.wav", ".wav"),
        *(".nfs000000000012", ".fuse_hidden0001", ".DS_Store"),
    ],
)
def test_temporary(name: str) -> None:
    assert names().kind(name) is Kind.TEMPORARY


@pytest.mark.parametrize(
    "name", ["a.txt", "a.SRT", "a.wav.vtt", "a.json", "a.timing.json", "a.wav.done", "read.md"]
)
def test_sidecars(name: str) -> None:
    assert names().kind(name) is Kind.SIDECAR


@pytest.mark.parametrize("name", ["a.pdf", "a", "wav", "a.wav2", "a."])
def test_foreign(name: str) -> None:
    assert names().kind(name) is Kind.FOREIGN
    assert "recording" in why_foreign(name)


def test_the_extensions_of_the_folder_take_precedence() -> None:
    assert names(extensions=["xyz", ".JSON"]).kind("a.XYZ") is Kind.RECORDING
    assert names(extensions=["xyz", ".JSON"]).kind("a.json") is Kind.RECORDING
    assert names(extensions=["xyz"]).kind("a.wav") is Kind.FOREIGN


def test_further_extensions_are_added_to_the_default_ones_or_to_those_of_the_folder() -> None:
    for extra in ("a.xyz", "a.ABC"):
        assert names(extensions_also=["xyz", ".abc"]).kind(extra) is Kind.RECORDING
        assert names(extensions_also=["xyz", ".abc"], extensions=["wav"]).kind(extra) is Kind.RECORDING
    assert names(extensions_also=["xyz"]).kind("a.mp3") is Kind.RECORDING
    assert names(extensions_also=["xyz"], extensions=["wav"]).kind("a.mp3") is Kind.FOREIGN


def test_excluded_files() -> None:
    rules = names(exclude=["archive/*", "*_raw.wav"])
    assert rules.excludes("archive/a.wav")
    assert rules.excludes("archive/deep/a.wav")
    assert rules.excludes("sub/a_raw.wav")
    assert not rules.excludes("a.wav")
    assert not rules.excludes("Archive/a.wav")
    assert not names().excludes("archive/a.wav")


@pytest.mark.parametrize("pattern", ["archive", "archive/", "archive/*"])
def test_an_excluded_directory_is_not_entered(pattern: str) -> None:
    rules = names(exclude=[pattern])
    assert rules.prunes("archive", "archive")
    assert not rules.prunes("archive2", "archive2")


@pytest.mark.parametrize(
    "name", [".stversions", ".stfolder", "@eaDir", "#recycle", "__MACOSX", ".Trash-1000"]
)
def test_directories_of_other_programs_are_not_entered(name: str) -> None:
    assert names().prunes(name, f"sub/{name}")
    assert not names().prunes("season", "season")
