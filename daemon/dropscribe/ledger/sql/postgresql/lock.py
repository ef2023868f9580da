"""Lock a database for one daemon, for as long as a connection lasts."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from dropscribe.errors import AlreadyRunningError, UnusableLedgerError
from dropscribe.ledger.sql.postgresql.connections import open_connection
from dropscribe.ledger.sql.postgresql.faults import explain

#: Keys of advisory locks, which are those of one database: class "dscr", and what is locked.
_CLASS = 0x64736372
DAEMON = f"{_CLASS}, 1"
WRITING = f"{_CLASS}, 2"

_TRY = f"SELECT pg_try_advisory_lock({DAEMON})"
_HOLDER = (
    "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
    "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = {class} AND l.objid = 1 "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
).replace("{class}", str(_CLASS))


class PostgresLock:
    """The lock on a database, held until `close` or the end of the process, however it ends."""

    def __init__(self, url: str, shown: Path) -> None:
        """Raises AlreadyRunningError naming the process that holds it, StorageError when it cannot be taken."""
        self._url = url
        self._shown = shown
        self._connection: psycopg.Connection[Any] | None = self._taken("lock database")
        if self._connection is None:
            who = holder(url, shown) or "another process"
            raise AlreadyRunningError(
                f"{who} is already running on this database", operation="lock database", path=shown,
                remedy=f"stop {who}, or name another database",
            )  # fmt: skip

    def verify(self, operation: str) -> None:
        """Take the lock again if its connection was lost, as when the server was started again.

        Raises UnusableLedgerError if another daemon has taken it meanwhile, StorageError if there is no connection.
        """
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.execute("SELECT 1")
                return
            self._connection.close()
        self._connection = self._taken(operation)
        if self._connection is None:
            raise UnusableLedgerError(
                "the connection was lost, and another daemon has taken the database over", operation=operation,
                path=self._shown, remedy="stop one of the two daemons: there is one to a database",
            )  # fmt: skip

    def close(self) -> None:
        """Release the lock; may be called twice."""
        if self._connection is not None:
            self._connection.close()

    def _taken(self, operation: str) -> psycopg.Connection[Any] | None:
        """A connection with the lock; None if another one has it. Raises StorageError."""
        try:
            connection = open_connection(self._url)
            connection.autocommit = True
            name = f"dropscribe {os.getpid()} on {socket.gethostname()}"
            connection.execute("SELECT set_config('application_name', %s, false)", [name])
            if connection.execute(_TRY).fetchone() == (True,):
                return connection
            connection.close()
        except psycopg.Error as e:
            raise _explained(e, self._shown, operation) from e
        return None


@dataclass(frozen=True, slots=True)
class Holder:
    """The session that holds the lock, by its name: "dropscribe PID on HOST"."""

    name: str

    @property
    def local_pid(self) -> int | None:
        """Number of the process; None if it is on another host or unknown."""
        words = self.name.split()
        own = len(words) == 4 and words[1].isdecimal() and words[3] == socket.gethostname()
        return int(words[1]) if own else None

    def __str__(self) -> str:
        return self.name.replace("dropscribe ", "process ", 1) or "another process"


def holder(url: str, shown: Path) -> Holder | None:
    """Who holds the lock; None when it is free. Raises StorageError."""
    try:
        with open_connection(url) as connection:
            row = connection.execute(_HOLDER).fetchone()
    except psycopg.Error as e:
        raise _explained(e, shown, "query lock") from e
    return None if row is None else Holder(str(row[0]))


def _explained(error: psycopg.Error, shown: Path, operation: str) -> Exception:
    return explain(error, shown, operation) or error
