"""What stands beside a recording that cannot be transcribed or written, and that it goes on by itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.command_line import outcome
from tests.support.daemon_process import DaemonProcess, wait_until
from tests.support.ways_of_arriving import tiny


def status_of(daemon: DaemonProcess) -> tuple[int, str]:
    code, said = outcome("status", "--config", daemon.config)
    return code, " ".join(said.split())


def close(folder: Path) -> bool:
    """Make a folder unwritable; False if that is not possible here."""
    if os.geteuid() != 0:
        folder.chmod(0o500)
        return True
    if subprocess.run(["mount", "--bind", folder, folder], check=False, capture_output=True).returncode:
        return False
    return not subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=False).returncode


def reopen(folder: Path) -> None:
    if os.geteuid() == 0:
        subprocess.run(["umount", folder], check=True)
    else:
        folder.chmod(0o700)


def test_a_folder_that_cannot_be_written_and_a_recording_that_is_none(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, model="null", quiet_s=0.1)
    closed = daemon.inbox / "closed"
    closed.mkdir()
    waiting = closed / "a.wav"
    waiting.write_bytes(tiny(1))
    broken = daemon.inbox / "broken.wav"
    broken.write_bytes(b"this is no sound" * 100)
    if not close(closed):
        pytest.skip("nothing can be mounted here")
    try:
        with daemon:
            daemon.wait_for(broken, "failed")
            note = broken.with_suffix(".failed.txt")
            wait_until(note.exists, "the note is there")
            wait_until(lambda: "is held" in status_of(daemon)[1], "the status names the held job")
            code, told = status_of(daemon)
            assert code == 1
            assert str(closed) in told
            # Nothing was decoded for it, let alone recognised.
            job = daemon.rows(
                "select j.* from jobs j join recordings r on r.id = recording_id where path = ?", str(waiting)
            )
            assert (job[0]["attempts"], job[0]["audio_ms"], job[0]["reason_code"]) == (0, None, "unwritable")
            broken.write_bytes(tiny(2))
            daemon.wait_for(broken)
            wait_until(lambda: not note.exists(), "the note is gone")
            reopen(closed)
            daemon.wait_for(waiting)
            assert waiting.with_suffix(".txt").exists()
            assert status_of(daemon)[0] == 0
    finally:
        if daemon.state(waiting) != "done":
            reopen(closed)
