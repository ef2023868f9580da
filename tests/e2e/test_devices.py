"""The daemon on two devices: both work, and the death of one fails no recording."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from tests.support.daemon_process import DaemonProcess, wait_until, write_speech
from tests.support.slow_engine import SLOW


def test_two_devices_work_and_the_death_of_one_fails_no_recording(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, model="null", command=SLOW)
    text = daemon.config.read_text(encoding="utf-8")
    daemon.config.write_text(
        text.replace('device = "cpu"', 'device = ["cpu", "cpu"]\nthreads = 1'), encoding="utf-8"
    )
    with daemon:
        (ready,) = daemon.actions("ready")
        assert ready["device"] == "cpu", "one device, two processes"
        assert len(daemon.children("ds-engine")) == 2
        targets = [write_speech(daemon.inbox / f"{i}.wav", seconds=60 + 10 * i) for i in range(4)]
        wait_until(lambda: any(daemon.state(t) == "running" for t in targets), "a job runs")
        os.kill(daemon.child("ds-engine"), signal.SIGKILL)
        for i, target in enumerate(targets):
            daemon.wait_for(target)
            document = json.loads(target.with_suffix(".json").read_text(encoding="utf-8"))
            assert document["media"]["duration_ms"] == (60 + 10 * i) * 1000
        wait_until(lambda: daemon.actions("engine") != [], "the death is logged")
        assert "cpu#" in str(daemon.actions("engine")[0]["event"]), "it names the device"
        assert len(daemon.actions("ready")) == 1, "the daemon was ready all the time"
        assert daemon.stop() == 0
