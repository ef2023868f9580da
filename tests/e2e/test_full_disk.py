"""A nearly full disk: the daemon begins no job there, reports it, and continues when space is free."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import process
from tests.support.daemon_process import DaemonProcess, wait_until, write_speech

MIB = 1024**2
#: A small disk, MiB; the floor on it is a tenth.
SIZE = 40


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    disk = tmp_path / "small"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}m", "tmpfs", str(disk)]
    mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@contextmanager
def filled(disk: Path, left: int) -> Iterator[Path]:
    """Fill the disk except for this many bytes."""
    ballast = disk / "ballast"
    status = os.statvfs(disk)
    ballast.write_bytes(bytes(status.f_bavail * status.f_frsize - left))
    try:
        yield ballast
    finally:
        ballast.unlink(missing_ok=True)


def status(daemon: DaemonProcess) -> dict[str, Any]:
    done = process("status", "--json", "--config", daemon.config)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def complains(daemon: DaemonProcess, place: Path) -> bool:
    return any(str(place) in p and "are free" in p for p in status(daemon)["problems"])


def test_jobs_of_a_full_folder_wait_and_others_continue(tmp_path: Path, small: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    profile = f'[profiles.tight]\noutput_dir = "{small}/out"\n'
    folder = f'[[folder]]\npath = "{other}"\nprofile = "tight"\nquiet_s = 0.5\n'
    with (
        filled(small, 3 * MIB) as ballast,
        DaemonProcess(tmp_path, model="null", extra=profile, folder=folder) as daemon,
    ):
        wait_until(lambda: complains(daemon, small), "status says that it is low")
        waiting = write_speech(other / "waiting.wav", seconds=2)
        wait_until(lambda: daemon.state(waiting) == "queued", "it is admitted")
        going = write_speech(daemon.inbox / "going.wav", seconds=3)
        daemon.wait_for(going)
        (row,) = daemon.rows("select attempts, reason_code, reason, remedy from jobs where state = 'queued'")
        assert (row["attempts"], row["reason_code"]) == (0, "no_room")
        assert str(small) in row["reason"]
        assert "free some space" in row["remedy"]
        # Above the floor, but below 1.5 times the floor.
        with ballast.open("r+b") as file:
            file.truncate(ballast.stat().st_size - 2 * MIB)
        daemon.wait_for(write_speech(daemon.inbox / "second.wav", seconds=4))
        assert daemon.state(waiting) == "queued"
        ballast.unlink()
        daemon.wait_for(waiting)
        assert (small / "out" / "waiting.txt").is_file()
        wait_until(lambda: status(daemon)["healthy"], "status is well again")
        said = [line["event"] for line in daemon.actions("storage")]
    assert len([s for s in said if str(small) in s]) == 2, said


def test_on_a_full_database_disk_no_job_begins_and_none_is_lost(tmp_path: Path, small: Path) -> None:
    """Even if the last byte is used while recordings arrive."""
    root = small / "root"
    root.mkdir()
    outside = tmp_path / "arriving"
    outside.mkdir()
    folder = f'[[folder]]\npath = "{outside}"\nquiet_s = 0.5\n'
    with DaemonProcess(root, model="null", folder=folder) as daemon:
        daemon.wait_for(write_speech(outside / "before.wav", seconds=2))
        with filled(small, 0):
            wait_until(lambda: bool(daemon.actions("storage")), "it says so")
            arrived = [write_speech(outside / f"{i}.wav", seconds=3 + i) for i in range(3)]
            wait_until(
                lambda: any("admit recordings" in line["event"] for line in daemon.actions("storage")),
                "what arrives cannot be put on record",
            )
            assert daemon.running
            assert not any(path.with_suffix(".txt").exists() for path in arrived)
        for path in arrived:
            daemon.wait_for(path)
        assert daemon.rows("select max(attempts) from jobs")[0][0] == 1
        assert daemon.rows("pragma integrity_check")[0][0] == "ok"
        wait_until(lambda: status(daemon)["healthy"], "status is well again")
