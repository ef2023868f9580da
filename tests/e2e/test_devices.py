"""The daemon on two devices, each with a station process: what dies of one costs no recording, and all end with the daemon."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil

from dropscribe.pipeline.local.stations_executor import LOST_S
from tests.support.daemon_process import DEADLINE_S, DaemonProcess, wait_until, write_speech
from tests.support.long_forms import IN_SOAK
from tests.support.slow_engine import SLOW

#: Names of all processes of a station.
FAMILY = ("ds-station", "ds-engine", "ds-decoder")


def on_two_devices(root: Path) -> DaemonProcess:
    daemon = DaemonProcess(root, model="null", command=SLOW)
    text = daemon.config.read_text(encoding="utf-8")
    devices = 'device = ["cpu", "cpu"]\nthreads = 1'
    daemon.config.write_text(
        text.replace('device = "cpu"', devices) + "\n[media]\ndecoders = 2\n", encoding="utf-8"
    )
    return daemon


def drop(daemon: DaemonProcess, name: str, count: int) -> list[Path]:
    """Drop recordings, and wait until one of them is being transcribed."""
    # None has the content of another one, whose result would be its own at once.
    begin = len(list(daemon.inbox.glob("*.wav")))
    targets = [
        write_speech(daemon.inbox / f"{name}{i}.wav", seconds=60 + 10 * i, offset=(begin + i) / 10)
        for i in range(count)
    ]
    wait_until(lambda: any(daemon.state(t) == "running" for t in targets), "a job runs")
    return targets


def check(daemon: DaemonProcess, targets: list[Path]) -> None:
    """Each is transcribed whole, once."""
    for i, target in enumerate(targets):
        daemon.wait_for(target)
        document = json.loads(target.with_suffix(".json").read_text(encoding="utf-8"))
        assert document["media"]["duration_ms"] == (60 + 10 * i) * 1000


def until_both_are_ready(daemon: DaemonProcess) -> None:
    def both_are_ready() -> bool:
        said = json.loads(daemon.root.joinpath("jobs.db.status.json").read_text(encoding="utf-8"))
        return [(n["name"], n["state"]) for n in said["nodes"]] == [("cpu#1", "ready"), ("cpu#2", "ready")]

    wait_until(both_are_ready, "both stations are ready")


def family(daemon: DaemonProcess) -> set[int]:
    return {pid for name in FAMILY for pid in daemon.children(name)}


def until_gone(pids: set[int]) -> None:
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), f"{pids} are gone")


def test_two_devices_work_and_the_death_of_an_engine_or_a_station_fails_no_recording(tmp_path: Path) -> None:
    with on_two_devices(tmp_path) as daemon:
        (ready,) = daemon.actions("ready")
        assert ready["device"] == "cpu", "one device, two processes"
        assert [len(daemon.children(name)) for name in FAMILY] == [2, 2, 2]
        for pid in family(daemon):
            os.kill(pid, signal.SIGTERM)  # as the service manager and a terminal do with all of a group
            os.kill(pid, signal.SIGINT)
        targets = drop(daemon, "engine", 4)
        os.kill(daemon.child("ds-engine"), signal.SIGKILL)
        check(daemon, targets)
        wait_until(lambda: daemon.actions("engine") != [], "the death is logged")
        assert "cpu#" in str(daemon.actions("engine")[0]["event"]), "it names the device"

        targets = drop(daemon, "station", 4)
        station = daemon.child("ds-station")
        lost = {station, *(p.pid for p in psutil.Process(station).children())}
        os.kill(station, signal.SIGKILL)
        check(daemon, targets)
        until_gone(lost)
        until_both_are_ready(daemon)
        assert any("another one takes its place" in str(line["event"]) for line in daemon.actions("engine"))
        assert len(daemon.actions("ready")) == 1, "the daemon was ready all the time"
        assert not daemon.actions("job_failed")
        (done,) = daemon.rows("select count(*) from jobs where state = 'done' and attempts = 1")
        assert done[0] == 8, "no try was counted"

        drop(daemon, "daemon", 2)
        everything = family(daemon)
        # One that is stopped cannot notice that its parent is gone.
        os.kill(daemon.child("ds-engine"), signal.SIGSTOP)
        daemon.kill()
        until_gone(everything)


@IN_SOAK
def test_a_stopped_station_is_replaced_with_its_engine(tmp_path: Path) -> None:
    with on_two_devices(tmp_path) as daemon:
        targets = drop(daemon, "stopped", 4)
        station = daemon.child("ds-station")
        lost = {station, *(p.pid for p in psutil.Process(station).children())}
        for pid in lost:
            os.kill(pid, signal.SIGSTOP)
        until = time.monotonic() + LOST_S + DEADLINE_S
        while any(psutil.pid_exists(pid) for pid in lost):
            assert time.monotonic() < until
            time.sleep(0.5)
        check(daemon, targets)
        until_both_are_ready(daemon)
        everything = family(daemon)
        assert daemon.stop() == 0
        until_gone(everything)
