"""The daemon beside others that fill its folder or hold its database."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.support.daemon_process import DaemonProcess, wait_until, write_speech

#: Root may read all files unless these capabilities are dropped.
POWERLESS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
COMMAND = (*POWERLESS, sys.executable, "-m", "dropscribe")
FOREIGN, UNREADABLE = 400, 40


def test_files_that_are_no_recordings_or_unreadable_are_said_once_and_remembered(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, model="null", command=COMMAND)
    for i in range(FOREIGN):
        (daemon.inbox / f"{i}.dat").write_bytes(b"no recording")
    for i in range(UNREADABLE):
        write_speech(daemon.inbox / f"{i}.wav", seconds=1.0, offset=i / 100).chmod(0)
    rows = []
    for run in range(2):
        with daemon:
            daemon.wait_for(write_speech(daemon.inbox / f"good{run}.wav", seconds=1.0, offset=1 + run))
            wait_until(lambda: len(daemon.actions("skipped")) == 2, "both kinds are logged")
            assert sorted((line["code"], line["count"]) for line in daemon.actions("skipped")) == [
                ("extension", FOREIGN), ("unreadable", UNREADABLE),
            ]  # fmt: skip
            rows.append({tuple(row) for row in daemon.rows("select * from skips")})
            if run:
                # Somebody gives access: no restart, no wait for the next attempt.
                (daemon.inbox / "7.wav").chmod(0o644)
                daemon.wait_for(daemon.inbox / "7.wav")
            assert len(daemon.actions("skipped")) == 2
        assert daemon.process is not None
        assert daemon.process.returncode == 0
    assert rows[0] == rows[1], "a restart rewrites nothing"
    assert len(rows[0]) == FOREIGN + UNREADABLE
