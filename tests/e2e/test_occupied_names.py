"""Pipes, devices and endless files at the daemon's names: other recordings are done, and it can be stopped."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psutil

from tests.support.daemon_process import DaemonProcess, wait_until, write_speech
from tests.support.occupants import OCCUPANTS

KINDS = ("pipe", "link to an endless device", "sparse file of 4 TB", "directory")


def is_done(daemon: DaemonProcess, recording: Path) -> bool:
    """True if the current content has its transcript."""
    sql = (
        "select 1 from jobs j join recordings r on r.id = recording_id"
        " where r.path = ? and r.latest and j.state = 'done' and r.size = ?"
    )
    return bool(daemon.rows(sql, str(recording), recording.stat().st_size))


def test_special_files_at_its_names_do_not_stop_the_daemon(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, model="null") as daemon, ExitStack() as occupied:
        recordings = [
            write_speech(daemon.inbox / f"{i}.wav", seconds=1.0, offset=0.2 * i) for i in range(len(KINDS))
        ]
        for recording in recordings:
            daemon.wait_for(recording)
        assert daemon.process is not None
        process = psutil.Process(daemon.process.pid)
        before = process.memory_info().rss
        for recording, kind in zip(recordings, KINDS, strict=True):
            occupied.enter_context(OCCUPANTS[kind](recording.with_suffix(".txt")))
            os.mkfifo(recording.with_suffix(".partial.txt"))
            # The same name, other content.
            write_speech(recording, seconds=1.5, offset=0.2)
        last = write_speech(daemon.inbox / "last.wav", seconds=1.2)
        for recording in [*recordings, last]:
            wait_until(partial(is_done, daemon, recording), f"{recording.name} is done; {daemon.lines[-3:]}")
        assert last.with_suffix(".txt").is_file()
        for recording in recordings:
            assert (daemon.inbox / f"{recording.name}.txt").is_file(), "other names were planned"
        assert process.memory_info().rss < before + (200 << 20)
        assert daemon.stop() == 0
