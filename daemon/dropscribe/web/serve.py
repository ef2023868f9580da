"""The process of `dropscribe web`: listen, or take the socket that the service manager listens on, and answer."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dropscribe import logs
from dropscribe.config import Loaded, WebSettings
from dropscribe.errors import ConfigError, StorageError
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.secret_files import lines_of
from dropscribe.web.app import build
from dropscribe.web.security import Rules, is_loopback
from dropscribe.web.site import Site

#: Longest time in which the head of a request must arrive, seconds.
HEAD_S = 20.0
#: Time for which an idle connection is kept, seconds.
KEEP_S = 30
#: Time for answers under way at a stop, seconds: sound of a paused player would never end.
STOP_S = 1
#: Most connections at a time.
MOST_CONNECTIONS = 500
#: Shortest token, characters.
LEAST_TOKEN = 16
#: First descriptor that a service manager passes, sd_listen_fds(3).
_FIRST_FD = 3


class TimedProtocol(H11Protocol):
    """HTTP/1.1 that ends connections whose client does not send the head of a request in time."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as asyncio has it
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request; a head that is not complete does not begin the time anew."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._settle()
        elif self._deadline is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the wait."""
        self._settle()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(HEAD_S, self._expire)

    def _settle(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        self._deadline = None
        if self.transport is not None and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()


def rules_of(settings: WebSettings, address: str | None = None) -> Rules:
    """Hosts and token of the page. Raises ConfigError, also for an address of the network without a token.

    `address`: that of an inherited socket, if it is not that of the settings.
    """
    address = address or settings.address
    remedy = "write a token into it, such as the output of 'openssl rand -base64 32', and make it readable for this user"
    token = lines_of(settings.token_file, remedy)[0] if settings.token_file is not None else ""
    if token and len(token) < LEAST_TOKEN:
        raise ConfigError(
            f"its token has {len(token)} characters; at least {LEAST_TOKEN} are necessary",
            operation="read secrets",
            path=settings.token_file,
            remedy=remedy,
        )
    if not token and not is_loopback(address):
        raise ConfigError(
            f"{address} can be reached by other machines, and there is no token",
            operation="start the page",
            remedy="set [web] token_file, or listen on 127.0.0.1",
        )
    hosts = frozenset(host.lower().rstrip(".") for host in settings.hosts)
    return Rules(
        hosts,
        token,
        settings.upload_mb << 20 if settings.upload else 0,
        (settings.visitor_header or "").lower(),
    )


def serve(location: DatabaseLocation, loaded: Loaded) -> None:
    """Answer until SIGTERM or SIGINT. Raises ConfigError, StorageError if the address cannot be listened on."""
    settings = loaded.settings.web
    rules = (
        rules_of(settings) if (inherited := _inherited()) is None else rules_of(settings, _host(inherited))
    )
    with inherited or _listen(settings) as listening:
        site = Site(location, loaded.settings if loaded.file is not None else None, rules)
        where = "inherited socket" if listening.family == socket.AF_UNIX else _address(listening)
        logs.event(logs.get("web"), logs.Action.WEB, f"ready: {where}, {location}")
        with site:
            uvicorn.Server(config_of(build(site))).run(sockets=[listening])


def config_of(app: Any) -> uvicorn.Config:
    """Settings of the server, with its limits."""
    return uvicorn.Config(
        app, http=TimedProtocol, ws="none", loop="asyncio", lifespan="off", log_config=None, access_log=False,
        server_header=False, proxy_headers=False, limit_concurrency=MOST_CONNECTIONS, timeout_keep_alive=KEEP_S,
        timeout_graceful_shutdown=STOP_S, h11_max_incomplete_event_size=32 << 10,
    )  # fmt: skip


def _inherited() -> socket.socket | None:
    """The socket that the service manager listens on; None if it passed none."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        return None
    return socket.socket(fileno=_FIRST_FD)


def _listen(settings: WebSettings) -> socket.socket:
    address = "127.0.0.1" if settings.address == "localhost" else settings.address
    try:
        return socket.create_server(
            (address, settings.port),
            family=socket.AF_INET6 if ":" in address else socket.AF_INET,
            backlog=512,
        )
    except OSError as e:
        raise StorageError.from_system(
            e,
            operation=f"listen on {settings.address}, port {settings.port}",
            path=None,
            remedy="name another [web] address or port, or end the program that uses it",
        ) from e


def _host(listening: socket.socket) -> str:
    """Address of a socket of the service manager; one of this machine for a socket in a file, which has its permissions."""
    return "localhost" if listening.family == socket.AF_UNIX else str(listening.getsockname()[0])


def _address(listening: socket.socket) -> str:
    host, port, *_ = listening.getsockname()
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
