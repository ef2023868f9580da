"""Receivers of notifications: a web server on 127.0.0.1 that answers as a test says, and a ledger with events for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from dropscribe.ledger.events import EventKind, Subscription
from dropscribe.ledger.interface import Ledger
from dropscribe.notify.sender import Sender
from dropscribe.notify_settings import NotifySettings

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
ALL = Subscription("ops", frozenset(EventKind))


@dataclass
class Received:
    """A request."""

    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What a server received, and what it answers next: (status, headers), the last of them for ever."""

    url: str = ""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=lambda: [(204, {})])
    requests: list[Received] = field(default_factory=list)

    @property
    def uids(self) -> list[str]:
        return [r.headers["webhook-id"] for r in self.requests]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A server for the time of the block."""
    state = Receiver()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            with lock:
                state.requests.append(Received({k.lower(): v for k, v in self.headers.items()}, body))
                status, headers = state.answers.pop(0) if len(state.answers) > 1 else state.answers[0]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/hook?token=hidden"
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def secret_file(directory: Path, *secrets: str) -> Path:
    """A file with these secrets, by default with `SECRET`."""
    file = directory / "ops.secret"
    file.write_text("\n".join(secrets or (SECRET,)) + "\n", encoding="utf-8")
    return file


@dataclass
class Clock:
    """Epoch seconds that a test sets."""

    now: float = 1_000.0


@dataclass
class Sending:
    """A sender with a clock."""

    sender: Sender
    clock: Clock

    def at(self, now: float) -> None:
        """One turn at this time, whose tries are waited for."""
        self.clock.now = now
        self.sender.turn()
        self.sender.settle(30.0)


@contextmanager
def sending(ledger: Ledger, *targets: NotifySettings, chance: float = 0.0) -> Iterator[Sending]:
    """A sender for the time of the block."""
    clock = Clock()
    named = {t.name: t for t in targets}
    sender = Sender(ledger, named, "sender", lambda: clock.now, lambda: chance, lambda: None)
    try:
        yield Sending(sender, clock)
    finally:
        sender.settle(30.0)
