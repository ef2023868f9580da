"""The daemon works without a writable log, and without any."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.support.daemon_process import SAMPLE, DaemonProcess, wait_until


@pytest.mark.parametrize("streams", ["2>/dev/full", "<&- >&- 2>&-"])
def test_a_log_that_cannot_be_written_stops_nothing(streams: str, tmp_path: Path) -> None:
    # The harness reads standard error, so a shell redirects it before it execs the daemon.
    without = ("/bin/sh", "-c", f'exec "{sys.executable}" -m dropscribe "$@" {streams}', "sh")
    daemon = DaemonProcess(tmp_path, model="null", command=without).start()
    try:
        shutil.copy(SAMPLE, daemon.inbox / "one.wav")
        wait_until(lambda: (daemon.inbox / "one.json").exists() or not daemon.running, "a transcript")
        assert daemon.running
    finally:
        assert daemon.stop() == 0
