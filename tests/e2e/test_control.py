"""Commands to a real daemon that is killed while it carries them out: none is lost, and none takes effect twice."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import killed_daemon
from tests.support.command_line import outcome
from tests.support.daemon_process import DaemonProcess, wait_until, write_speech


def killed_at(folder: Path, point: str) -> Sequence[str]:
    """`dropscribe`, killed when it comes to a point."""
    return (sys.executable, killed_daemon.__file__, point, "1", str(folder / point))


def effects(daemon: DaemonProcess) -> list[tuple[str, str, str]]:
    """What was asked for and changed something: action, state found, state made."""
    found = daemon.rows("select action, found, made from actions where found <> made order by id")
    return [(row["action"], row["found"], row["made"]) for row in found]


@pytest.mark.timeout(300)
def test_commands_outlive_a_daemon_that_is_killed_in_the_middle_of_them(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, model="null", command=killed_at(tmp_path, "paused, not committed"))

    def run(*arguments: str) -> str:
        return outcome(*arguments, "--config", daemon.config)[1]

    def states() -> list[str]:
        return [
            row["state"]
            for row in daemon.rows(
                "select j.state from jobs j join recordings r on r.id = recording_id order by path"
            )
        ]

    # The daemon dies with the request, and the command does it itself.
    with daemon:
        assert "working → paused" in run("pause")
        wait_until(lambda: not daemon.running, "the daemon was killed")
    assert effects(daemon) == [("pause", "working", "paused")]

    # The next one is paused, too. It dies when the cancellation is on record and not answered.
    daemon.command = tuple(killed_at(tmp_path, "cancelled, not answered"))
    with daemon:
        first, second = (write_speech(daemon.inbox / f"{n}.wav", seconds=2.0, offset=n * 0.2) for n in (1, 2))
        wait_until(lambda: states() == ["queued", "queued"], "both wait")
        assert "waits: paused by" in run("jobs")
        job = daemon.rows(
            "select j.id from jobs j join recordings r on r.id = recording_id where path = ?", str(first)
        )[0]["id"]
        assert "cancelled" in run("jobs", "cancel", str(job))
        wait_until(lambda: not daemon.running, "the daemon was killed")
    assert states() == ["cancelled", "queued"]
    assert effects(daemon)[1:] == [("cancel", "queued", "cancelled")]

    daemon.command = (sys.executable, "-m", "dropscribe")
    with daemon:
        assert daemon.rows("select 1 from attempts") == [], "nothing was begun while it was paused"
        assert "queued" in run("jobs", "retry", str(first))
        assert "→ working" in run("resume")
        for path in (first, second):
            daemon.wait_for(path)
        assert "working → draining" in run("drain")
        assert daemon.process is not None
        assert daemon.process.wait(60) == 0
    assert daemon.rows("select 1 from pauses") == []
    assert states() == ["done", "done"]
    assert daemon.rows("select path from outputs where published = 1 group by path having count(*) > 1") == []
    assert [done for done, _, _ in effects(daemon)] == [
        "pause",
        "cancel",
        "retry",
        "resume",
        "drain",
        "resume",
    ]
