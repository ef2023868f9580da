"""The control socket: requests of anybody who may open it, none of whom can stop the main loop."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from dropscribe.errors import UsageError
from dropscribe.ledger.control import Verb
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.service.control import control_socket
from dropscribe.service.control.control_socket import (
    CLIENT_S,
    MOST_BYTES,
    MOST_OF_A_USER,
    ControlSocket,
    socket_path,
)
from dropscribe.service.control.requests import Request
from tests.support.claiming import AtOnce, Later


class Listening:
    """A control socket whose turns are run by the test."""

    def __init__(self, stack: ExitStack, path: Path, *, later: bool = False) -> None:
        self.stack = stack
        self.now = 0.0
        self.asked: list[tuple[Request, str]] = []
        self.done: list[Request] = []
        self.thread = Later() if later else AtOnce()
        self.socket = ControlSocket(
            path,
            self.thread,
            self.carry_out,
            done=self.done.append,
            wake=lambda: None,
            clock=lambda: self.now,
        )
        self.socket.open()
        stack.callback(self.socket.close)
        self.path = path

    def carry_out(self, request: Request, who: str) -> dict[str, Any]:
        self.asked.append((request, who))
        if request.priority == 100:
            raise UsageError("that is too high", operation="priority", remedy="ask for less")
        if request.priority == 99:
            raise RuntimeError("a defect")
        return {"who": who, "many": "x" * (request.priority or 0)}

    def connect(self, sent: bytes = b"") -> socket.socket:
        client = self.stack.enter_context(socket.socket(socket.AF_UNIX))
        client.settimeout(10)
        folder = os.open(self.path.parent, os.O_PATH)
        client.connect(f"/proc/self/fd/{folder}/{self.path.name}")
        os.close(folder)
        client.sendall(sent)
        return client

    def turns(self, count: int = 3) -> None:
        for _ in range(count):
            self.socket.turn()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes what the test opens."""
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def listening(tmp_path: Path, stack: ExitStack) -> Listening:
    return Listening(stack, tmp_path / "s")


def line(**fields: Any) -> bytes:
    return json.dumps(Request(Verb.PAUSE).record() | fields).encode() + b"\n"


def answer(client: socket.socket) -> dict[str, Any]:
    received = b""
    while not received.endswith(b"\n") and (data := client.recv(1 << 16)):
        received += data
    found: dict[str, Any] = json.loads(received)
    return found


def test_a_request_is_carried_out_for_the_user_that_the_kernel_names(listening: Listening) -> None:
    client = listening.connect(line(folder="/srv/a"))
    listening.turns()
    assert str(os.getuid()) in answer(client)["who"]
    assert listening.asked[0][0] == Request(Verb.PAUSE, folder="/srv/a")
    assert listening.done == [listening.asked[0][0]]


