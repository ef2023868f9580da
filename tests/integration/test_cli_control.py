"""Commands that change the queue, without a daemon: each prints the state found and the state made."""

from __future__ import annotations

import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from dropscribe.files import opened
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.service.control import client
from tests.support.command_line import Done, Main
from tests.support.ledgers import admission, claim_all


class History:
    """A database with a configuration in the current directory."""

    def __init__(self, folder: Path, main: Main) -> None:
        self.folder = folder
        self.watched = folder / "drop"
        self.watched.mkdir()
        (folder / "dropscribe.toml").write_text(
            f'database = "jobs.db"\n[[folder]]\npath = "{self.watched}"\n'
        )
        self.location = DatabaseLocation(folder / "jobs.db")
        self._main = main

    def opened(self) -> closing[Ledger]:
        return closing(open_ledger(self.location))

    def failed(self, count: int) -> None:
        """Admit and fail recordings 0.wav and so on."""
        with self.opened() as ledger:
            ledger.admit(
                [
                    admission(f"{n}.wav", str(n), path=self.watched / f"{n}.wav", folder=self.watched)
                    for n in range(count)
                ],
                1.0,
            )
            for claim in claim_all(ledger, limit=count):
                ledger.fail(
                    claim.job_id, claim.generation, 101.0, code="no_audio", reason="no audio", remedy="again"
                )

    def run(self, *arguments: str) -> Done:
        return self._main(*arguments, cwd=self.folder)


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> History:
    # A daemon of this machine has nothing to do with it.
    monkeypatch.setattr(client, "SERVICE_SOCKET", tmp_path / "none" / "control.sock")
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    return History(tmp_path, Main(monkeypatch, capsys))


def test_a_pause_is_said_where_people_look_until_it_ends(history: History) -> None:
    history.failed(1)
    assert history.run("pause", "--folder", "drop").stdout == f"{history.watched}: working → paused\n"
    again = history.run("pause", "--folder", "drop").stdout
    assert f"paused, by {Path.home().owner()} ({os.getuid()})" in again
    assert history.run("jobs", "retry", "1").stdout.splitlines()[1].split() == [
        "drop/0.wav",
        "1",
        "failed",
        "queued",
    ]
    assert "waits: paused by" in history.run("jobs").stdout
    assert "paused by" in history.run("jobs", "show", "1").stdout
    assert f"{history.watched}: paused by" in history.run("status").stdout
    listed = json.loads(history.run("jobs", "--json").stdout)["jobs"][0]
    assert listed["waits_for"]["code"] == "paused"
    document = json.loads(history.run("resume", "--folder", "drop", "--json").stdout)
    assert (document["found"], document["made"], document["still"]) == ("paused", "working", [])
    assert "waits" not in history.run("jobs").stdout


def test_resume_says_what_is_still_paused(history: History) -> None:
    history.failed(0)
    history.run("pause")
    history.run("pause", "--folder", "drop")
    said = history.run("resume").stdout.splitlines()
    assert said[0].endswith("→ working")
    assert said[1].startswith(f"{history.watched}: paused, by")


def test_a_folder_that_is_not_watched_is_refused_with_those_that_are(history: History) -> None:
    history.failed(0)
    done = history.run("pause", "--folder", "other")
    assert done.returncode == 2
    assert f"it is no watched folder (watched are: {history.watched})" in done.stderr


def test_many_jobs_are_summed_up_and_nothing_is_done_twice(history: History) -> None:
    history.failed(30)
    assert history.run("jobs", "retry", "--all", "--state", "failed").stdout == "30 jobs: failed → queued\n"
    assert history.run("jobs", "retry", "--all", "--state", "failed").stdout == "no such jobs to retry\n"
    cancelled = history.run("jobs", "cancel", "--path", "1.WAV", "--json")
    document = json.loads(cancelled.stdout)
    assert [one["made"] for one in document["jobs"]] == ["cancelled"] * 3
    with history.opened() as ledger:
        assert len(ledger.actions(100)) == 33


def test_a_job_that_cannot_be_changed_says_why_and_fails_the_command(history: History) -> None:
    history.failed(1)
    history.run("jobs", "cancel", "1")
    done = history.run("jobs", "cancel", "1", "77")
    assert done.returncode == 1
    assert "it is failed already" in done.stdout
    assert "there is no such job" in done.stdout


def test_priority(history: History) -> None:
    history.failed(2)
    history.run("jobs", "retry", "drop")
    done = history.run("jobs", "priority", "5", "drop/1.wav")
    assert "queued, priority 0  queued, priority 5" in done.stdout
    assert "priority   5" in history.run("jobs", "show", "2").stdout
    assert history.run("jobs", "priority", "500", "2").returncode == 2


def test_an_action_without_jobs_is_refused(history: History) -> None:
    history.failed(1)
    done = history.run("jobs", "retry", "--state", "failed")
    assert done.returncode == 2
    assert "--all" in done.stderr


def test_drain_needs_a_daemon(history: History) -> None:
    history.failed(0)
    done = history.run("drain")
    assert done.returncode == 2
    assert "nothing to drain" in done.stderr


@pytest.mark.parametrize("answered", [b"", b'{"schema": "dropscribe/con'])
def test_what_a_daemon_may_have_done_again_is_not_done_by_the_command(
    history: History, answered: bytes
) -> None:
    history.failed(1)
    with socket.socket(socket.AF_UNIX) as listening, ThreadPoolExecutor(1) as thread:
        with opened(history.folder) as folder:
            listening.bind(f"/proc/self/fd/{folder}/jobs.db.control")
        listening.listen()
        listening.settimeout(60)

        def daemon() -> None:
            connection, _ = listening.accept()
            with connection:
                while not connection.recv(1 << 16).endswith(b"\n"):
                    pass
                connection.sendall(answered)

        ended = thread.submit(daemon)
        done = history.run("jobs", "redo", "1")
        ended.result()
    assert done.returncode == 1
    assert "it may have been carried out" in done.stderr
    assert "jobs show" in done.stderr
    with history.opened() as ledger:
        assert ledger.actions() == []


def test_who_may_not_write_is_told_what_to_do(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    history.failed(1)
    monkeypatch.setattr(client, "_writable", lambda _: False)
    done = history.run("pause")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "usermod -aG dropscribe" in done.stderr
