"""`dropscribe status`: lock, status file and ledger of a daemon."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from dropscribe.errors import AlreadyRunningError
from dropscribe.intake.settling import OPEN
from dropscribe.intake.types import FolderHealth, UnsettledFile
from dropscribe.ledger.backend import lock_database
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.pipeline.executor import StationStatus
from dropscribe.pipeline.station import State
from dropscribe.service.jobs.progress import JobProgress, Stage
from dropscribe.service.monitoring import status_file
from dropscribe.service.monitoring.status_file import Status, StatusFile
from dropscribe.views.status import SILENT_S, Process, problems, read_process
from tests.support.command_line import outcome
from tests.support.histories import ENGINE, History

NOW = 1000.0


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path / "jobs.db") as made:
        yield made


def status(database: Path) -> tuple[int, dict[str, Any]]:
    code, printed = outcome("status", "--database", database, "--json")
    return code, json.loads(printed)


def say(database: Path, *folders: FolderHealth, state: str = "ready", now: float | None = None) -> None:
    at = time.time() if now is None else now
    status_file.write(DatabaseLocation(database), Status(state, at - 60, ENGINE, folders, 2, 3), at)


WELL = FolderHealth(Path("/in"), "inotify", None, "", 1.0)
ILL = FolderHealth(Path("/away"), "poll", "the folder is gone", "mount it again", 1.0)


def test_no_daemon(history: History) -> None:
    waiting = history.waiting("c.wav")
    done = history.done("a.wav", "x")
    code, said = status(history.path)
    assert code == 1
    assert said["schema"] == "dropscribe/daemon/1"
    assert (said["running"], said["healthy"], said["pid"]) == (False, False, None)
    assert said["counts"] == {"queued": 1, "running": 0, "done": 1, "failed": 0, "cancelled": 0}
    # Jobs are claimed in order of admission, so "c" is done and "a" waits.
    assert said["last_finished"]["id"] == waiting
    assert said["oldest_waiting"]["id"] == waiting + 1
    assert done == waiting


def test_the_nodes_of_a_cluster_are_shown_and_what_is_wrong_with_them(history: History) -> None:
    lock = lock_database(DatabaseLocation(history.path))
    try:
        stations = (
            StationStatus("alpha/1a2b3c", "cuda:0", State.READY, "", 7),
            StationStatus("beta/4d5e6f", "", State.REFUSED, "version of torch: 2.9 there, 3.0 here", 0),
        )
        now = time.time()
        said_by_daemon = Status("ready", now - 60, ENGINE, (WELL,), 7, 0, stations=stations)
        status_file.write(DatabaseLocation(history.path), said_by_daemon, now)
        code, said = status(history.path)
        assert code == 1
        assert said["nodes"][0] == {
            "name": "alpha/1a2b3c", "device": "cuda:0", "state": "ready", "reason": None, "in_progress": 7,
        }  # fmt: skip
        (problem,) = said["problems"]
        assert "beta/4d5e6f is refused: version of torch" in problem
        printed = outcome("status", "--database", history.path)[1]
        assert "alpha/1a2b3c on cuda:0: ready, 7 recordings" in " ".join(printed.split())
    finally:
        lock.close()


def test_a_healthy_daemon(history: History) -> None:
    lock = lock_database(DatabaseLocation(history.path))
    try:
        say(history.path, WELL)
        code, said = status(history.path)
        assert code == 0, said["problems"]
        assert (said["running"], said["healthy"], said["pid"]) == (True, True, os.getpid())
        assert said["engine"]["model"] == ENGINE.model
        assert said["folders"] == [{"path": "/in", "backend": "inotify", "problem": None, "remedy": ""}]
        assert (said["in_flight"], said["unsettled"], said["state"]) == (2, 3, "ready")
        assert said["updated"].endswith("Z")
        code, printed = outcome("status", "--database", history.path)
        assert code == 0
        for words in (f"process {os.getpid()}", "/in (inotify): ok", "mini on cpu", "2 recordings"):
            assert words in printed
    finally:
        lock.close()
    assert status(history.path)[0] == 1


def test_work_in_progress_and_files_that_wait_are_named(history: History) -> None:
    talk, later = (
        JobProgress(7, Path("/in/talk.m4a"), Stage.RECOGNISING, 760_000, 3_071_000, 20.0),
        JobProgress(8, Path("/in/会议.wav"), Stage.WAITING),
    )
    copied = UnsettledFile(Path("/in/copied.wav"), OPEN, time.time() - 12)
    lock = lock_database(DatabaseLocation(history.path))
    try:
        at = time.time()
        working = Status(
            "ready", at, ENGINE, (WELL,), 2, 30, in_progress=(talk, later), unsettled_files=(copied,) * 15
        )
        status_file.write(DatabaseLocation(history.path), working, at)
        _, said = status(history.path)
        _, printed = outcome("status", "--database", history.path)
    finally:
        lock.close()
    assert said["in_progress"][0] == {
        "job": 7, "recording": "/in/talk.m4a", "stage": "recognising", "position_ms": 760_000,
        "duration_ms": 3_071_000, "elapsed_s": 20.0,
    }  # fmt: skip
    assert said["unsettled_files"][0]["code"] == "open"
    assert said["unsettled_files"][0]["since"].endswith("Z")
    assert "/in/talk.m4a (job 7): recognising 12:40 of 51:11 (24 %), 20 s" in printed
    assert "/in/会议.wav (job 8): waiting\n" in printed
    assert printed.count("/in/copied.wav: a program has it open for writing (for 12 s)") == 10
    assert "and 20 more" in printed


def test_a_folder_problem_is_shown_with_its_remedy(history: History) -> None:
    lock = lock_database(DatabaseLocation(history.path))
    try:
        say(history.path, WELL, ILL)
        code, said = status(history.path)
    finally:
        lock.close()
    assert code == 1
    assert said["running"]
    assert said["problems"] == ["/away: the folder is gone (mount it again)"]


def test_the_status_file_of_a_killed_daemon_is_ignored(history: History) -> None:
    say(history.path, WELL)
    path = status_file.status_path(DatabaseLocation(history.path))
    stale = json.loads(path.read_text(encoding="utf-8")) | {"pid": 1}
    path.write_text(json.dumps(stale), encoding="utf-8")
    assert read_process(DatabaseLocation(history.path)).running is False
    lock = lock_database(DatabaseLocation(history.path))
    try:
        seen = read_process(DatabaseLocation(history.path))
    finally:
        lock.close()
    assert seen == Process(running=True, pid=os.getpid(), said=None)


def test_recent_failures_are_shown_with_what_to_do(history: History) -> None:
    job = history.failed("b.wav", "there is no audio", "record it again", now=time.time() - 60)
    history.failed("old.wav", "long ago", "nothing", now=time.time() - 10 * 86_400)
    _, said = status(history.path)
    assert [j["id"] for j in said["recent_failures"]] == [job]
    assert "there is no audio (record it again)" in outcome("status", "--database", history.path)[1]


def test_before_the_first_start_there_is_no_database(tmp_path: Path) -> None:
    code, said = status(tmp_path / "none.db")
    assert code == 1
    assert said["counts"] is None
    assert not said["running"]
    assert not list(tmp_path.iterdir()), "asking must not make files"


def test_status_does_not_keep_the_lock(history: History) -> None:
    lock_database(DatabaseLocation(history.path)).close()
    assert not read_process(DatabaseLocation(history.path)).running
    lock = lock_database(DatabaseLocation(history.path))
    assert read_process(DatabaseLocation(history.path)).running
    with pytest.raises(AlreadyRunningError):
        lock_database(DatabaseLocation(history.path))
    lock.close()


def said_at(updated: float, state: str = "ready") -> Process:
    return Process(True, 1, {"pid": 1, "state": state, "updated": updated, "folders": []})


def test_what_counts_as_a_problem() -> None:
    assert list(problems(said_at(NOW), NOW)) == []
    assert list(problems(said_at(NOW - SILENT_S), NOW)) == []
    assert "not heard for 31 s" in next(problems(said_at(NOW - SILENT_S - 1), NOW))
    assert "starting" in next(problems(said_at(NOW, "starting"), NOW))
    assert "draining" in next(problems(said_at(NOW, "draining"), NOW))
    assert "just started" in next(problems(Process(True, 1, None), NOW))
    assert "no daemon" in next(problems(Process(False, None, None), NOW))


@pytest.mark.parametrize("name", ["jobs.db.status.json", ".jobs.db.status.json.tmp"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "folder"])
def test_what_stands_in_place_of_the_status_file_is_not_written_to(
    tmp_path: Path, name: str, kind: str
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"somebody's")
    if kind == "folder":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).symlink_to(other if kind == "link" else tmp_path / "nowhere")
    location = DatabaseLocation(tmp_path / "jobs.db")
    file = StatusFile(location)
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            file.renew(Status("ready", 0.0, None, (), 0, 0), 0.0)
    assert other.read_bytes() == b"somebody's"
    assert not (tmp_path / "nowhere").exists()
    if kind == "folder":
        assert len(lines) == 1, "said once"
    else:
        assert status_file.read(location) is not None
    status_file.remove(location)
    assert other.read_bytes() == b"somebody's"
