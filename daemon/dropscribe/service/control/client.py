"""The command's side of control: ask the daemon through its socket, else write to the ledger of a database directly."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from dropscribe.config import Settings
from dropscribe.errors import DropscribeError, LedgerError, UsageError
from dropscribe.files import close, open_folder
from dropscribe.ledger import backend
from dropscribe.ledger.control import Verb
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.service.control.commands import execute, person_behind, this_person
from dropscribe.service.control.control_socket import SOCKET_NAME, socket_path
from dropscribe.service.control.requests import Request
from dropscribe.service.monitoring import status_file

#: Longest wait for an answer, seconds: the daemon may have a hundred thousand jobs to change, or wait for its disk.
ANSWER_S = 120.0
#: Largest answer, bytes.
_MOST_BYTES = 64 << 20
#: The socket of the systemd service, for users who may not see its database.
SERVICE_SOCKET = Path("/run/dropscribe") / SOCKET_NAME


class _RefusedError(DropscribeError):
    """What the daemon refused, in its words."""


def ask(location: DatabaseLocation, request: Request, settings: Settings | None) -> dict[str, Any]:
    """Have a request carried out; returns the answer as `commands.execute`.

    By the daemon of this database if it can be reached, else by this process if it may write the database. Raises UsageError,
    LedgerError with what to do if neither is possible.
    """
    for path in _sockets(location):
        answer = _answer(path, request)
        if answer is not None:
            return answer
    if backend.exists(location) and not _writable(location):
        running = _is_running(location)
        raise LedgerError(
            "this user may neither reach its daemon nor write it" if running else
            "no daemon is running on it, and this user may not write it",
            operation=request.verb.value, path=location.shown,
            remedy=f"{'' if running else 'start the daemon, and '}join the group of its service (usermod -aG dropscribe NAME), or "
            "run the command as its user: sudo -u dropscribe",
        )  # fmt: skip
    with closing(backend.open_beside(location)) as ledger:
        return execute(request, ledger, settings, who=person_behind(request, this_person()), now=time.time())


def _is_running(location: DatabaseLocation) -> bool:
    try:
        return backend.lock_owner(location) is not None
    except LedgerError:
        return False


def _sockets(location: DatabaseLocation) -> Iterator[Path]:
    """Where the daemon of this database may listen."""
    said = None
    with contextlib.suppress(OSError, ValueError):
        said = status_file.read(location)
    named = said.get("control") if isinstance(said, dict) else None
    paths = [Path(named)] if isinstance(named, str) else []
    yield from dict.fromkeys([*paths, location.beside(".control"), socket_path(location), SERVICE_SOCKET])


def _writable(location: DatabaseLocation) -> bool:
    if location.server:
        # Whether it may is known to PostgreSQL, whose error says so.
        return True
    places = (location.file, location.directory)
    return all(os.access(p, os.W_OK, effective_ids=True) for p in places)


def _answer(path: Path, request: Request) -> dict[str, Any] | None:
    """The daemon's answer; None if no daemon of this database listens there.

    Also None if it had the request and no answer came: what it did is in the ledger, and asking again does nothing twice, except for
    `redo`. Raises DropscribeError for that, and for what the daemon refused.
    """
    with contextlib.ExitStack() as stack:
        try:
            directory = open_folder(path.parent)
            stack.callback(close, directory)
            connection = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            connection.settimeout(ANSWER_S)
            connection.connect(f"/proc/self/fd/{directory}/{path.name}")
        except (OSError, DropscribeError):
            return None
        try:
            # In ASCII: paths may have bytes that are no text.
            connection.sendall(json.dumps(request.record()).encode() + b"\n")
        except OSError:
            # Without its end the request is none.
            return None
        try:
            answer = json.loads(_received(connection))
        except (OSError, ValueError) as e:
            if request.verb not in {Verb.REDO, Verb.CORRECT, Verb.RENAME_SPEAKER}:
                return None
            # What is done again twice has two new versions.
            reason = (
                "was not received in time" if isinstance(e, TimeoutError) else "did not come or is cut short"
            )
            raise DropscribeError(
                f"the daemon has the request, but its answer {reason}: it may have been carried out",
                operation=request.verb.value,
                remedy="see with 'dropscribe jobs show JOB' whether it was, before you repeat it",
            ) from e
    error = answer.get("error")
    if error is None:
        found: dict[str, Any] = answer
        return found
    if error["reason"].startswith("this daemon works on "):
        return None
    kind = UsageError if error["code"] == UsageError.code else _RefusedError
    raise kind(
        error["reason"],
        operation=error["operation"],
        path=None if error["path"] is None else Path(error["path"]),
        remedy=error["remedy"],
    )


def _received(connection: socket.socket) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n"):
        data = connection.recv(1 << 16)
        if not data or len(received) > _MOST_BYTES:
            raise OSError("the daemon is gone")
        received += data
    return bytes(received)
