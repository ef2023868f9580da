"""Recordings and transcripts are edited, moved or deleted while the daemon works on them.

Tests stop the engine process to keep a job under way, so that nothing depends on speed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon_process import DaemonProcess, wait_until, write_speech

FORMATS = (".txt", ".srt", ".vtt", ".json", ".timing.json")
MINE = b"my own words\n"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One recording at a time, so that a second one waits in the queue."""
    root = tmp_path_factory.mktemp("interference")
    with DaemonProcess(root, model="null", service="jobs_in_flight = 1") as process:
        yield process


@pytest.fixture
def folder(daemon: DaemonProcess, request: pytest.FixtureRequest) -> Path:
    made = daemon.inbox / str(request.node.name)
    made.mkdir()
    return made


def jobs(daemon: DaemonProcess, recording: Path) -> list[tuple[str, str]]:
    """(state, reason) of every job of the recording, oldest first."""
    rows = daemon.rows(
        "select j.state, coalesce(j.reason, '') as reason from jobs j join recordings r on r.id = j.recording_id"
        " where r.path_raw = ? order by j.id",
        os.fsencode(recording),
    )
    return [(row["state"], row["reason"]) for row in rows]


def states(daemon: DaemonProcess, recording: Path) -> list[str]:
    return [state for state, _ in jobs(daemon, recording)]


def beside(recording: Path) -> set[str]:
    return {path.name for path in recording.parent.iterdir()}


def transcripts(stem: str) -> set[str]:
    return {stem + form for form in FORMATS}


