"""Files that a download writes under their final name are taken when it ends, whatever says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.intake import Watched, folder_of

DATA = b"RIFF" + bytes(4000)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    return inbox


@pytest.mark.parametrize("backend", ["inotify", "poll"])
@pytest.mark.parametrize(
    "suffix", [".aria2", ".st", ".lftp-pget-status", ".ytdl", ".part-Frag7.part", ".td.cfg"]
)
def test_a_preallocated_download_is_taken_when_its_state_file_goes(
    inbox: Path, backend: str, suffix: str
) -> None:
    recording, state = inbox / "talk.mp3", inbox / f"talk.mp3{suffix}"
    with Watched(folder_of(inbox, backend=backend)) as w:
        w.wait_watching(inbox)
        state.write_bytes(b"state")
        recording.write_bytes(DATA)
        w.settle_marker(inbox)
        w.settle_marker(inbox, "zz-later.wav")
        assert w.arrivals(recording) == []
        (waiting,) = w.watcher.unsettled_files()
        assert (waiting.path, waiting.reason.code) == (recording, "state_file")
        assert state.name in waiting.reason.text
        state.unlink()
        w.wait_arrival(recording)
        assert w.skips() == []


def test_a_state_file_that_went_unnoticed_is_missed_by_the_next_scan(inbox: Path) -> None:
    recording, state = inbox / "talk.mp3", inbox / "talk.mp3.aria2"
    state.write_bytes(b"state")
    recording.write_bytes(DATA)
    with Watched(folder_of(inbox, backend="poll", poll_s=3600)) as w:
        w.settle_marker(inbox)
        assert w.arrivals(recording) == []
        state.unlink()
        w.wait_arrival(recording)


def test_a_state_file_beside_a_folder_is_for_all_files_in_it(inbox: Path) -> None:
    """aria2 keeps one for a torrent of several files."""
    album, state = inbox / "album", inbox / "album.aria2"
    state.write_bytes(b"state")
    (album / "disc").mkdir(parents=True)
    recordings = [album / "a.mp3", album / "disc" / "b.mp3"]
    for recording in recordings:
        recording.write_bytes(DATA)
    with Watched(folder_of(inbox)) as w:
        w.settle_marker(inbox)
        w.settle_marker(inbox, "zz-later.wav")
        assert not [a for r in recordings for a in w.arrivals(r)]
        state.unlink()
        for recording in recordings:
            w.wait_arrival(recording)


def test_an_empty_placeholder_beside_its_part_is_no_empty_recording(inbox: Path) -> None:
    """Firefox reserves the name with an empty file and renames the part over it."""
    recording, part = inbox / "talk.mp3", inbox / "talk.mp3.part"
    with Watched(folder_of(inbox)) as w:
        w.wait_watching(inbox)
        part.write_bytes(DATA[:100])
        recording.touch()
        w.settle_marker(inbox)
        w.settle_marker(inbox, "zz-later.wav")
        assert w.skips() == []
        part.replace(recording)
        w.wait_arrival(recording)
        assert w.skips() == []


def test_a_part_left_by_an_old_download_does_not_hold_back_a_recording(inbox: Path) -> None:
    (inbox / "talk.mp3.part").write_bytes(DATA[:100])
    (inbox / "talk.mp3").write_bytes(DATA)
    with Watched(folder_of(inbox)) as w:
        w.wait_arrival(inbox / "talk.mp3")


@pytest.mark.parametrize("suffix", [".download", ".crdownload"])
def test_a_bundle_is_not_entered_and_its_file_is_taken_when_it_moves_out(inbox: Path, suffix: str) -> None:
    bundle = inbox / f"talk.mp3{suffix}"
    with Watched(folder_of(inbox)) as w:
        w.wait_watching(inbox)
        bundle.mkdir()
        inside = bundle / "talk.mp3"
        inside.write_bytes(DATA)
        (bundle / "Info.plist").write_bytes(b"<plist/>")
        w.settle_marker(inbox)
        w.settle_marker(inbox, "zz-later.wav")
        assert w.arrivals(inside) == []
        inside.rename(inbox / "talk.mp3")
        w.wait_arrival(inbox / "talk.mp3")
        assert w.skips() == []


def test_a_folder_of_recordings_that_is_called_like_a_download_is_entered(inbox: Path) -> None:
    (inbox / "2024.download").mkdir()
    (inbox / "2024.download" / "a.wav").write_bytes(DATA)
    with Watched(folder_of(inbox)) as w:
        w.wait_arrival(inbox / "2024.download" / "a.wav")


def test_folders_and_files_of_storage_systems_are_left_alone_without_a_word(inbox: Path) -> None:
    for folder in (
        "@Recycle",
        "@Recently-Snapshot",
        "#recycle",
        "~snapshot",
        "$RECYCLE.BIN",
        ".zfs",
        "sub/@eaDir",
    ):
        (inbox / folder / "deep").mkdir(parents=True)
        (inbox / folder / "deep" / "old.wav").write_bytes(DATA)
        (inbox / folder / "deep" / "old.jpg").write_bytes(DATA)
    for name in (
        "Thumbs.db",
        "desktop.ini",
        ".DS_Store",
        "Icon\r",
        "a.wav:Zone.Identifier",
        "sub/ehthumbs.db",
    ):
        (inbox / name).write_bytes(b"x")
    with Watched(folder_of(inbox)) as w:
        w.settle_marker(inbox)
        assert len(w.arrivals()) == 1
        assert w.skips() == []
