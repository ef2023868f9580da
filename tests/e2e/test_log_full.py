"""The work goes on when the log cannot be written."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.e2e.harness import SAMPLE, DaemonProcess, wait_until


def test_a_full_disk_under_the_log_stops_nothing(tmp_path: Path) -> None:
    # The harness reads standard error, so it is taken from the daemon by the shell that becomes it.
    into_a_full_disk = ("/bin/sh", "-c", f'exec "{sys.executable}" -m daemon "$@" 2>/dev/full', "sh")
    daemon = DaemonProcess(tmp_path, model="null", command=into_a_full_disk).start()
    try:
        shutil.copy(SAMPLE, daemon.inbox / "one.wav")
        wait_until(lambda: (daemon.inbox / "one.json").exists() or not daemon.running, "a transcript")
        assert daemon.running
    finally:
        assert daemon.stop() == 0
