"""Connections whose statements go straight to SQLite.

SQLAlchemy prepares each statement and its result anew, some 60 µs of the interpreter, and begins and ends transactions in
some 90; SQLite takes a tenth of that for a row. So statements as text are spelt once, and given to the driver as they are.
All other statements, and errors, are SQLAlchemy's.
"""

from __future__ import annotations

import re
import threading
import time
from collections import namedtuple
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple, cast

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Connection, CursorResult, Engine, ScalarResult

from dropscribe.ledger.sql.lock_waits import LockWaits
from dropscribe.ledger.sql.sqlite.faults import is_locked

#: Longest wait of SQLite itself for another writer before the limit of the call is read again, seconds: it may have shrunk.
STEP_S = 1.0
_DIALECT = sqlite.dialect()
#: An insertion of one row, whose values are all parameters: up to them, and them.
_INSERTION = re.compile(r"(INSERT INTO \w+ \([\w, ]+\) VALUES )(\((?:\?, )*\?\))")
#: Most rows that a statement inserts, and most parameters of a statement, which every SQLite takes.
_ROWS = 64
_PARAMETERS = 999


class _Prepared(NamedTuple):
    """A statement as the driver takes it."""

    sql: str
    #: Names of the parameters, in the order in which it takes their values.
    order: tuple[str, ...]
    #: Values of parameters that need not be given.
    preset: Mapping[str, Any]
    #: Parameters that are lists of values.
    lists: frozenset[str]

    def values(self, given: Mapping[str, Any]) -> Sequence[Any]:
        """Values in order. Raises KeyError if one is missing."""
        if self.preset:
            given = {**self.preset, **given}
        return [given[name] for name in self.order]

    def bound(self, given: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
        """SQL with a place for each value of its lists, and `values` with theirs."""
        values = self.values(given)
        if not self.lists:
            return self.sql, values
        sql, each = self.sql, []
        for name, value in zip(self.order, values, strict=True):
            if name in self.lists:
                sql = sql.replace(f"__[POSTCOMPILE_{name}]", ", ".join("?" * len(value)))
                each += value
            else:
                each.append(value)
        return sql, each


class Rows:
    """The part of `CursorResult` that the ledger uses, of rows that have all been read."""

    def __init__(self, rows: list[Any], rowcount: int) -> None:
        self.rowcount = rowcount
        self._rows = iter(rows)
        self._all = rows

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def all(self) -> list[Any]:
        """See `CursorResult`, as of all methods."""
        return list(self._rows)

    def fetchone(self) -> Any:
        return next(self._rows, None)

    first = fetchone

    def one(self) -> Any:
        row = self.one_or_none()
        if row is None:
            raise sa.exc.NoResultFound("no row was found when one was required")
        return row

    def one_or_none(self) -> Any:
        if len(self._all) > 1:
            raise sa.exc.MultipleResultsFound("several rows were found when one was required")
        return self.fetchone()

    def scalar(self) -> Any:
        row = self.fetchone()
        return None if row is None else row[0]

    def scalar_one(self) -> Any:
        return self.one()[0]

    def scalar_one_or_none(self) -> Any:
        row = self.one_or_none()
        return None if row is None else row[0]

    def scalars(self) -> Rows:
        return Rows([row[0] for row in self._rows], self.rowcount)

    def close(self) -> None:
        self._rows = iter(())


class DirectConnection(Connection):
    """A connection that stays open. Its transactions are begun and ended with `say`."""

    def __init__(self, engine: Engine) -> None:
        """Raises what the driver raises."""
        super().__init__(engine)
        # Never ended: else SQLAlchemy would begin one of its own with each statement.
        self.begin()
        self.driver: Any = self.connection.driver_connection
        #: Timeout for the lock of another connection that is set in it, milliseconds; None: that of the start.
        self.timeout_ms: int | None = None
        #: Base of the driver's errors.
        self.error: type[Exception] = engine.dialect.loaded_dbapi.Error

    @property
    def is_open(self) -> bool:
        """True within a transaction; SQLite rolls one back by itself when the disk is full, for example."""
        return bool(self.driver.in_transaction)

    def say(self, sql: str) -> None:
        """Carry out a statement without parameters and results."""
        try:
            self.driver.execute(sql)
        except self.error as e:
            raise self._translated(e, sql, None) from e

    def execute(
        self, statement: Any, parameters: Any = None, *, execution_options: Any = None
    ) -> CursorResult[Any]:
        prepared = None
        if execution_options is None and isinstance(statement, sa.TextClause):
            prepared = _prepared(statement)
        if prepared is None or (prepared.lists and isinstance(parameters, list)):
            return super().execute(statement, parameters, execution_options=execution_options)
        if not isinstance(parameters, list):
            return self._execute(*prepared.bound(parameters or {}))
        if prepared.preset or len(prepared.order) < 2:
            return self._execute_each(prepared.sql, [prepared.values(row) for row in parameters])
        return self._execute_each(prepared.sql, map(itemgetter(*prepared.order), parameters))

    def exec_driver_sql(
        self, statement: str, parameters: Any = None, execution_options: Any = None
    ) -> CursorResult[Any]:
        assert execution_options is None
        if isinstance(parameters, list):
            return self._execute_each(statement, parameters)
        return self._execute(statement, parameters or ())

    def scalar(self, statement: Any, parameters: Any = None, **options: Any) -> Any:
        return self.execute(statement, parameters, **options).scalar()

    def scalars(self, statement: Any, parameters: Any = None, **options: Any) -> ScalarResult[Any]:
        return self.execute(statement, parameters, **options).scalars()

    def _execute(self, sql: str, values: Sequence[Any]) -> CursorResult[Any]:
        try:
            cursor = self.driver.execute(sql, values)
            # All rows at once: a cursor that is left open would keep the transaction open.
            columns = cursor.description
            rows = [] if columns is None else list(map(_row_of(columns)._make, cursor))
        except self.error as e:
            raise self._translated(e, sql, values) from e
        return cast("CursorResult[Any]", Rows(rows, cursor.rowcount))

    def _execute_each(self, sql: str, rows: Iterable[Sequence[Any]]) -> CursorResult[Any]:
        insertion = _INSERTION.fullmatch(sql)
        try:
            if insertion is None:
                count = self.driver.executemany(sql, rows).rowcount
            else:
                count = self._insert(insertion[1], insertion[2], list(rows))
        except self.error as e:
            raise self._translated(e, sql, None) from e
        return cast("CursorResult[Any]", Rows([], count))

    def _insert(self, begin: str, row: str, rows: Sequence[Sequence[Any]]) -> int:
        """Insert rows, many with a statement: with each one the interpreter is passed on to another thread.

        Their number is a power of two, so that few statements are prepared.
        """
        most = min(_ROWS, _PARAMETERS // row.count("?"))
        at = 0
        while at < len(rows):
            count = 1 << (min(most, len(rows) - at).bit_length() - 1)
            some = rows[at : at + count]
            self.driver.execute(_insertion(begin, row, count), list(chain.from_iterable(some)))
            at += count
        return at

    def _translated(self, error: Exception, sql: str, values: Any) -> Exception:
        made = sa.exc.DBAPIError.instance(sql, values, error, self.error, dialect=self.dialect)
        assert isinstance(made, Exception)
        return made


class Connections:
    """Open connections that nobody uses at the moment. Thread-safe."""

    def __init__(self, engine: Engine, most: int) -> None:
        """`most`: connections that are kept open."""
        self._engine = engine
        self._most = most
        self._lock = threading.Lock()
        self._idle: list[DirectConnection] = []
        self._closed = False

    def take(self) -> DirectConnection:
        """Raises what the driver raises."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return DirectConnection(self._engine)

    def give(self, connection: DirectConnection) -> None:
        """Take a connection back. What is not committed in it is rolled back. Raises DBAPIError."""
        try:
            if connection.is_open:
                connection.say("ROLLBACK")
        except BaseException:
            connection.close()
            raise
        with self._lock:
            if not self._closed and len(self._idle) < self._most:
                self._idle.append(connection)
                return
        connection.close()

    @contextmanager
    def one(self) -> Iterator[DirectConnection]:
        """A connection for the block. Raises as `take` and `give` do."""
        connection = self.take()
        try:
            yield connection
        finally:
            self.give(connection)

    def close(self) -> None:
        """Close all, those in use when they are given back."""
        with self._lock:
            self._closed, idle, self._idle = True, self._idle, []
        for connection in idle:
            connection.close()


class WriteTransaction:
    """A transaction that has the lock of writers: see `dropscribe.ledger.sql.sqlite.write_queue.Transaction`."""

    def __init__(self, connections: Connections, waits: LockWaits) -> None:
        """Begin it, waiting for other connections as `waits` allows. Raises what the driver raises, and DBAPIError."""
        self._connections = connections
        self.connection = connections.take()
        try:
            _begin(self.connection, waits)
        except BaseException:
            connections.give(self.connection)
            raise

    @property
    def alive(self) -> bool:
        """False after SQLite has rolled it back by itself, as it does when the disk is full."""
        return self.connection.is_open

    def commit(self) -> None:
        """See `Transaction`."""
        try:
            self.connection.say("COMMIT")
        finally:
            # After an error it may still be open.
            self._connections.give(self.connection)

    def rollback(self) -> None:
        """See `Transaction`."""
        self._connections.give(self.connection)


def wait_at_most(connection: DirectConnection, seconds: float) -> None:
    """Set how long SQLite waits for the lock of another connection."""
    milliseconds = round(seconds * 1000)
    if connection.timeout_ms != milliseconds:
        connection.say(f"PRAGMA busy_timeout = {milliseconds}")
        connection.timeout_ms = milliseconds


def _begin(connection: DirectConnection, waits: LockWaits) -> None:
    began = time.monotonic()
    while (left_s := waits.limit_s() - (time.monotonic() - began)) > 0:
        wait_at_most(connection, min(left_s, STEP_S))
        try:
            connection.driver.execute("BEGIN IMMEDIATE")
        except connection.error as e:
            if not is_locked(e):
                break
            waits.refused(foreign=True)
        else:
            return
    # The last attempt, or the only one of a thread that does not wait. Its error is translated as every other is.
    wait_at_most(connection, 0.0)
    connection.say("BEGIN IMMEDIATE")


@lru_cache(maxsize=256)
def _insertion(begin: str, row: str, count: int) -> str:
    """An insertion of so many rows."""
    return begin + ", ".join([row] * count)


@lru_cache(maxsize=1024)
def _prepared(statement: sa.TextClause) -> _Prepared:
    binds = statement._bindparams  # noqa: SLF001 - there is no other way to them
    preset = {name: bind.value for name, bind in binds.items() if not bind.required}
    lists = frozenset(name for name, bind in binds.items() if bind.expanding)
    kind: Any = type(statement)
    return _Prepared(*_spelt(kind, statement.text, lists), preset, lists)


@lru_cache(maxsize=1024)
def _spelt(kind: Any, text: str, lists: frozenset[str]) -> tuple[str, tuple[str, ...]]:
    """SQL and the order of parameters: statements made for a question have few texts."""
    statement = kind(text).bindparams(*(sa.bindparam(name, expanding=True) for name in lists))
    compiled = statement.compile(dialect=_DIALECT)
    return str(compiled), tuple(compiled.positiontup or ())


@lru_cache(maxsize=1024)
def _row_of(columns: tuple[tuple[Any, ...], ...]) -> Any:
    """Class of rows with these columns."""
    return namedtuple("Row", [str(column[0]) for column in columns], rename=True)  # noqa: PYI024 - made at run time
