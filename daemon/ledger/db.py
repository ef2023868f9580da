"""The connection to SQLite: which library, which settings, and one way each to read and to write."""

from __future__ import annotations

import importlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from daemon.errors import DropscribeError, LedgerError, StorageError

#: How long a statement waits for another writer, milliseconds. Writers hold the lock for milliseconds; only
#: a backup or a person's open transaction takes longer.
BUSY_TIMEOUT_MS = 30_000
#: How long our own threads queue for each other before they leave it to SQLite, seconds. It would find out in steps of up to
#: a tenth of a second that the lock is free, and give it to whoever looks next.
QUEUE_S = 5.0
#: The write-ahead log is cut back to this after a checkpoint, bytes; a burst must not leave a huge file.
JOURNAL_LIMIT_BYTES = 64 * 1024 * 1024
#: Connections kept open: main, claim, admitter, publisher and status threads, with room …
POOL_SIZE = 8
#: … and as many more, for a moment: threads that write files look up whose they are.
OVERFLOW = 40

#: First and last SQLite with the WAL-reset bug (https://sqlite.org/wal.html): two connections that write and
#: checkpoint at the same moment can, very rarely, damage the database.
WAL_BUG_FIRST = (3, 7, 0)
WAL_BUG_LAST = (3, 51, 2)

#: Marks a connection that only reads: it begins deferred and never waits for writers.
READING = "dropscribe_reading"


def driver() -> Any:
    """pysqlite3 with its newer SQLite where it is installed, else the standard module."""
    try:
        return importlib.import_module("pysqlite3.dbapi2")
    except ImportError:
        return sqlite3


def sqlite_version() -> str:
    """Version of the SQLite library in use."""
    return str(driver().sqlite_version)


def wal_bug_warning(version: str | None = None) -> str | None:
    """What to tell a person when SQLite `version` (default: the one in use) has the WAL-reset bug."""
    version = version or sqlite_version()
    numbers = tuple(int(part) for part in version.split(".")[:3])
    if not WAL_BUG_FIRST <= numbers <= WAL_BUG_LAST:
        return None
    return (
        f"SQLite {version} has a bug that can, very rarely, damage a database in WAL mode (fixed in 3.51.3); "
        "install pysqlite3, which brings a newer SQLite, into dropscribe's environment"
    )


def connect(path: Path, *, read_only: bool = False, foreign_keys: bool = True) -> Engine:
    """An engine on the database at `path`; nothing is opened before the first statement."""
    mode = "ro" if read_only else "rwc"
    # Percent-encoded bytes, so that a name with '?', '#' or bytes that are not UTF-8 stays one name.
    uri = f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"
    module = driver()

    def open_connection() -> Any:
        connection = module.connect(uri, uri=True, check_same_thread=False, isolation_level=None)
        _configure(connection, read_only=read_only, foreign_keys=foreign_keys)
        return connection

    engine = sa.create_engine(
        "sqlite://",
        module=module,
        creator=open_connection,
        poolclass=sa.QueuePool,
        pool_size=POOL_SIZE,
        max_overflow=OVERFLOW,
    )
    # pysqlite begins late and deferred; a deferred transaction that then writes fails as soon as another
    # connection wrote meanwhile. So transactions are begun here, and writers take the lock at once.
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: Any, *, read_only: bool, foreign_keys: bool) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    cursor.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
    if not read_only:
        cursor.execute("PRAGMA journal_mode = WAL")
        # FULL: an acknowledged commit survives loss of power, NORMAL only the death of the process.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute(f"PRAGMA journal_size_limit = {JOURNAL_LIMIT_BYTES}")
    cursor.close()


def _begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get(READING, False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


class Database:
    """Transactions on one database file. Thread-safe: every transaction has a pooled connection of its own."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._engine = connect(path, read_only=read_only)
        self._readers = self._engine.execution_options(**{READING: True})
        self._writing = threading.Lock()

    @contextmanager
    def write(self, operation: str) -> Iterator[Connection]:
        """One transaction that holds the write lock from its first moment; committed on leaving without error.

        Raises StorageError (disk full, I/O, locked, read-only) and LedgerError (damaged), naming `operation`.
        """
        first = self._writing.acquire(timeout=QUEUE_S)
        try:
            with translated(self.path, operation), self._engine.begin() as connection:
                yield connection
        finally:
            if first:
                self._writing.release()

    @contextmanager
    def read(self, operation: str) -> Iterator[Connection]:
        """One consistent view of the database. Raises as `write` does."""
        with translated(self.path, operation), self._readers.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close the pooled connections; may be called twice."""
        self._engine.dispose()


@contextmanager
def translated(path: Path, operation: str) -> Iterator[None]:
    """Turn what SQLite raises for reasons outside the program into errors a person can act on.

    Mistakes of ours (a wrong statement, a broken constraint) pass through as they are.
    """
    try:
        yield
    except sa.exc.DBAPIError as e:
        error = _explain(e, path, operation)
        if error is None:
            raise
        raise error from e


#: What SQLite says (lower case, in part) → what to do. Each may pass without a change of the database.
_STORAGE = {
    "disk is full": "free some space on that disk",
    # Also what a quota and a limit of file sizes look like from SQLite.
    "disk i/o error": "look at the kernel's log for faults of that disk, and whether a quota is used up",
    "readonly database": "make the database and its folder writable for the user the daemon runs as",
    "locked": "close the program that holds a transaction open on the database",
    "unable to open": "check that the folder exists, on a local disk, and is writable for this user",
}
_DAMAGE = {
    "malformed": "restore the newest backup, or recover the rows with the sqlite3 command '.recover'",
    "not a database": "name another database file; this one is left as it is",
}


def _explain(e: sa.exc.DBAPIError, path: Path, operation: str) -> DropscribeError | None:
    said = str(e.orig)
    if path.is_dir():
        # SQLite calls it an I/O error.
        return LedgerError(
            "it is a folder", operation=operation, path=path, remedy="name a file: its history is one file"
        )
    for part, remedy in _STORAGE.items():
        if part in said.lower():
            return StorageError(said, operation=operation, path=path, remedy=remedy)
    for part, remedy in _DAMAGE.items():
        if part in said.lower():
            return LedgerError(said, operation=operation, path=path, remedy=remedy)
    return None
