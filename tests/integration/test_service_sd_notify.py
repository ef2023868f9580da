"""sd_notify over real datagram sockets."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from dropscribe.errors import DropscribeError
from dropscribe.service.monitoring import sd_notify
from dropscribe.service.monitoring.sd_notify import Notifier, watchdog_interval_s


def listen(address: str) -> socket.socket:
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind("\0" + address[1:] if address.startswith("@") else address)
    s.setblocking(False)
    return s


def heard(manager: socket.socket) -> list[list[str]]:
    messages = []
    while True:
        try:
            messages.append(manager.recv(4096).decode().split("\n"))
        except BlockingIOError:
            return messages


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@dropscribe-test-{uuid.uuid4()}"


@pytest.fixture
def manager(address: str) -> Iterator[socket.socket]:
    s = listen(address)
    yield s
    s.close()


def test_each_state_is_sent_in_one_datagram(address: str, manager: socket.socket) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
    before = time.monotonic_ns() // 1000
    notifier.status("loading the model")
    notifier.ready("paraformer-mini on cpu")
    notifier.reloading()
    notifier.ready()
    notifier.stopping()
    told = heard(manager)
    stamp = told[2].pop()
    assert told == [
        ["STATUS=loading the model"],
        ["READY=1", "STATUS=paraformer-mini on cpu"],
        ["RELOADING=1"],
        ["READY=1"],
        ["STOPPING=1"],
    ]
    key, _, value = stamp.partition("=")
    assert key == "MONOTONIC_USEC"
    assert before <= int(value) <= time.monotonic_ns() // 1000


def test_a_status_cannot_smuggle_in_an_assignment(address: str, manager: socket.socket) -> None:
    Notifier(address).status("10 recordings\nREADY=1")
    assert heard(manager) == [["STATUS=10 recordings READY=1"]]


def test_keep_alives_come_twelve_times_in_an_interval_and_no_oftener(
    address: str, manager: socket.socket
) -> None:
    notifier = Notifier(address, interval_s=60.0)
    for now in (100.0, 100.5, 104.9, 105.0, 105.1, 109.9, 110.0):
        notifier.watchdog(now)
    assert heard(manager) == [["WATCHDOG=1"]] * 3


def test_without_a_watchdog_no_keep_alive_is_sent(address: str, manager: socket.socket) -> None:
    Notifier(address, interval_s=None).watchdog(1.0)
    assert heard(manager) == []


def test_without_a_manager_everything_is_silent() -> None:
    notifier = Notifier.from_environment({})
    assert not notifier.active
    notifier.ready("x")
    notifier.watchdog(1.0)
    notifier.reloading()
    notifier.stopping()


def test_a_manager_that_is_gone_refuses_only_the_first_ready(tmp_path: Path) -> None:
    notifier = Notifier(str(tmp_path / "nobody"))
    notifier.status("loading")
    with pytest.raises(DropscribeError, match="tell the service manager"):
        notifier.ready()


def test_a_manager_lost_later_does_not_stop_the_daemon(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with listen(address):
        notifier = Notifier(address, interval_s=1.0)
        notifier.ready()
    Path(address).unlink()
    notifier.watchdog(1.0)
    notifier.ready("reloaded")
    notifier.stopping()


def fill(address: str) -> None:
    """Until the queue of the manager is full: what is sent then is dropped."""
    for _ in range(10_000):
        Notifier(address).status("loading the model")


def test_the_first_ready_waits_until_the_manager_has_read(address: str, manager: socket.socket) -> None:
    fill(address)
    notifier = Notifier(address)
    teller = threading.Thread(target=notifier.ready)
    teller.start()
    told: list[list[str]] = []
    while ["READY=1"] not in told and (teller.is_alive() or not told):
        told += heard(manager)
    teller.join()
    assert ["READY=1"] in told + heard(manager)


def test_a_manager_that_never_reads_ends_the_start_with_what_to_do(
    address: str, manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sd_notify, "READY_WAIT_S", 0.01)
    fill(address)
    with pytest.raises(DropscribeError, match="tell the service manager") as caught:
        Notifier(address).ready()
    assert "does not read" in caught.value.remedy


def test_what_follows_the_first_ready_waits_for_nobody(address: str, manager: socket.socket) -> None:
    notifier = Notifier(address, interval_s=1.0)
    notifier.ready()
    fill(address)
    notifier.watchdog(1.0)
    notifier.ready("reloaded")
    told = heard(manager)
    assert told[0] == ["READY=1"]
    assert ["WATCHDOG=1"] not in told, "it was dropped"


def test_an_unusable_socket_address_is_an_error() -> None:
    with pytest.raises(DropscribeError, match="NOTIFY_SOCKET"):
        Notifier.from_environment({"NOTIFY_SOCKET": "vsock:2:1234"})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_interval(environ: dict[str, str], expected: float | None) -> None:
    assert watchdog_interval_s(environ) == expected


def test_a_watchdog_interval_that_is_no_number_is_an_error() -> None:
    with pytest.raises(DropscribeError, match="WATCHDOG_USEC"):
        watchdog_interval_s({"WATCHDOG_USEC": "soon"})
