"""Two daemons on one folder or database: one works, the other exits with a remedy; no job is done twice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.daemon_process import DEADLINE_S, DaemonProcess, wait_until
from tests.support.ways_of_arriving import tiny

#: The exit status of AlreadyRunningError, as docs/command-line.md lists it.
ALREADY_RUNNING = 4
FILES = 50


def on(root: Path, folder: Path) -> DaemonProcess:
    """A daemon with its own database in `root` that watches `folder`."""
    root.mkdir()
    daemon = DaemonProcess(root, model="null")
    text = daemon.config.read_text(encoding="utf-8")
    daemon.config.write_text(text.replace(str(daemon.inbox), str(folder)), encoding="utf-8")
    return daemon


def ended(daemon: DaemonProcess) -> str:
    """Error line of a refused daemon; asserts its exit status."""
    assert daemon.process is not None
    assert daemon.process.wait(DEADLINE_S) == ALREADY_RUNNING
    wait_until(
        lambda: any("already" in str(line) or "another" in str(line) for line in daemon.lines), "it says why"
    )
    return "\n".join(str(line.get("event", "")) for line in daemon.lines)


def recordings(*daemons: DaemonProcess) -> list[Path]:
    """Paths of all recordings in their databases, with repetitions."""
    return sorted(
        Path(os.fsdecode(row["path_raw"]))
        for daemon in daemons
        if daemon.database.exists()
        for row in daemon.rows("select path_raw from recordings")
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "part").mkdir(parents=True)
    return folder


# Whose folder lies in whose, and by which name, is tested without a daemon by tests/integration/test_intake_folder_lock.py.
@pytest.mark.parametrize(
    "how",
    [
        "same",
        "around",
        pytest.param("inside", marks=pytest.mark.soak),
        pytest.param("link", marks=pytest.mark.soak),
    ],
)
def test_a_second_daemon_on_a_folder_reports_the_first_and_exits(
    tmp_path: Path, folder: Path, how: str
) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder)
    theirs, ours = {
        "same": (folder, folder),
        "inside": (folder, folder / "part"),
        "around": (folder / "part", folder),
        "link": (folder, link),
    }[how]
    with on(tmp_path / "first", theirs) as first:
        wait_until(lambda: first.actions("folder") != [], "the folder is watched")
        second = on(tmp_path / "second", ours).start()
        if how == "around":
            # The directory that another daemon watches is left to it; the rest is watched.
            second.wait_ready()
            wait_until(
                lambda: second.rows("select 1 from skips where code = 'watched_elsewhere'") != [], "said"
            )
        else:
            said = ended(second)
            assert first.process is not None
            assert f"process {first.process.pid}" in said
            assert str(theirs if how != "link" else ours) in said
            assert "stop that one" in said
        target = theirs / "a.wav"
        target.write_bytes(tiny(1))
        first.wait_for(target)
        second.__exit__()
        assert recordings(first, second) == [target]
        assert first.running


def test_two_daemons_started_at_once_on_one_folder_do_no_job_twice(tmp_path: Path, folder: Path) -> None:
    files = [folder / f"{i}.wav" for i in range(FILES)]
    for i, path in enumerate(files):
        path.write_bytes(tiny(i))
    daemons = [on(tmp_path / name, folder).start() for name in ("first", "second")]
    try:
        wait_until(lambda: sum(d.running for d in daemons) == 1, "all but one have ended")
        (serving,) = (d for d in daemons if d.running)
        for refused in daemons:
            if refused is not serving:
                assert str(folder) in ended(refused)
        serving.wait_ready()
        wait_until(
            lambda: serving.rows("select count(*) from jobs where state = 'done'")[0][0] == FILES,
            "all are done",
        )
        assert recordings(*daemons) == sorted(files)
    finally:
        for daemon in daemons:
            daemon.__exit__()


def test_two_daemons_started_at_once_on_one_database_do_no_job_twice(tmp_path: Path) -> None:
    daemons = [DaemonProcess(tmp_path, model="null") for _ in range(2)]
    files = [daemons[0].inbox / f"{i}.wav" for i in range(FILES)]
    for i, path in enumerate(files):
        path.write_bytes(tiny(i))
    for daemon in daemons:
        daemon.start()
    try:
        wait_until(lambda: sum(d.running for d in daemons) == 1, "all but one have ended")
        (serving,) = (d for d in daemons if d.running)
        for refused in daemons:
            if refused is not serving:
                assert str(serving.database) in ended(refused)
        serving.wait_ready()
        wait_until(
            lambda: serving.rows("select count(*) from jobs where state = 'done'")[0][0] == FILES,
            "all are done",
        )
        assert recordings(serving) == sorted(files)
        assert serving.rows("select count(*) from jobs")[0][0] == FILES
    finally:
        for daemon in daemons:
            daemon.__exit__()


def test_a_killed_daemon_leaves_no_locks(tmp_path: Path, folder: Path) -> None:
    with on(tmp_path / "first", folder) as first:
        wait_until(lambda: first.actions("folder") != [], "the folder is watched")
        first.kill()
        with on(tmp_path / "second", folder) as second:
            target = folder / "a.wav"
            target.write_bytes(tiny(1))
            second.wait_for(target)
