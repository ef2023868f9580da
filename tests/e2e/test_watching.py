"""The watched folder disappears: log and `dropscribe status` report it, no file counts as deleted, and work
continues when it is back. (`tests/integration/test_intake_turns.py` tests that one rescan detects it.)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess, wait_until
from tests.support.ways_of_arriving import tiny

#: User namespace with its own limits; `sh` execs the daemon.
ISOLATED = ("unshare", "--user", "--map-root-user")
WATCHES = "/proc/sys/user/max_inotify_watches"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """One recording at a time, so that a second one waits in the queue."""
    with DaemonProcess(tmp_path, model="null", service="jobs_in_flight = 1") as process:
        yield process


def put(path: Path, number: int) -> Path:
    path.write_bytes(tiny(number))
    return path


def wait_said(daemon: DaemonProcess, words: str) -> None:
    """Wait until log and `dropscribe status` report `words` for the inbox."""
    wait_until(
        lambda: any(
            words in line["event"] and str(daemon.inbox) in line["event"] for line in daemon.actions("folder")
        ),
        f"the log says '{words}'; said so far: {daemon.actions('folder')}",
    )
    wait_until(lambda: words in daemon.status(), f"the status says '{words}'")


def wait_well(daemon: DaemonProcess) -> None:
    wait_until(lambda: "problem" not in daemon.status(), "the status says that all is well")


def fill(daemon: DaemonProcess) -> list[Path]:
    """Drop recordings while the engine is stopped: one running job and two queued ones."""
    filled = [put(daemon.inbox / f"waiting-{i}.wav", 100 + i) for i in range(3)]
    wait_until(
        lambda: sorted(str(daemon.state(path)) for path in filled) == ["queued", "queued", "running"],
        "one is worked on, two wait",
    )
    return filled


def wait_held(daemon: DaemonProcess, recordings: list[Path], why: str) -> None:
    """Wait until all of these are held because of their folder."""

    def held() -> bool:
        rows = daemon.rows("select state, reason, remedy from jobs")
        return all(
            row["state"] == "queued" and why in (row["reason"] or "") and row["remedy"] for row in rows
        )

    wait_until(held, "all wait for their folder")
    assert len(daemon.rows("select 1 from jobs")) == len(recordings)


def assert_all_done_once(daemon: DaemonProcess, recordings: list[Path]) -> None:
    for path in recordings:
        daemon.wait_for(path)
    assert [row["state"] for row in daemon.rows("select state from jobs")] == ["done"] * len(recordings)


def test_folder_renamed_and_renamed_back(daemon: DaemonProcess) -> None:
    with daemon.engine_held():
        recordings = fill(daemon)
        away = daemon.inbox.rename(daemon.root / "away")
        wait_said(daemon, "does not exist")
    wait_held(daemon, recordings, "does not exist")
    put(away / "meanwhile.wav", 7)
    recordings.append(away.rename(daemon.inbox) / "meanwhile.wav")
    assert_all_done_once(daemon, recordings)
    wait_well(daemon)


def test_folder_removed_and_recreated(daemon: DaemonProcess) -> None:
    old = put(daemon.inbox / "old.wav", 1)
    daemon.wait_for(old)
    shutil.rmtree(daemon.inbox)
    wait_said(daemon, "does not exist")
    daemon.inbox.mkdir()
    new = put(daemon.inbox / "new.wav", 2)
    assert_all_done_once(daemon, [old, new])
    wait_well(daemon)
    assert {path.name for path in daemon.inbox.iterdir()} == {
        "new.wav", "new.txt", "new.srt", "new.vtt", "new.json", "new.timing.json",
    }  # fmt: skip


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Path]:
    """A file system that can be mounted at the inbox; unmounted at the end."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    store, inbox = tmp_path / "store", tmp_path / "inbox"
    store.mkdir()
    inbox.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", str(store)], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield store
    finally:
        unmount(inbox, check=False)
        unmount(store)


def mount(share: Path, target: Path) -> None:
    subprocess.run(["mount", "--bind", str(share), str(target)], check=True)


def unmount(path: Path, *, check: bool = True) -> None:
    subprocess.run(["umount", "--lazy", str(path)], check=check, stderr=subprocess.DEVNULL)


def test_share_unmounted_and_mounted_again(share: Path, daemon: DaemonProcess) -> None:
    mount(share, daemon.inbox)
    with daemon.engine_held():
        recordings = fill(daemon)
        unmount(daemon.inbox)
        assert list(daemon.inbox.iterdir()) == []
        wait_said(daemon, "unmounted")
    wait_held(daemon, recordings, "unmounted")
    put(share / "meanwhile.wav", 7)
    mount(share, daemon.inbox)
    recordings.append(daemon.inbox / "meanwhile.wav")
    assert_all_done_once(daemon, recordings)
    wait_well(daemon)


@pytest.fixture
def few_watches(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon with fewer inotify watches than folders."""
    probe = [*ISOLATED, "sh", "-c", f"echo 3 > {WATCHES}"]
    if shutil.which("unshare") is None or subprocess.run(probe, check=False).returncode:
        pytest.skip("user namespaces are not allowed here")
    start = f'echo 3 > {WATCHES}; exec "$@"'
    daemon = DaemonProcess(
        tmp_path,
        model="null",
        command=(*ISOLATED, "sh", "-c", start, "sh", sys.executable, "-m", "dropscribe"),
    )
    for i in range(9):
        (daemon.inbox / f"{i}").mkdir()
    with daemon:
        yield daemon


def test_watches_exhausted_and_available_again(few_watches: DaemonProcess) -> None:
    daemon = few_watches
    wait_said(daemon, "fs.inotify.max_user_watches")
    recordings = [put(daemon.inbox / f"{i}" / "a.wav", i) for i in range(9)]
    for path in recordings:
        daemon.wait_for(path)
    assert daemon.process is not None
    enter = ["nsenter", "--user", "--preserve-credentials", "--target", str(daemon.process.pid)]
    subprocess.run([*enter, "sh", "-c", f"echo 100 > {WATCHES}"], check=True)
    wait_well(daemon)
    assert "(inotify): ok" in daemon.status()
    recordings.append(put(daemon.inbox / "8" / "after.wav", 99))
    assert_all_done_once(daemon, recordings)
