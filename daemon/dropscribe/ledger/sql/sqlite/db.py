"""Connect to SQLite: the library, its settings, and transactions that read or write."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from dropscribe.errors import DatabaseLockedError, DropscribeError, UnusableLedgerError
from dropscribe.ledger.columns import PathEnd, Places, RawPath
from dropscribe.ledger.sql.lock_waits import WAIT_S, LockWaits
from dropscribe.ledger.sql.sqlite import functions  # noqa: F401 - spells the functions of statements
from dropscribe.ledger.sql.sqlite.direct import Connections, DirectConnection, WriteTransaction, wait_at_most
from dropscribe.ledger.sql.sqlite.faults import damaged, explain
from dropscribe.ledger.sql.sqlite.file.database_file import LOG_ENDINGS, DatabaseFile
from dropscribe.ledger.sql.sqlite.write_queue import Shared, WriteQueue

#: Longest wait of our threads for each other before they leave the waiting to SQLite, seconds. SQLite polls the lock, in steps
#: of up to 0.1 s, and in no order.
QUEUE_S = 5.0
#: Size to which the write-ahead log is truncated after a checkpoint, bytes; a burst must not leave a huge file.
JOURNAL_LIMIT_BYTES = 64 * 1024 * 1024
#: Longest check for damage after a broken constraint, seconds.
CONTRADICTION_S = 20.0
#: Most findings of a check that are read; the first is enough for the message.
MOST_FINDINGS = 10
#: Instructions of SQLite's virtual machine between two readings of the clock.
_CLOCK_STEPS = 10_000
#: Connections kept open: one for each thread of the main loop, claims, admission and publishing, and some more.
POOL_SIZE = 8
#: Further connections that are closed after use: threads that write files query their owners.
OVERFLOW = 40

#: First and last SQLite with the WAL-reset bug (https://sqlite.org/wal.html): two connections that write and
#: checkpoint at the same moment can, very rarely, damage the database.
WAL_BUG_FIRST = (3, 7, 0)
WAL_BUG_LAST = (3, 51, 2)

#: Execution option of connections that only read: their transactions begin deferred and never wait for writers.
READING = "dropscribe_reading"

#: Values that the driver would first try to turn into others, for a microsecond each, before it takes them as they are; of a
#: recording there are dozens. It takes a `bytearray` at once.
_ADAPTED: Mapping[type, Callable[[Any], Any]] = MappingProxyType(
    {bytes: bytearray, RawPath: bytearray, PathEnd: bytearray, type(None): lambda none: none}
)

_MERGE = sa.text("INSERT INTO segment_search (segment_search, rank) VALUES ('merge', :pages)")


def driver() -> Any:
    """pysqlite3 with its newer SQLite when it is installed, else the standard module."""
    try:
        return importlib.import_module("pysqlite3.dbapi2")
    except ImportError:
        return sqlite3


def sqlite_version() -> str:
    """Version of the SQLite library in use."""
    return str(driver().sqlite_version)


def wal_bug_warning(version: str | None = None) -> str | None:
    """A warning when SQLite `version` (default: the one in use) has the WAL-reset bug, else None."""
    version = version or sqlite_version()
    numbers = tuple(int(part) for part in version.split(".")[:3])
    if not WAL_BUG_FIRST <= numbers <= WAL_BUG_LAST:
        return None
    return (
        f"SQLite {version} has a bug that can, very rarely, damage a database in WAL mode (fixed in 3.51.3); "
        "install pysqlite3, which brings a newer SQLite, into dropscribe's environment"
    )


def connect(
    path: Path,
    *,
    read_only: bool = False,
    foreign_keys: bool = True,
    file: DatabaseFile | None = None,
) -> Engine:
    """An engine on the database at `path`; nothing is opened before the first statement.

    With `file` all connections are to one file: the first records its identity, and later ones raise when the path has
    another file.
    """
    engine = _engine(path, read_only=read_only, foreign_keys=foreign_keys, file=file)
    # The driver begins transactions late and deferred, and a deferred one fails at its first write when another
    # connection has written meanwhile. Therefore writers take the lock at once.
    event.listen(engine, "begin", _begin)
    return engine


def _engine(path: Path, *, read_only: bool, foreign_keys: bool, file: DatabaseFile | None) -> Engine:
    """The engine of `connect`, which begins no transactions."""
    module = driver()
    for kind, adapted in _ADAPTED.items():
        module.register_adapter(kind, adapted)

    def open_connection() -> Any:
        pinned = file is not None and file.pinned
        # A database that was removed meanwhile must not be created again, empty.
        mode = "ro" if read_only else "rw" if pinned else "rwc"
        # Percent-encoded bytes keep a name with '?', '#' or bytes outside UTF-8 whole.
        uri = f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"
        if read_only and _only_readable(path):
            uri += "&immutable=1"
        connection = module.connect(uri, uri=True, check_same_thread=False, isolation_level=None)
        _configure(connection, read_only=read_only, foreign_keys=foreign_keys)
        if file is not None:
            file.pin()
            file.verify("open database")
        return connection

    return sa.create_engine(
        "sqlite://",
        module=module,
        creator=open_connection,
        poolclass=sa.QueuePool,
        pool_size=POOL_SIZE,
        max_overflow=OVERFLOW,
    )


def _only_readable(path: Path) -> bool:
    """True for a database at rest whose folder this user may not write to.

    SQLite opens a database in WAL mode only with its log, which it would have to create. Without one nobody is writing, so the
    file can be read as it is.
    """
    real = Path(os.path.realpath(path))
    log = real.with_name(real.name + LOG_ENDINGS[0])
    return not os.access(real.parent, os.W_OK, effective_ids=True) and not log.exists()


def _configure(connection: Any, *, read_only: bool, foreign_keys: bool) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {round(WAIT_S * 1000)}")
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


class SqliteDatabase:
    """Transactions on one database file. Thread-safe: each reader has a pooled connection of its own, writers that wait for each
    other share one.

    Implements `Database`, where the methods are documented. After a thread has found the file damaged, removed or replaced, it is
    not accessed again: see `fault`.
    """

    indexes_phrases = True
    unpacks_segments = True
    by_server_clock = False

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        #: Why this database cannot be used any more; set once, by any thread. Every later call raises it.
        self.fault: UnusableLedgerError | None = None
        # Read-only use is short, beside a daemon that watches the file.
        self._file = None if read_only else DatabaseFile(path)
        self.waits = LockWaits()
        self.places = Places()
        self._engine = _engine(path, read_only=read_only, foreign_keys=True, file=self._file)
        self._connections = Connections(self._engine, POOL_SIZE)
        self._queue = WriteQueue()

    def instant(self, now: float) -> float:
        return now

    def kept(self) -> tuple[str, ...]:
        return self.places.storages

    @contextmanager
    def write(self, operation: str, *, alone: bool = False) -> Iterator[Connection]:
        """See `Database`. A writer sees what those wrote before it with whom it shares its transaction.

        `alone`: it shares none, neither before nor after.
        """
        mine, shared = self._queue.take(min(QUEUE_S, self.waits.limit_s()), shares=not alone)
        if not mine:
            if self.waits.is_limited:
                raise self.waits.error(self.path, operation)
            # SQLite has a queue of its own, in which other processes wait, too.
            with self._usable(operation):
                opened = self._begun(operation)
                try:
                    yield opened.connection
                except BaseException:
                    opened.rollback()
                    raise
                opened.commit()
            return
        passed_on = False
        try:
            with self._usable(operation):
                joined = shared is not None
                shared = shared or Shared(self._begun(operation))
                try:
                    with self._part(shared, joined=joined) as connection:
                        self.waits.had()
                        yield connection
                    shared.writers += 1
                finally:
                    passed_on = True
                    # A thread with a limit does not wait for what those behind it write.
                    ends = alone or self.waits.is_limited or shared.error is not None
                    if ends or not self._queue.hand_over(shared):
                        shared.end()
                        self._queue.release()
                shared.ended.wait()
                if shared.error is not None:
                    raise shared.error
        finally:
            if not passed_on:
                # It could not begin; those who wrote before it, and those behind it, go on.
                if shared is not None:
                    shared.end()
                self._queue.release()

    def _begun(self, operation: str) -> WriteTransaction:
        opened = WriteTransaction(self._connections, self.waits)
        try:
            self._admit(opened.connection, operation)
        except BaseException:
            opened.rollback()
            raise
        return opened

    def _admit(self, connection: Connection, operation: str) -> None:
        self.waits.had()
        if self._file is not None:
            self._file.pin_log()
            self._check_file(self._file, connection, operation)

    @contextmanager
    def _part(self, shared: Shared, *, joined: bool) -> Iterator[Connection]:
        """The part of one writer: if it fails, what the others wrote stays."""
        opened = shared.transaction
        assert isinstance(opened, WriteTransaction)
        if not joined:
            # Nothing is written yet: if this part fails, the transaction ends, as nobody has a part in it.
            try:
                yield opened.connection
            except BaseException as e:
                shared.error = e
                raise
            return
        connection = opened.connection
        connection.say("SAVEPOINT part")
        try:
            yield connection
            connection.say("RELEASE part")
        except BaseException as e:
            shared.error = e
            if opened.alive:
                connection.say("ROLLBACK TO part")
                connection.say("RELEASE part")
                shared.error = None
            raise

    @contextmanager
    def read(self, operation: str) -> Iterator[Connection]:
        """One consistent view of the database. Raises as `write` does."""
        with self._usable(operation), self._reading() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[DirectConnection]:
        with self._connections.one() as connection:
            wait_at_most(connection, self.waits.limit_s())
            connection.say("BEGIN")
            # There is nothing to commit.
            yield connection

    @contextmanager
    def overwriting(self, operation: str) -> Iterator[Connection]:
        """A transaction in which what is deleted is overwritten with zeros."""
        with self.write(operation, alone=True) as connection:
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
            try:
                yield connection
            finally:
                connection.exec_driver_sql("PRAGMA secure_delete = OFF")

    def merge_search(self, pages: int) -> bool:
        """Rewrite part of the full-text index; False when nothing is left to do."""
        with self.overwriting("rewrite the search index") as connection:
            before = connection.exec_driver_sql("SELECT total_changes()").scalar_one()
            connection.execute(_MERGE, {"pages": -pages})
            after = connection.exec_driver_sql("SELECT total_changes()").scalar_one()
        # https://sqlite.org/fts5.html#the_merge_command: a difference below 2 means that nothing was done.
        return bool(after - before >= 2)

    def shrink_log(self, operation: str) -> bool:
        """Move the content of the log into the database and cut the log to nothing; False if a reader prevents it.

        Raises as `write` does.
        """
        # Without a transaction, in which a checkpoint is not possible.
        with self._usable(operation), self._connections.one() as connection:
            (busy, *_) = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
            return not busy

    def verify(self, operation: str) -> None:
        """Raise UnusableLedgerError when the open file is not the one at the path or was truncated. Cheap."""
        if self._file is None or not self._file.pinned:
            return
        with self._usable(operation):
            shrunk = self._file.verify(operation)
        if shrunk is not None:
            with self.read(operation) as connection:
                self._check_file(self._file, connection, operation)

    def close(self) -> None:
        """Close the pooled connections; may be called twice."""
        foreign = self._file is not None and self._file.log_is_foreign()
        if self.fault is not None or foreign:
            # SQLite does not checkpoint the log of a moved file by itself. Its content goes into that file, so that a renamed
            # database has it and a new one does not find it. The log of another database must not be truncated.
            how = "PASSIVE" if foreign else "TRUNCATE"
            refusals = (sa.exc.DBAPIError, driver().Error, DropscribeError)
            # With one that is open: another one would not be to this file.
            with contextlib.suppress(*refusals), self._connections.one() as connection:
                connection.say(f"PRAGMA wal_checkpoint({how})")
        if foreign:
            # Closing would remove the log at the path, which is another database's. The connections stay open until exit.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connections))
            return
        self._connections.close()
        self._engine.dispose()

    @contextmanager
    def _usable(self, operation: str) -> Iterator[None]:
        if self.fault is not None:
            raise self.fault
        try:
            with translated(self.path, operation, self._file):
                yield
        except DatabaseLockedError as e:
            self.waits.refused(foreign=True)
            raise self.waits.error(self.path, operation) from e
        except UnusableLedgerError as e:
            e.path = e.path or self.path
            self.fault = self.fault or e
            raise
        except (sa.exc.IntegrityError, MemoryError) as e:
            # SQLite also reports a lack of memory when a damaged search index makes it reserve an absurd amount.
            contradiction = self._contradiction()
            if contradiction is None:
                raise
            self.fault = damaged(f"it is damaged ({contradiction})", self.path, operation)
            raise self.fault from e

    def _check_file(self, file: DatabaseFile, connection: Connection, operation: str) -> None:
        size = file.verify(operation)
        if size is not None:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            file.accept(size, pages * connection.exec_driver_sql("PRAGMA page_size").scalar_one(), operation)

    def _contradiction(self) -> str | None:
        """Check the database after an error that damage or a mistake of ours causes; None when it is sound."""
        try:
            with self._reading() as connection:
                found = findings(connection, "integrity_check", limit_s=CONTRADICTION_S)
        except sa.exc.DBAPIError as e:
            return str(e.orig)
        return found[0] if found else None


@contextmanager
def translated(path: Path, operation: str, file: DatabaseFile | None = None) -> Iterator[None]:
    """Translate errors of SQLite with a cause outside the program into errors that a person can act on.

    Our own mistakes (a wrong statement, a broken constraint) pass unchanged. When `file` is no longer at its path, that
    is raised instead of its consequence.
    """
    try:
        yield
    except sa.exc.DBAPIError as e:
        if file is not None and file.pinned:
            file.verify(operation)
        error = explain(e, path, operation)
        if error is None:
            raise
        raise error from e


def findings(connection: Connection, check: str, limit_s: float | None = None) -> tuple[str, ...]:
    """Run the PRAGMA `check` (quick_check, integrity_check); returns what is wrong, () for a sound database.

    After `limit_s` seconds the check ends as if nothing were wrong. Raises DBAPIError when damage prevents the check.
    """
    raw: Any = connection.connection.driver_connection
    ended = [False]
    if limit_s is not None:
        deadline = time.monotonic() + limit_s

        def over() -> bool:
            ended[0] = time.monotonic() > deadline
            return ended[0]

        raw.set_progress_handler(over, _CLOCK_STEPS)
    try:
        rows = connection.exec_driver_sql(f"PRAGMA {check}({MOST_FINDINGS})").scalars().all()
    except MemoryError:
        # A damaged search index makes SQLite reserve an absurd amount. Tables and indexes have limits.
        return ("fts5: out of memory while the search index was read",)
    except sa.exc.OperationalError:
        if ended[0]:
            return ()
        raise
    finally:
        raw.set_progress_handler(None, 0)
    return tuple(str(row) for row in rows if row != "ok")