@pytest.mark.parametrize(
    "sent",
    [
        b"\n", b"GET / HTTP/1.1\r\n", b"\xff\xfe\x00\n", b"[" * 100_000 + b"\n", b"null\n", b'{"schema": "x"}\n',
        line(verb="explode"), line(jobs="all"), line(jobs=[True]), line(jobs=[-1]), line(jobs=[1 << 70]), line(paths=[1]),
        line(unknown=1), line(folder=7), line(jobs=5), line(jobs=None), line(paths=1.5), line(paths=["/\ud800"]),
        line(folder="/\ud800"),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_in_one_line(listening: Listening, sent: bytes) -> None:
    client = listening.connect(sent)
    listening.turns()
    assert answer(client)["error"]["remedy"]
    assert listening.asked == []


def test_a_refusal_has_its_remedy(listening: Listening) -> None:
    client = listening.connect(line(priority=100))
    listening.turns()
    assert answer(client)["error"] == {
        "code": "usage", "operation": "priority", "path": None, "reason": "that is too high", "remedy": "ask for less",
    }  # fmt: skip


def test_a_request_that_fails_for_any_reason_is_answered_and_logged(listening: Listening) -> None:
    client = listening.connect(line(priority=99))
    with capture_logs() as logged:
        listening.turns()
    error = answer(client)["error"]
    assert "a defect" in error["reason"]
    assert error["remedy"]
    assert [entry["log_level"] for entry in logged] == ["error"]
    other = listening.connect(line())
    listening.turns()
    assert answer(other)["who"]


def test_a_request_without_end_is_refused_when_it_is_too_large(listening: Listening) -> None:
    client = listening.connect()
    client.setblocking(False)
    sent = 0
    while sent <= MOST_BYTES:
        try:
            sent += client.send(b"[" * 4096)
        except BlockingIOError:
            listening.turns(1)
    listening.turns()
    client.settimeout(10)
    assert "larger than" in answer(client)["error"]["reason"]


def test_a_slow_client_is_dropped_and_others_are_served_meanwhile(listening: Listening) -> None:
    slow = listening.connect(b'{"schema')
    listening.turns()
    other = listening.connect(line())
    listening.turns()
    assert answer(other)["who"]
    listening.now += CLIENT_S + 1
    listening.turns()
    assert slow.recv(1) == b""


def test_a_client_that_takes_no_answer_is_dropped(listening: Listening) -> None:
    client = listening.connect(line(priority=20_000_000))
    listening.turns(10)
    listening.now += CLIENT_S + 1
    listening.turns()
    assert len(listening.socket.filenos()) == 1
    client.close()


def test_a_long_answer_is_sent_as_it_is_taken(listening: Listening) -> None:
    """The main loop is woken for it, and there is no limit but that each part is taken in time."""
    size = 2_000_000
    client = listening.connect(line(priority=size))
    client.setblocking(False)
    listening.turns()
    received = b""
    while not received.endswith(b"\n"):
        assert wait(listening.socket.filenos(), 0) == [], "nothing to do before something is taken"
        with contextlib.suppress(BlockingIOError):
            while data := client.recv(1 << 16):
                received += data
        assert received.endswith(b"\n") or wait(listening.socket.filenos(), 10)
        listening.now += CLIENT_S - 1
        listening.turns(1)
    assert len(json.loads(received)["many"]) == size


def test_one_user_cannot_take_all_connections(listening: Listening) -> None:
    idle = [listening.connect() for _ in range(MOST_OF_A_USER)]
    listening.turns()
    refused = listening.connect(line())
    listening.turns()
    assert "too many" in answer(refused)["error"]["reason"]
    for client in idle:
        client.close()
    listening.turns()
    served = listening.connect(line())
    listening.turns()
    assert answer(served)["who"]


def test_a_request_in_progress_is_not_given_up_and_stops_nobody(tmp_path: Path, stack: ExitStack) -> None:
    listening = Listening(stack, tmp_path / "s", later=True)
    assert isinstance(listening.thread, Later)
    client = listening.connect(line())
    listening.turns()
    listening.now += CLIENT_S + 1
    listening.turns()
    listening.thread.go()
    listening.turns()
    assert answer(client)["who"]


def test_a_user_is_named_beside_the_main_loop(
    tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name may come from a server of the network that does not answer."""
    named: list[int] = []

    def name(uid: int) -> str:
        named.append(uid)
        return "anna"

    monkeypatch.setattr(control_socket, "person", name)
    listening = Listening(stack, tmp_path / "s", later=True)
    assert isinstance(listening.thread, Later)
    client = listening.connect(line())
    listening.turns()
    assert named == []
    listening.thread.go()
    listening.turns()
    assert answer(client)["who"] == "anna"
    assert named == [os.getuid()]


def test_the_socket_of_a_killed_daemon_is_replaced_and_other_files_are_not(
    tmp_path: Path, stack: ExitStack
) -> None:
    Listening(stack, tmp_path / "s")
    after = Listening(stack, tmp_path / "s")
    client = after.connect(line())
    after.turns()
    assert answer(client)["who"]
    (tmp_path / "file").write_text("mine")
    assert Listening(stack, tmp_path / "file").socket.filenos() == ()
    assert (tmp_path / "file").read_text() == "mine"


def test_where_it_cannot_listen_no_descriptor_stays_open(
    tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[socket.socket] = []

    class Kept(socket.socket):
        def __init__(self, *arguments: int) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(socket, "socket", Kept)
    assert Listening(stack, tmp_path / "none" / "s").socket.filenos() == ()
    (tmp_path / "file").touch()
    assert Listening(stack, tmp_path / "file").socket.filenos() == ()
    assert [one.fileno() for one in made if one.fileno() >= 0] == []


def test_a_long_path_is_no_obstacle(tmp_path: Path, stack: ExitStack) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    assert Listening(stack, folder / "s").socket.filenos()


def test_only_the_service_lets_its_group_in(
    tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = DatabaseLocation(tmp_path / "jobs.db")
    Listening(stack, socket_path(location))
    assert (tmp_path / "jobs.db.control").stat().st_mode & 0o777 == 0o600
    runtime = tmp_path / "run"
    runtime.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(runtime))
    Listening(stack, socket_path(location))
    assert (runtime / "control.sock").stat().st_mode & 0o777 == 0o660
