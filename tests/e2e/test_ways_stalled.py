"""A daemon stopped while more files arrive than the kernel's event queue holds."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess, wait_until
from tests.support.ways_of_arriving import on_record, sha256_of, tiny

FOLDERS = 50
#: Length of the kernel's event queue; later events are lost.
EVENTS_KEPT = Path("/proc/sys/fs/inotify/max_queued_events")
#: Seconds between rescans. With inotify none is due during the test: the loss of events must cause a scan.
RESCAN_S = {"inotify": 3600.0, "poll": 1.0}
#: Time limit, seconds: two slow shared cores take minutes to inspect 20,000 files.
ALL_S = 600.0


@pytest.mark.timeout(2 * ALL_S)
@pytest.mark.parametrize("files", [2_000, pytest.param(20_000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("backend", sorted(RESCAN_S))
def test_recordings_that_arrived_while_it_was_stopped_are_each_admitted_once(
    tmp_path: Path, backend: str, files: int
) -> None:
    daemon = DaemonProcess(
        tmp_path, model="null", folder=f'backend = "{backend}"', rescan_s=RESCAN_S[backend]
    )
    with daemon:
        wait_until(lambda: daemon.actions("folder") != [], "the folder is watched")
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGSTOP)
        # Three events each fill the queue, so that events of the recordings are lost.
        for _ in range(int(EVENTS_KEPT.read_text(encoding="ascii")) // 3 + 1):
            scratch = daemon.inbox / "scratch.tmp"
            scratch.touch()
            scratch.unlink()
        written = {}
        for i in range(files):
            path = daemon.inbox / f"{i % FOLDERS}" / f"{i}.wav"
            path.parent.mkdir(exist_ok=True)
            data = tiny(i)
            path.write_bytes(data)
            written[path] = [sha256_of(data)]
        daemon.process.send_signal(signal.SIGCONT)
        wait_until(
            lambda: daemon.rows("select count(*) from recordings")[0][0] >= files, "all are admitted", ALL_S
        )
        assert on_record(daemon) == written
        assert daemon.rows("select count(*) from jobs")[0][0] == files
