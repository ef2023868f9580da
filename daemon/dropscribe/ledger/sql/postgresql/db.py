"""Transactions on a PostgreSQL database that read or write."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dropscribe.errors import DatabaseLockedError, UnusableLedgerError
from dropscribe.ledger.columns import Places
from dropscribe.ledger.interface import Lock
from dropscribe.ledger.sql.lock_waits import LockWaits
from dropscribe.ledger.sql.postgresql import functions  # noqa: F401 - spells the functions of statements
from dropscribe.ledger.sql.postgresql.connections import connect
from dropscribe.ledger.sql.postgresql.faults import RESTORE, explain, is_locked
from dropscribe.ledger.sql.postgresql.lock import WRITING

#: Longest wait for another writer before the limit of the call is read again, seconds: it may have shrunk.
STEP_S = 1.0
#: Longest wait of our threads for each other before they leave the waiting to PostgreSQL, seconds.
QUEUE_S = 5.0
#: Interval of reading the clock of the server, seconds.
CLOCK_S = 2.0

# One writer at a time, as in SQLite: statements that first look and then change need no thought of others, and rows of the
# totals are never locked in two orders. A transaction takes milliseconds and has dozens of jobs in it.
_LOCK = sa.text(f"SELECT set_config('lock_timeout', :ms, true), pg_advisory_xact_lock({WRITING})")
_NOW = sa.text("SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)")
_IDENTITY = sa.text("SELECT CAST(to_regclass('jobs') AS oid)")
#: What a purge deletes from, in the order of their sizes.
_PURGED = "segments, outputs, stage_timings, attempts, job_speakers, outbox, jobs"


class PostgresDatabase:
    """Transactions on one PostgreSQL database. Implements `Database`, where the methods are documented."""

    #: Texts are found by their trigrams, in no order.
    indexes_phrases = False
    unpacks_segments = False

    def __init__(
        self, url: str, shown: Path, lock: Lock | None = None, places: Places | None = None, *,
        by_server_clock: bool = False,
    ) -> None:  # fmt: skip
        """`shown` names the database in errors; `lock`: the lock of the daemon, which must not be lost.

        `by_server_clock`: instants are by the clock of the server, whatever that of this host says.
        """
        self.places = Places() if places is None else places
        #: The clock of the server less the monotonic one, seconds; 0.0 until it is known.
        self._ahead_s = 0.0
        self.by_server_clock = by_server_clock
        self._read_clock_at = 0.0
        self._shown = shown
        self._lock = lock
        self.fault: UnusableLedgerError | None = None
        self.waits = LockWaits()
        self._engine = connect(url, self.places)
        self._readers = self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._writing = threading.Lock()
        #: Number of a table of this database; None until it is known.
        self._identity: int | None = None

    def instant(self, now: float) -> float:
        if not self.by_server_clock:
            return now
        if not self._ahead_s:
            with self.read("read the clock of the server") as connection:
                self._ahead_s = float(connection.scalar(_NOW) or 0.0) - time.monotonic()
        return time.monotonic() + self._ahead_s

    def kept(self) -> tuple[str, ...]:
        if self._lock is None:
            return self.places.storages
        return (self.places.host_storage, *self._lock.kept())

    @contextmanager
    def write(self, operation: str) -> Iterator[Connection]:
        acquired = self._writing.acquire(timeout=min(QUEUE_S, self.waits.limit_s()))
        if not acquired and self.waits.is_limited:
            raise self.waits.error(self._shown, operation)
        try:
            with self._usable(operation), self._locked() as connection:
                self.waits.had()
                self._read_clock(connection)
                yield connection
                connection.commit()
        finally:
            if acquired:
                self._writing.release()

    @contextmanager
    def read(self, operation: str) -> Iterator[Connection]:
        with self._usable(operation), self._readers.begin() as connection:
            yield connection

    def overwriting(self, operation: str) -> AbstractContextManager[Connection]:
        # PostgreSQL has no such thing: `shrink_log` lets the space of deleted rows be used again.
        return self.write(operation)

    def merge_search(self, pages: int) -> bool:  # noqa: ARG002 - as of the protocol
        # `shrink_log` cleans the index, too.
        return False

    def shrink_log(self, operation: str) -> bool:
        with (
            self._usable(operation),
            self._engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection,
        ):
            connection.exec_driver_sql(f"VACUUM {_PURGED}")
        return True

    def verify(self, operation: str) -> None:
        if self._lock is not None:
            with self._usable(operation):
                self._lock.verify(operation)
        with self.read(operation) as connection:
            found = connection.scalar(_IDENTITY)
        if self._identity is None:
            self._identity = found
        if found is None or found != self._identity:
            self.fault = UnusableLedgerError(
                "it was removed or replaced", operation=operation, path=self._shown, remedy=RESTORE
            )
            raise self.fault

    def close(self) -> None:
        self._engine.dispose()

    def _read_clock(self, connection: Connection) -> None:
        if self.by_server_clock and time.monotonic() >= self._read_clock_at:
            self._read_clock_at = time.monotonic() + CLOCK_S
            self._ahead_s = float(connection.scalar(_NOW) or 0.0) - time.monotonic()

    @contextmanager
    def _locked(self) -> Iterator[Connection]:
        """A connection whose transaction has the lock of writers. It is rolled back unless the caller commits."""
        began = time.monotonic()
        while True:
            left_s = self.waits.limit_s() - (time.monotonic() - began)
            connection = self._engine.connect()
            try:
                # 0 would mean no limit.
                connection.execute(_LOCK, {"ms": str(max(1, round(min(left_s, STEP_S) * 1000)))})
                break
            except Exception as e:
                connection.close()
                if not is_locked(e) or left_s <= STEP_S:
                    raise
                self.waits.refused(foreign=True)
        with connection:
            yield connection

    @contextmanager
    def _usable(self, operation: str) -> Iterator[None]:
        if self.fault is not None:
            raise self.fault
        try:
            with translated(self._shown, operation):
                yield
        except DatabaseLockedError as e:
            self.waits.refused(foreign=True)
            raise self.waits.error(self._shown, operation) from e
        except UnusableLedgerError as e:
            e.path = e.path or self._shown
            self.fault = self.fault or e
            raise


@contextmanager
def translated(shown: Path, operation: str) -> Iterator[None]:
    """Translate errors of PostgreSQL with a cause outside the program into errors that a person can act on.

    Our own mistakes (a wrong statement, a broken constraint) pass unchanged.
    """
    try:
        yield
    except (sa.exc.DBAPIError, psycopg.Error) as e:
        error = explain(e, shown, operation)
        if error is None:
            raise
        raise error from e
