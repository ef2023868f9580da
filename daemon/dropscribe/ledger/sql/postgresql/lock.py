"""Lock a database for the daemon of one host, for as long as a connection lasts."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from dropscribe.errors import AlreadyRunningError, UnusableLedgerError
from dropscribe.ledger.sql.postgresql.connections import open_connection
from dropscribe.ledger.sql.postgresql.faults import explain

#: Keys of advisory locks, which are those of one database: class "dscr", and what is locked.
_CLASS = 0x64736372
#: What is locked for a host without a name; those of others are `_number`.
_UNNAMED = 1
WRITING = f"{_CLASS}, 2"

_TRY = f"SELECT pg_try_advisory_lock({_CLASS}, %s)"
#: Names of the sessions that hold locks of hosts.
_HOLDERS = (
    "SELECT CAST(CAST(l.objid AS bigint) AS bit(32))::integer, a.application_name "
    "FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
    "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = {class} AND l.objid <> 2 "
    "AND a.application_name LIKE 'dropscribe % on %' "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY a.backend_start"
).replace("{class}", str(_CLASS))


def _number(what: str) -> int:
    """Key of the lock of a host, by its name, or of the care of a shared folder, "@STORAGE"."""
    if not what:
        return _UNNAMED
    found = zlib.crc32(what.encode())
    # Small numbers have a meaning of their own.
    return (found | 0x100) - (2**32 if found >= 2**31 else 0)


class PostgresLock:
    """The lock on a database, held until `close` or the end of the process, however it ends."""

    def __init__(
        self, url: str, shown: Path, host: str = "", storages: Sequence[str] = (), *, alone: bool = False
    ) -> None:
        """`host`: whose lock it is. `storages`: shared folders to care for. `alone`: refuse a database with other daemons.

        Raises AlreadyRunningError naming the process that holds it, StorageError when it cannot be taken.
        """
        self._url = url
        self._shown = shown
        self._host = host
        self._storages = tuple(storages)
        self._kept: set[str] = set()
        self._guard = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = self._taken("lock database")
        if self._connection is None:
            who = holder(url, shown, host) or "another process"
            raise AlreadyRunningError(
                f"{who} is already running on this database{f' as host {host}' if host else ''}",
                operation="lock database", path=shown,
                remedy=f"stop {who}, name another database, or give this host a name of its own (host = NAME)",
            )  # fmt: skip
        if alone and (others := [h for h in holders(url, shown) if h.number != _number(host)]):
            self.close()
            raise AlreadyRunningError(
                f"{others[0]} is running on this database, too", operation="lock database", path=shown,
                remedy="stop the daemons of all hosts first",
            )  # fmt: skip

    def verify(self, operation: str) -> None:
        """Take the lock again if its connection was lost, as when the server was started again.

        Raises UnusableLedgerError if another daemon has taken it meanwhile, StorageError if there is no connection.
        """
        with self._guard:
            if self._connection is not None:
                with contextlib.suppress(psycopg.Error):
                    self._take_care(self._connection)
                    return
                self._connection.close()
            self._kept.clear()
            self._connection = self._taken(operation)
        if self._connection is None:
            raise UnusableLedgerError(
                "the connection was lost, and another daemon has taken the database over", operation=operation,
                path=self._shown, remedy="stop one of the two daemons, or give each host a name (host = NAME)",
            )  # fmt: skip

    def kept(self) -> tuple[str, ...]:
        """Shared folders, "@STORAGE", that this daemon cares for; another host may care for the others."""
        with self._guard:
            return tuple(self._kept)

    def close(self) -> None:
        """Release the lock; may be called twice."""
        if self._connection is not None:
            self._connection.close()

    def _take_care(self, connection: psycopg.Connection[Any]) -> None:
        """Take the care of shared folders whose daemon is gone. Raises psycopg.Error if the connection is lost."""
        connection.execute("SELECT 1")
        for storage in set(self._storages) - self._kept:
            if connection.execute(_TRY, [_number(storage)]).fetchone() == (True,):
                self._kept.add(storage)

    def _taken(self, operation: str) -> psycopg.Connection[Any] | None:
        """A connection with the lock; None if another one has it. Raises StorageError."""
        try:
            connection = open_connection(self._url)
            connection.autocommit = True
            name = f"dropscribe {os.getpid()} on {socket.gethostname()}"
            connection.execute("SELECT set_config('application_name', %s, false)", [name])
            if connection.execute(_TRY, [_number(self._host)]).fetchone() == (True,):
                self._take_care(connection)
                return connection
            connection.close()
        except psycopg.Error as e:
            raise _explained(e, self._shown, operation) from e
        return None


@dataclass(frozen=True, slots=True)
class Holder:
    """The session that holds the lock, by its name: "dropscribe PID on HOST"."""

    name: str
    number: int = _UNNAMED

    @property
    def local_pid(self) -> int | None:
        """Number of the process; None if it is on another host or unknown."""
        words = self.name.split()
        own = len(words) == 4 and words[1].isdecimal() and words[3] == socket.gethostname()
        return int(words[1]) if own else None

    def __str__(self) -> str:
        return self.name.replace("dropscribe ", "process ", 1) or "another process"


def holder(url: str, shown: Path, host: str) -> Holder | None:
    """Who holds the lock of a host, "" for the one without a name; None when it is free. Raises StorageError."""
    return next((h for h in holders(url, shown) if h.number == _number(host)), None)


def holders(url: str, shown: Path) -> list[Holder]:
    """All who hold locks of hosts or care for shared folders, the oldest first. Raises StorageError."""
    try:
        with open_connection(url) as connection:
            return [Holder(str(name), int(number)) for number, name in connection.execute(_HOLDERS)]
    except psycopg.Error as e:
        raise _explained(e, shown, "query lock") from e


def _explained(error: psycopg.Error, shown: Path, operation: str) -> Exception:
    return explain(error, shown, operation) or error
