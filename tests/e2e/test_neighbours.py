"""The daemon beside others that fill its folder or hold its database."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.service.monitoring import status_file
from tests.support.daemon_process import DaemonProcess, wait_until, write_speech
from tests.support.database_lock import locked

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


class Manager:
    """The socket of a service manager: what it has heard so far."""

    def __init__(self, address: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        self._lines: list[str] = []
        self._closed = threading.Event()
        self._socket.settimeout(0.2)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        """As the service manager does: a queue of the socket that is full would be an error of the daemon."""
        while not self._closed.is_set():
            with contextlib.suppress(TimeoutError):
                self._lines += self._socket.recv(65_536).decode().split("\n")

    def lines(self) -> list[str]:
        return list(self._lines)

    def close(self) -> None:
        self._closed.set()
        self._reader.join()
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    yield made
    made.close()


def complaints(daemon: DaemonProcess) -> str:
    """Problems of storage in the daemon's status file."""
    document = status_file.read(DatabaseLocation(daemon.database)) or {"storage": []}
    return "; ".join(one["problem"] for one in document["storage"])


#: Turns of the main loop while the database is locked. If it waited for the lock each would take half a minute or more, and
#: the deadline of the test would pass first.
TURNS = 8


def test_the_main_loop_turns_while_another_process_has_the_database_locked(
    tmp_path: Path, manager: Manager
) -> None:
    daemon = DaemonProcess(tmp_path, model="null")
    open_ledger(DatabaseLocation(daemon.database)).close()
    try:
        with locked(daemon.database):
            daemon.start()
            wait_until(
                lambda: any("locked by another" in line for line in manager.lines()), "the start says it"
            )
            assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in manager.lines())
            assert "READY=1" not in manager.lines()
            wait_until(lambda: "locked by another process" in complaints(daemon), "the status says it")
        daemon.wait_ready()
        with locked(daemon.database):
            recording = write_speech(daemon.inbox / "a.wav", seconds=1.0)
            before = manager.lines().count("WATCHDOG=1")
            wait_until(lambda: manager.lines().count("WATCHDOG=1") >= before + TURNS, "the loop turns")
            wait_until(lambda: "locked by another process, since" in complaints(daemon), "the status says it")
            assert "locked by another process, since" in daemon.status()
            told = [line["event"] for line in daemon.actions("storage")]
            assert len([line for line in told if "locked" in line]) == 2, "once a lock"
        daemon.wait_for(recording)
        wait_until(lambda: complaints(daemon) == "", "the status is well again")
        assert daemon.stop() == 0
    finally:
        daemon.__exit__()


@pytest.mark.parametrize("since", ["start", "ready"])
def test_any_number_of_signals_is_one_clean_stop(tmp_path: Path, since: str) -> None:
    daemon = DaemonProcess(tmp_path, model="null").start()
    try:
        if since == "ready":
            daemon.wait_ready()
            write_speech(daemon.inbox / "a.wav", seconds=1.0)
        wait_until(lambda: bool(daemon.lines), "it has begun")
        assert daemon.process is not None
        while daemon.process.poll() is None:
            daemon.process.send_signal(signal.SIGTERM)
            daemon.process.send_signal(signal.SIGINT)
            time.sleep(0.001)
        assert daemon.process.returncode == 0
    finally:
        daemon.__exit__()
    assert len(daemon.actions("stopped")) == 1
    assert daemon.actions("unparsed") == []
