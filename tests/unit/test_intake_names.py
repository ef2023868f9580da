"""Classification of files by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dropscribe.config import RECORDING_EXTENSIONS, Folder
from dropscribe.intake.names import Kind, Marker, Names, marker, why_foreign
from dropscribe.transcript.naming import ending
from dropscribe.transcript.render import RENDERERS


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
        *(
            "a.wav.!qB",
            "a.wav.!ut",
            "a.mp3.opdownload",
            "a.mp4.fdmdownload",
            "a.mp4.xltd",
            "a.mp4.td.cfg",
            "a.unfinished",
        ),
        *(
            "a.mp3.aria2",
            "a.mp3.st",
            "a.mp3.lftp-pget-status",
            "a.mp3.ytdl",
            "a.mp3.part-Frag12",
            "a.mp3_.gstmp",
        ),
        *(".nfs000000000012", ".fuse_hidden0001", ".DS_Store"),
    ],
)
def test_temporary(name: str) -> None:
    assert names().kind(name) is Kind.TEMPORARY


@pytest.mark.parametrize(
    "name",
    [
        *("a.txt", "a.SRT", "a.wav.vtt", "a.json", "a.timing.json", "a.wav.done", "read.md"),
        *(f"a{ending(name)}" for name in RENDERERS),
    ],
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
    "name",
    [
        *(
            ".stversions",
            ".stfolder",
            "@eaDir",
            "#recycle",
            "#snapshot",
            "@tmp",
            "__MACOSX",
            ".Trash-1000",
            ".Trashes",
        ),
        *(
            "@Recycle",
            "@Recently-Snapshot",
            ".@__thumb",
            ".@plugins",
            "~snapshot",
            ".zfs",
            ".snapshot",
            "lost+found",
        ),
        *(
            "$RECYCLE.BIN",
            "$Recycle.Bin",
            "RECYCLER",
            "System Volume Information",
            "SYSTEM VOLUME INFORMATION",
        ),
        *("Network Trash Folder", "trashbox", "files_trashbin", "files_versions", ".dropbox.cache"),
        *("talk.mp3.download", "Talk.M4A.crdownload"),
    ],
)
def test_directories_of_other_programs_are_not_entered(name: str) -> None:
    assert names().prunes(name, f"sub/{name}")


@pytest.mark.parametrize(
    "name", ["season", "@recycle", "recycle", "snapshot", "tmp", "2024.download", "versions"]
)
def test_directories_of_people_are_entered(name: str) -> None:
    assert not names().prunes(name, f"sub/{name}")


@pytest.mark.parametrize(
    "name",
    [
        "Thumbs.db",
        "thumbs.DB",
        "ehthumbs.db",
        "desktop.ini",
        "Desktop.ini",
        "Icon\r",
        "a.wav:Zone.Identifier",
        "a.mp3@SynoResource",
    ],
)
def test_files_of_systems_are_ignored(name: str) -> None:
    assert names().kind(name) is Kind.SYSTEM
    assert names().kind(name).ignored


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("a.mp3.aria2", Marker("a.mp3", any_size=True)),
        ("Album.ARIA2", Marker("Album", any_size=True)),
        ("a.mp3.part-Frag3.part", Marker("a.mp3", any_size=True)),
        ("a.mp3.part", Marker("a.mp3", any_size=False)),
        ("a.mp3.tmp", None),
        ("a.mp3~", None),
        (".aria2", None),
        ("a.mp3", None),
    ],
)
def test_state_files_of_downloads(name: str, wanted: Marker | None) -> None:
    assert marker(name) == wanted
