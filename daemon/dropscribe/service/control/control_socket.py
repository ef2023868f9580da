"""The daemon's side of the control socket: one request and one answer a connection, each a line of JSON.

A client is anybody who may open the socket: the user of the daemon, root, and the members of its group. None of them can
stop the main loop: nothing here waits, and size, number and duration of connections are limited.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import stat
import struct
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dropscribe import escapes, logs
from dropscribe.errors import DropscribeError, UsageError
from dropscribe.files import opened
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.service.control.commands import person, person_behind
from dropscribe.service.control.requests import Request, parse

#: Name of the socket in the runtime directory of the service.
SOCKET_NAME = "control.sock"
#: Largest request, bytes: some ten thousand numbers of jobs.
MOST_BYTES = 256 << 10
#: Most connections at a time, and most of one user, so that nobody keeps the others out.
MOST_CONNECTIONS = 32
MOST_OF_A_USER = 8
#: Longest time for a client to send its request, or to take its answer, seconds.
CLIENT_S = 5.0
#: Most characters of an unexpected error in an answer: a database quotes whole statements.
_MOST_OF_REASON = 200
_PEER = struct.Struct("3i")  # pid, uid, gid: struct ucred, unix(7)


def socket_path(location: DatabaseLocation) -> Path:
    """Where the daemon of a database listens: in its runtime directory under systemd, else beside the database."""
    runtime = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    return Path(runtime) / SOCKET_NAME if runtime else location.beside(".control")


@dataclass(slots=True)
class _Client:
    connection: socket.socket
    uid: int
    until: float  #: monotonic seconds
    received: bytearray = field(default_factory=bytearray)
    answer: bytes = b""
    #: The rest of the answer is sent when the client has taken what was sent.
    waited_for: bool = False
    request: Request | None = None
    call: Future[dict[str, Any]] | None = None


class ControlSocket:
    """Listen for requests. Owned by the main thread; requests are carried out by `thread`."""

    def __init__(
        self, path: Path, thread: Executor, carry_out: Callable[[Request, str], dict[str, Any]], *,
        done: Callable[[Request], None], wake: Callable[[], None], clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`carry_out` runs on `thread`. `done` is called on the main thread after each request, `wake` when one is through."""
        self.path = path
        self._thread = thread
        self._carry_out = carry_out
        self._done = done
        self._wake = wake
        self._clock = clock
        self._log = logs.get("service")
        self._clients: list[_Client] = []
        #: Readable when a client that is slow can take more of its answer.
        self._taking: select.epoll | None = None
        self._listening: socket.socket | None = None

    def open(self) -> None:
        """Begin to listen. Where that is impossible it is logged, and commands write to the ledger themselves."""
        try:
            self._listening = _listen(self.path)
            self._taking = select.epoll()
        except OSError as e:
            logs.problem(self._log, logs.Action.STORAGE, f"cannot listen at {self.path}: {e.strerror or e}")

    def close(self) -> None:
        """Stop listening, remove the socket, and drop clients."""
        for client in self._clients:
            client.connection.close()
        self._clients.clear()
        if self._taking is not None:
            self._taking.close()
            self._taking = None
        if self._listening is not None:
            self._listening.close()
            self._listening = None
            with contextlib.suppress(OSError):
                self.path.unlink()

    def filenos(self) -> tuple[int, ...]:
        """Descriptors that become readable when there is something to do."""
        if self._listening is None:
            return ()
        reading = [c.connection.fileno() for c in self._clients if c.call is None and not c.answer]
        if self._taking is not None and any(c.waited_for for c in self._clients):
            reading.append(self._taking.fileno())
        return (self._listening.fileno(), *reading)

    def turn(self) -> None:
        """Accept, read, answer. Never waits."""
        if self._listening is None:
            return
        self._accept(self._listening)
        now = self._clock()
        for client in list(self._clients):
            try:
                keep = self._serve(client)
            except OSError:
                keep = False
            # A request that is being carried out is not given up.
            if not keep or (client.call is None and now > client.until):
                self._clients.remove(client)
                client.connection.close()

    def _accept(self, listening: socket.socket) -> None:
        # No more than that in one turn, so that a client that connects without end does not keep the loop.
        for _ in range(MOST_CONNECTIONS):
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            try:
                connection.setblocking(False)
                _, uid, _ = _PEER.unpack(
                    connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
                )
                mine = Counter(c.uid for c in self._clients)[uid]
            except OSError:
                connection.close()
                continue
            client = _Client(connection, uid, self._clock() + CLIENT_S)
            if len(self._clients) >= MOST_CONNECTIONS or mine >= MOST_OF_A_USER:
                busy = UsageError(
                    "too many requests at once",
                    operation="control the queue",
                    remedy="try again in some seconds",
                )
                with contextlib.suppress(OSError):
                    connection.send(_line(_error(busy)))
                connection.close()
                continue
            self._clients.append(client)

    def _serve(self, client: _Client) -> bool:
        """Go on with a client; returns False when it is through or gone."""
        if client.call is not None:
            if not client.call.done():
                return True
            client.answer = _line(self._result(client.call))
            client.call = None
            if client.request is not None:
                self._done(client.request)
            client.until = self._clock() + CLIENT_S
        if not client.answer and not self._read(client):
            return False
        return self._write(client) if client.answer else True

    def _result(self, call: Future[dict[str, Any]]) -> dict[str, Any]:
        try:
            return call.result()
        except DropscribeError as e:
            return _error(e)
        except Exception as e:
            # A defect. The daemon goes on: what it does for others must not depend on what a client asks.
            said = next(iter(str(e).splitlines()), "")
            reason = f"{type(e).__name__}: {said}"[:_MOST_OF_REASON]
            self._log.error(
                f"a request could not be carried out: {reason}", action=str(logs.Action.CONTROL), exc_info=e
            )
            return _error(
                DropscribeError(
                    f"the daemon could not carry it out ({reason})",
                    operation="control the queue",
                    remedy="see the log of the daemon; 'dropscribe jobs' shows what was done",
                )
            )

    def _read(self, client: _Client) -> bool:
        try:
            data = client.connection.recv(MOST_BYTES + 1 - len(client.received))
        except BlockingIOError:
            return True
        if not data:
            return False
        client.received += data
        end = b"\n" in data
        if not end and len(client.received) <= MOST_BYTES:
            return True
        try:
            request = parse(_parsed(bytes(client.received).partition(b"\n")[0]))
        except UsageError as e:
            client.answer = _line(_error(e))
            client.until = self._clock() + CLIENT_S
            return True
        client.request = request
        client.call = self._thread.submit(self._called, request, client.uid)
        client.call.add_done_callback(lambda _: self._wake())
        return True

    def _called(self, request: Request, uid: int) -> dict[str, Any]:
        # On the thread: the name of a user may come from a server that does not answer.
        return self._carry_out(request, person_behind(request, person(uid)))

    def _write(self, client: _Client) -> bool:
        try:
            sent = client.connection.send(client.answer)
        except BlockingIOError:
            return True
        client.answer = client.answer[sent:]
        # Who takes what there is may take all of it, however long it is.
        client.until = self._clock() + CLIENT_S
        if client.answer and not client.waited_for and self._taking is not None:
            self._taking.register(client.connection, select.EPOLLOUT)
            client.waited_for = True
        return bool(client.answer)


