"""Post a message to a webhook (Standard Webhooks)."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Self
from urllib.parse import urlsplit

from dropscribe import __version__
from dropscribe.escapes import one_line
from dropscribe.notify import signing
from dropscribe.notify.schedule import Answer

#: Most bytes of an answer that are read, so that the connection ends well; its content means nothing.
_READ_BYTES = 4096


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for an answer: what is sent was meant for the address in the settings."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


class _Deadline:
    """Ends the connections of a try after `timeout_s` seconds; the limits of urllib are for each operation of a socket."""

    def __init__(self, timeout_s: float) -> None:
        self.passed = False
        self._lock = threading.Lock()
        #: Descriptors of our own, so that they are valid whatever urllib and TLS do to theirs.
        self._connections: list[socket.socket] = []
        self._timer = threading.Timer(timeout_s, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()

    def connect(self, *to: Any) -> socket.socket:
        """As `socket.create_connection`. Raises OSError."""
        made = socket.create_connection(*to)
        with self._lock:
            if self.passed:
                made.close()
                raise TimeoutError
            self._connections.append(made.dup())
        return made

    def _end(self) -> None:
        with self._lock:
            self.passed = True
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Http(urllib.request.HTTPHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """See `HTTPHandler`."""
        return self.do_open(partial(_connection, http.client.HTTPConnection, self._deadline), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """See `HTTPSHandler`."""
        return self.do_open(partial(_connection, http.client.HTTPSConnection, self._deadline), req)


def _connection(
    kind: type[http.client.HTTPConnection], deadline: _Deadline, host: str, **options: Any
) -> http.client.HTTPConnection:
    made = kind(host, **options)
    # http.client has no other way to get at a connection before TLS takes it.
    made._create_connection = deadline.connect  # type: ignore[attr-defined] # noqa: SLF001
    return made


def post(url: str, uid: str, body: bytes, keys: Sequence[bytes], *, now: float, timeout_s: float) -> Answer:
    """Send one try to an address that `check_address` accepts. Answers name no part of it but its host: the rest may be a
    secret. What takes longer than `timeout_s` ends; only the search for the host's address has limits of its own, and each of
    several addresses may take so long to connect to.
    """
    host = urlsplit(url).hostname
    request = urllib.request.Request(  # noqa: S310 - the settings allow http and https only
        url,
        data=body,
        method="POST",
        headers={
            "content-type": "application/json",
            "user-agent": f"dropscribe/{__version__}",
            **signing.headers(uid, now, body, keys),
        },
    )
    deadline = _Deadline(timeout_s)
    opener = urllib.request.build_opener(_NoRedirects, _Http(deadline), _Https(deadline))
    with deadline:
        try:
            with opener.open(request, timeout=timeout_s) as answer:
                if deadline.passed:
                    raise TimeoutError  # headers that are cut look like whole ones
                with contextlib.suppress(OSError, http.client.HTTPException):
                    answer.read(_READ_BYTES)
                return _judge(answer.status, answer.headers, now)
        except urllib.error.HTTPError as e:
            with e:
                return _judge(e.code, e.headers, now)
        except (OSError, http.client.HTTPException, ValueError) as e:
            reason = f"it did not answer within {timeout_s:g} s" if deadline.passed else _plain(e)
            return Answer(accepted=False, reason=f"{host}: {reason}")


def _judge(status: int, headers: Any, now: float) -> Answer:
    if 200 <= status < 300:
        return Answer(accepted=True)
    name = http.client.responses.get(status, "")
    reason = f"it answered {status} {name}".rstrip()
    if 300 <= status < 400:
        reason += "; redirects are not followed: set the address that it leads to"
    return Answer(
        accepted=False,
        reason=reason,
        retry_after_s=retry_after(headers.get("retry-after"), now),
        gone=status == 410,
    )


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date (RFC 9110, section 10.2.3). None: it says nothing."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


def _plain(error: Exception) -> str:
    """An error without the type names that Python prints, and without parts of the address or of what the server wrote."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    if not isinstance(error, OSError):
        return f"unexpected {type(error).__name__}"
    return one_line(error.strerror or str(error) or type(error).__name__)
