"""Hanging shares (`tests/support/hanging_disk.py`): reported, other folders not blocked, stopping possible."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import outcome
from tests.support.daemon_process import DaemonProcess, wait_until, write_speech
from tests.support.hanging_disk import HangingDisk

#: Launcher with short time limits for file systems, so that no test takes minutes.
LAUNCHER = Path(__file__).parents[1] / "support" / "impatient_daemon.py"


class House:
    """A daemon on an ordinary folder and on one whose file system hangs on request, or with publishing processes on an output
    folder that does.
    """

    def __init__(self, root: Path, disk: HangingDisk, *, output_only: bool = False) -> None:
        self.disk = disk
        self.share = root / "share" if output_only else disk.path
        self.share.mkdir(exist_ok=True)
        output = f'[profiles.share]\noutput_dir = "{disk.path}"\n' if output_only else "[profiles.share]\n"
        folder = f'[[folder]]\npath = "{self.share}"\nprofile = "share"\nquiet_s = 0.2\nquiet_unprobed_s = 0.2\nbackend = "poll"\npoll_s = 0.5\n'
        self.daemon = DaemonProcess(
            root, model="null", quiet_s=0.2, rescan_s=0.5, folder=folder,
            extra=output, command=(sys.executable, str(LAUNCHER), "2" if output_only else "0"),
        )  # fmt: skip

    def said(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(outcome("status", "--json", "--config", self.daemon.config)[1])
        return document

    def complains(self) -> bool:
        return any(str(self.disk.path) in text for text in self.said()["problems"])

    def others_go_on(self, name: str) -> None:
        self.daemon.wait_for(write_speech(self.daemon.inbox / name, seconds=0.6 + len(name) / 100))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[HangingDisk]:
    with HangingDisk(tmp_path / "mounted", tmp_path / "behind") as made:
        yield made


@pytest.mark.parametrize(
    "output_only",
    [False, pytest.param(True, marks=pytest.mark.soak)],
    ids=["recordings and transcripts", "transcripts only"],
)
def test_a_hanging_share_is_reported_blocks_no_other_folder_and_recovers(
    tmp_path: Path, disk: HangingDisk, output_only: bool
) -> None:
    house = House(tmp_path, disk, output_only=output_only)
    with house.daemon as daemon:
        daemon.wait_for(write_speech(house.share / "before.wav", seconds=0.7))
        assert bool(daemon.children("ds-publish")) == output_only
        disk.hang()
        waiting = (
            [write_speech(house.share / f"{i}.wav", seconds=0.8 + i / 10) for i in range(4)]
            if output_only
            else []
        )
        for i in range(3):
            house.others_go_on(f"other-{i}.wav")
        wait_until(house.complains, "status says which file system hangs")
        said = house.said()
        assert not said["healthy"]
        assert daemon.running
        house.others_go_on("later.wav")
        disk.answer()
        wait_until(lambda: not house.complains(), "status is well again")
        for path in waiting:
            daemon.wait_for(path)
        again = write_speech(house.share / "after.wav", seconds=1.4)
        daemon.wait_for(again)
        assert daemon.stop() == 0
    assert [j["state"] for j in daemon.rows("select distinct state from jobs")] == ["done"]


def test_a_stop_does_not_wait_for_a_hanging_share_and_the_next_start_finishes(
    tmp_path: Path, disk: HangingDisk
) -> None:
    house = House(tmp_path, disk, output_only=True)
    with house.daemon as daemon:
        house.others_go_on("before.wav")
        disk.hang()
        held = write_speech(house.share / "held.wav", seconds=0.9)
        daemon.wait_for(held, "running")
        house.others_go_on("other.wav")
        wait_until(house.complains, "status says which file system hangs")
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not daemon.running, "it has ended while the share hangs")
        assert daemon.process.returncode == 0
    disk.answer()
    with house.daemon as daemon:
        daemon.wait_for(held)
        assert (disk.path / "held.txt").exists()


def test_a_huge_sparse_file_and_a_header_of_gigabytes_block_nothing(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, model="null", quiet_s=0.2, rescan_s=0.5)
    with (daemon.inbox / "huge.wav").open("wb") as file:
        file.truncate(4 << 40)
    header = (
        b"TTA1\x01\x00\x01\x00\x10\x00" + (16000).to_bytes(4, "little") + (0xFFFF_FFF0).to_bytes(4, "little")
    )
    # Its table of frames has four thousand million entries at a rate of 1.
    header = header[:10] + (1).to_bytes(4, "little") + header[14:]
    with (daemon.inbox / "table.tta").open("wb") as file:
        file.write(header + bytes(8))
        file.truncate(40 << 30)
    with daemon:
        for i in range(5):
            daemon.wait_for(write_speech(daemon.inbox / f"{i}.wav", seconds=0.6 + i / 10))
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 60, "a stop within the unit's TimeoutStopSec"


def test_a_pipe_replacing_a_waiting_recording_blocks_nothing(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, model="null", quiet_s=0.2, rescan_s=0.5)
    with daemon:
        stop = time.monotonic() + 5
        i = 0
        while time.monotonic() < stop:
            path = write_speech(daemon.inbox / f"swapped-{i}.wav", seconds=0.6)
            time.sleep(0.25)
            os.mkfifo(tmp_path / "pipe")
            (tmp_path / "pipe").replace(path)
            i += 1
        daemon.wait_for(write_speech(daemon.inbox / "sound.wav", seconds=0.9))
        assert daemon.stop() == 0