def _parsed(line: bytes) -> object:
    if len(line) > MOST_BYTES:
        raise UsageError(
            f"the request is larger than {MOST_BYTES} bytes",
            operation="control the queue",
            remedy="name folders, or --all, instead of single jobs",
        )
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as e:
        raise UsageError(
            "it is no JSON", operation="control the queue", remedy="use the command of this version"
        ) from e


def _error(error: DropscribeError) -> dict[str, Any]:
    return {
        "error": {
            "code": error.code, "operation": error.operation, "path": None if error.path is None else str(error.path),
            "reason": error.reason, "remedy": error.remedy,
        }
    }  # fmt: skip


def _line(document: dict[str, Any]) -> bytes:
    return escapes.dumps(document).encode("utf-8", "backslashreplace") + b"\n"


def _listen(path: Path) -> socket.socket:
    """Listen at `path`, in place of the socket of a daemon that was killed. Raises OSError.

    Of a service the group may use it, else only the user of the daemon: their group may be that of all users. The directory is
    opened first, because the name of a socket is limited to 107 bytes.
    """
    service = bool(os.environ.get("RUNTIME_DIRECTORY"))
    with opened(path.parent) as directory:
        listening = socket.socket(
            socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        )
        try:
            with contextlib.suppress(FileNotFoundError):
                # Anything else of that name stays, and binding fails.
                if stat.S_ISSOCK(os.stat(path.name, dir_fd=directory, follow_symlinks=False).st_mode):
                    os.unlink(path.name, dir_fd=directory)
            # Nobody may connect before the permissions are right.
            old = os.umask(0o777)
            try:
                listening.bind(f"/proc/self/fd/{directory}/{path.name}")
            finally:
                os.umask(old)
            os.chmod(path.name, 0o660 if service else 0o600, dir_fd=directory)
            listening.listen(MOST_CONNECTIONS)
        except BaseException:
            listening.close()
            raise
    return listening
