"""The page behind a real socket: slow clients, listeners that are gone, a stop with open answers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import uvicorn

from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.media.protocol import Excerpt
from dropscribe.transcript.types import MediaFacts
from dropscribe.web import security, serve
from dropscribe.web.app import build
from dropscribe.web.security import Rules
from dropscribe.web.site import Site
from dropscribe.web.sound.answers import DecodedSound
from dropscribe.web.sound.pool import Decoding
from tests.support.histories import History
from tests.support.recorded import recorded

#: Longest wait for what is expected, seconds.
LIMIT_S = 60.0


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Site, int]]:
    """A site with one recording of 10 minutes, job 1, and the port it is served on, with short limits."""
    monkeypatch.setattr(serve, "HEAD_S", 2.0)
    monkeypatch.setattr(security, "STALLED_S", 3.0)
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(16_000 * 600, np.int16), 16_000)
    with History(tmp_path / "jobs.db"):
        pass
    recorded(tmp_path / "jobs.db", path, MediaFacts(600_000, "flac", "flac", 16_000, 1, "av"), "你好")
    with (
        Site(DatabaseLocation(tmp_path / "jobs.db"), None, Rules()) as site,
        socket.create_server(("127.0.0.1", 0)) as s,
    ):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)  # a client that takes nothing is noticed soon
        server = uvicorn.Server(serve.config_of(build(site)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [s]})
        thread.start()
        yield site, s.getsockname()[1]
        server.should_exit = True
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.02)


def test_slow_and_vanished_clients_hold_nothing(
    served: tuple[Site, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    site, port = served
    begun: list[Excerpt] = []
    begin = site.sounds.begin

    def noted(excerpt: Excerpt) -> Decoding:
        decoding = begin(excerpt)
        begun.append(excerpt)
        return decoding

    monkeypatch.setattr(site.sounds, "begin", noted)
    address = ("127.0.0.1", port)
    with socket.create_connection(address, timeout=LIMIT_S) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        assert slow.recv(1000) == b""  # the head did not come in time
    with socket.create_connection(address, timeout=LIMIT_S) as silent:
        assert silent.recv(1000) == b""
    with socket.create_connection(address, timeout=LIMIT_S) as paused:
        # A player that is paused takes nothing more: its process ends, and the browser asks anew when it goes on.
        paused.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        paused.sendall(b"GET /recordings/1/sound.wav HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert paused.recv(100).startswith(b"HTTP/1.1 200")
        until(lambda: len(begun) == 1 and not site.sounds.busy)
    with socket.create_connection(address, timeout=LIMIT_S) as gone:
        gone.sendall(b"GET /recordings/1/sound.wav HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        received = b""
        while len(received) < 4000:  # samples, too
            piece = gone.recv(4000)
            assert piece, "it goes on"
            received += piece
    until(lambda: len(begun) == 2 and not site.sounds.busy)
    with socket.create_connection(address, timeout=LIMIT_S) as good:
        good.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert good.recv(100).startswith(b"HTTP/1.1 503")


def test_a_client_that_leaves_while_its_process_starts_leaves_none_behind(
    served: tuple[Site, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    site, port = served
    asked, answered = threading.Event(), threading.Event()
    begun: list[Decoding] = []
    begin, release = site.sounds.begin, DecodedSound.release

    def late(excerpt: Excerpt) -> Decoding:
        asked.set()
        assert answered.wait(LIMIT_S)
        begun.append(begin(excerpt))
        return begun[-1]

    def noted(answer: DecodedSound) -> None:
        release(answer)
        answered.set()

    monkeypatch.setattr(site.sounds, "begin", late)
    monkeypatch.setattr(DecodedSound, "release", noted)
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as gone:
        gone.sendall(b"GET /recordings/1/sound.wav HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert asked.wait(LIMIT_S)
    until(lambda: len(begun) == 1 and not site.sounds.busy)
