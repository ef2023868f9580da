"""The system's clock is set while the daemon works: no job runs early, twice or never."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

import tests.support.clocked_daemon
from tests.support.daemon_process import DaemonProcess, wait_until
from tests.support.ways_of_arriving import tiny

DAY_S = 86_400.0
#: Jumps longer than any delay or lease, seconds.
JUMPS = [DAY_S, -DAY_S]
#: Tolerance for the intervals at which the daemon reads its clock and the test the database, seconds.
SLACK_S = 60.0


class Clocked(DaemonProcess):
    """A daemon whose clock can be set."""

    def __init__(self, root: Path, *, extra: str = "") -> None:
        self._ahead_s = 0.0
        self._file = root / "ahead"
        self._file.write_text("0", encoding="ascii")
        program = str(tests.support.clocked_daemon.__file__)
        super().__init__(root, model="null", extra=extra, command=(sys.executable, program, str(self._file)))

    def set_clock(self, jump_s: float) -> None:
        """Set the clock forward by `jump_s`, and wait until the daemon has noticed."""
        noticed = len(self.actions("clock"))
        self._ahead_s += jump_s
        new = self._file.with_suffix(".new")
        new.write_text(str(self._ahead_s), encoding="ascii")
        new.replace(self._file)
        wait_until(lambda: len(self.actions("clock")) > noticed, "the daemon follows the clock")

    def now(self) -> float:
        return time.time() + self._ahead_s


@pytest.mark.parametrize("jump_s", JUMPS)
def test_jobs_under_way_keep_their_leases_and_new_recordings_are_done(tmp_path: Path, jump_s: float) -> None:
    with Clocked(tmp_path) as daemon:
        engine = daemon.child("ds-engine")
        os.kill(engine, signal.SIGSTOP)
        first = daemon.inbox / "first.wav"
        first.write_bytes(tiny(1))
        wait_until(lambda: daemon.state(first) == "running", "it is worked on")
        daemon.set_clock(jump_s)
        (lease,) = (row["lease_until"] for row in daemon.rows("select lease_until from jobs"))
        assert abs(lease - daemon.now()) < 2 * SLACK_S, "neither over nor far away"
        second = daemon.inbox / "second.wav"
        second.write_bytes(tiny(2))
        wait_until(lambda: daemon.state(second) == "running", "what arrives is taken up")
        os.kill(engine, signal.SIGCONT)
        for path in (first, second):
            daemon.wait_for(path)
        assert [row["generation"] for row in daemon.rows("select generation from jobs")] == [1, 1]
        assert len(daemon.rows("select 1 from attempts")) == 2
        future = daemon.inbox / "future.wav"
        future.write_bytes(tiny(3))
        os.utime(future, (4_102_444_800, 4_102_444_800))
        daemon.wait_for(future)
        # The settling time is measured by the monotonic clock.
        assert all(0 <= row["settle_s"] < SLACK_S for row in daemon.rows("select settle_s from jobs"))


def test_delays_keep_their_length(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_bytes(b"a file where the folder should be")
    with Clocked(tmp_path, extra=f'[profiles.default]\noutput_dir = "{blocked}/transcripts"') as daemon:
        target = daemon.inbox / "patient.wav"
        target.write_bytes(tiny(1))
        wait_until(lambda: daemon.actions("job_retry") != [] and daemon.state(target) == "queued", "it waits")
        for jump_s in (*JUMPS, *JUMPS[::-1]):
            daemon.set_clock(jump_s)
            (due,) = (row["not_before"] for row in daemon.rows("select not_before from jobs"))
            assert abs(due - daemon.now()) < SLACK_S, "neither over since yesterday nor due tomorrow"