def document(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def speak(path: Path, seconds: float) -> Path:
    """Write a recording of this length with unique content, since known content is not recognised again."""
    return write_speech(path, seconds=seconds, offset=sum(path.parent.name.encode()) % 97 / 100)


def occupy(daemon: DaemonProcess, folder: Path) -> Path:
    """A recording whose job stays running while the engine is stopped."""
    busy = speak(folder / "busy.wav", 3.5)
    wait_until(lambda: states(daemon, busy) == ["running"], "the first is worked on")
    return busy


def test_deleted_while_it_waits(daemon: DaemonProcess, folder: Path) -> None:
    with daemon.engine_held():
        busy = occupy(daemon, folder)
        target = speak(folder / "target.wav", 3)
        wait_until(lambda: states(daemon, target) == ["queued"], "it waits")
        data = target.read_bytes()
        target.unlink()
        wait_until(lambda: states(daemon, target) == ["cancelled"], "it is cancelled")
        assert "removed" in jobs(daemon, target)[0][1]
    daemon.wait_for(busy)
    assert beside(target) == {"busy.wav"} | transcripts("busy")
    target.write_bytes(data)
    daemon.wait_for(target)
    assert states(daemon, target) == ["cancelled", "done"]


def test_edited_while_it_waits(daemon: DaemonProcess, folder: Path) -> None:
    with daemon.engine_held():
        occupy(daemon, folder)
        target = speak(folder / "target.wav", 3)
        wait_until(lambda: states(daemon, target) == ["queued"], "it waits")
        speak(target, 5)
        wait_until(lambda: states(daemon, target) == ["cancelled", "queued"], "it is taken anew")
        assert "changed" in jobs(daemon, target)[0][1]
    daemon.wait_for(target)
    assert document(target.with_suffix(".json"))["media"]["duration_ms"] == 5000


def test_deleted_while_it_is_worked_on(daemon: DaemonProcess, folder: Path) -> None:
    with daemon.engine_held():
        busy = occupy(daemon, folder)
        busy.unlink()
        after = speak(folder / "after.wav", 2)
    wait_until(lambda: states(daemon, busy) == ["cancelled"], "it is cancelled")
    assert "removed" in jobs(daemon, busy)[0][1]
    daemon.wait_for(after)
    assert beside(after) == {"after.wav"} | transcripts("after")


def test_edited_while_it_is_worked_on(daemon: DaemonProcess, folder: Path) -> None:
    with daemon.engine_held():
        busy = occupy(daemon, folder)
        speak(busy, 6)
        wait_until(lambda: len(states(daemon, busy)) == 2, "it is taken anew")
    wait_until(lambda: states(daemon, busy) == ["cancelled", "done"], "the old job ends, the new one is done")
    assert "changed" in jobs(daemon, busy)[0][1]
    assert document(busy.with_suffix(".json"))["media"]["duration_ms"] == 6000
    assert beside(busy) == {"busy.wav"} | transcripts("busy")


def test_its_folder_is_renamed_while_it_is_worked_on(daemon: DaemonProcess, folder: Path) -> None:
    (folder / "old").mkdir()
    with daemon.engine_held():
        busy = occupy(daemon, folder / "old")
        number = daemon.rows("select max(id) as n from jobs")[0]["n"]
        (folder / "old").rename(folder / "new")
    moved = folder / "new" / "busy.wav"
    daemon.wait_for(moved)
    assert states(daemon, busy) == []
    assert daemon.rows("select max(id) as n from jobs")[0]["n"] == number, "it keeps its job"
    assert not (folder / "old").exists()
    assert beside(moved) == {"busy.wav"} | transcripts("busy")


def test_a_foreign_file_is_put_at_the_name_of_the_transcript(daemon: DaemonProcess, folder: Path) -> None:
    with daemon.engine_held():
        busy = occupy(daemon, folder)
        (folder / "busy.txt").write_bytes(MINE)
        (folder / "busy.json").mkdir()
    daemon.wait_for(busy)
    assert (folder / "busy.txt").read_bytes() == MINE
    assert list((folder / "busy.json").iterdir()) == []
    assert beside(busy) == {"busy.wav", "busy.txt", "busy.json"} | transcripts("busy.wav")


def test_a_corrected_transcript_outlives_the_recordings_next_version(
    daemon: DaemonProcess, folder: Path
) -> None:
    target = speak(folder / "target.wav", 3)
    daemon.wait_for(target)
    with daemon.engine_held():
        speak(target, 4)
        wait_until(lambda: states(daemon, target) == ["done", "running"], "the next version is worked on")
        target.with_suffix(".txt").write_bytes(MINE)
    daemon.wait_for(target)
    wait_until(lambda: states(daemon, target) == ["done", "done"], "both are done")
    assert target.with_suffix(".txt").read_bytes() == MINE
    written = {name for name in beside(target) if name.endswith(".txt")} - {"target.txt"}
    assert len(written) == 1, "the new text has a name of its own"


def test_transcripts_are_deleted_while_the_next_version_is_worked_on(
    daemon: DaemonProcess, folder: Path
) -> None:
    target = speak(folder / "target.wav", 3)
    daemon.wait_for(target)
    with daemon.engine_held():
        speak(target, 4)
        wait_until(lambda: states(daemon, target) == ["done", "running"], "the next version is worked on")
        for form in FORMATS:
            (folder / f"target{form}").unlink()
    daemon.wait_for(target)
    assert beside(target) == {"target.wav"} | transcripts("target")
    assert document(target.with_suffix(".json"))["media"]["duration_ms"] == 4000


def test_deleted_transcripts_of_a_recording_that_stays_are_not_made_again(
    daemon: DaemonProcess, folder: Path
) -> None:
    """A deleted transcript is taken as unwanted."""
    target = speak(folder / "target.wav", 3)
    daemon.wait_for(target)
    for form in FORMATS:
        (folder / f"target{form}").unlink()
    daemon.wait_for(speak(folder / "later.wav", 2))
    assert beside(target) == {"target.wav", "later.wav"} | transcripts("later")
    assert states(daemon, target) == ["done"]


def test_the_whole_folder_is_deleted_while_it_is_worked_on(daemon: DaemonProcess, folder: Path) -> None:
    with daemon.engine_held():
        busy = occupy(daemon, folder)
        waiting = speak(folder / "waiting.wav", 2)
        wait_until(lambda: states(daemon, waiting) == ["queued"], "it waits")
        shutil.rmtree(folder)
    wait_until(lambda: states(daemon, busy) == states(daemon, waiting) == ["cancelled"], "both are cancelled")
    assert not folder.exists(), "nothing is made again"
