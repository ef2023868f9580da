"""Copy all that is on record into an empty database, of another kind or the same, and compare the two."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dropscribe.errors import LedgerError, UsageError
from dropscribe.ledger.sql.bulk import insert_rows
from dropscribe.ledger.sql.dialect import Database, sql
from dropscribe.ledger.sql.history.totals import Totals
from dropscribe.ledger.sql.schema import job_totals, metadata, stage_totals

#: Rows in memory at a time.
_ROWS = 1_000
#: Kept by triggers, which count the rows as they come. They are compared with what they count.
_COUNTED = (job_totals, stage_totals)
#: Tables whose numbers are never given twice.
_NUMBERED = ("jobs", "outbox")
_LAST = {table: sql(f"SELECT @last_number({table})") for table in _NUMBERED}
_SET_LAST = {
    "sqlite": (
        "DELETE FROM sqlite_sequence WHERE name = :table",
        "INSERT INTO sqlite_sequence (name, seq) VALUES (:table, :last)",
    ),
    "postgresql": ("SELECT setval(:table || '_id_seq', greatest(:last, 1), :last > 0)",),
}
_OPERATION = "copy database"


@dataclass(frozen=True, slots=True)
class Copied:
    """Rows of each table, and what the rows of all are known by in both databases (hexadecimal)."""

    rows: dict[str, int]
    sha256: str


@dataclass(slots=True)
class _Sum:
    """Number of rows, and the sum of their hashes: databases sort texts in different orders."""

    rows: int = 0
    digest: int = 0

    def add(self, rows: Iterable[tuple[Any, ...]]) -> None:
        for row in rows:
            self.rows += 1
            hashed = hashlib.sha256(repr(tuple(map(_plain, row))).encode("utf-8", "surrogatepass"))
            self.digest = (self.digest + int.from_bytes(hashed.digest())) % 2**256


def copy(source: Database, target: Database, named: Path) -> Copied:
    """Copy every row, in one transaction of the target, and compare what is there then. Locks of both are the caller's.

    Raises UsageError if the target has rows, LedgerError if the two differ afterwards; the target is as it was then.
    """
    sums: dict[str, _Sum] = {}
    with source.read(_OPERATION) as read, target.write(_OPERATION) as written:
        _demand_empty(written, named)
        for table in _tables():
            sums[table.name] = _Sum()
            for rows in _partitions(read, table):
                sums[table.name].add(rows)
                names = table.columns.keys()
                insert_rows(written, table, [dict(zip(names, row, strict=True)) for row in rows])
        _set_numbers(read, written)
        _compare(written, sums, named)
    wrong = Totals(target).wrong()
    if wrong:
        Totals(target).renew()
    whole = hashlib.sha256(repr(sorted((name, s.rows, s.digest) for name, s in sums.items())).encode())
    return Copied({name: s.rows for name, s in sums.items()}, whole.hexdigest())


def _tables() -> list[sa.Table]:
    """Those that are copied, each behind the tables that it refers to."""
    return [table for table in metadata.sorted_tables if table not in _COUNTED]


def _partitions(connection: Connection, table: sa.Table) -> Iterator[list[tuple[Any, ...]]]:
    keys = table.primary_key.columns.values()
    rows = connection.execute(sa.select(table).order_by(*keys), execution_options={"yield_per": _ROWS})
    for some in rows.partitions():
        yield [tuple(row) for row in some]


def _demand_empty(connection: Connection, named: Path) -> None:
    for table in _tables():
        if connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None:
            raise UsageError(
                f"there are rows in its table {table.name} already", operation=_OPERATION, path=named,
                remedy="name a database that is empty or does not exist yet",
            )  # fmt: skip


def _set_numbers(read: Connection, written: Connection) -> None:
    """Go on with the numbers where the source has come to, also those of rows that are gone."""
    last = {name: int(read.scalar(statement) or 0) for name, statement in _LAST.items()}
    if written.dialect.name == "postgresql":
        for table in _tables():
            if "id" in table.columns and table.name not in last:
                last[table.name] = int(written.scalar(sa.select(sa.func.max(table.columns["id"]))) or 0)
    for name, number in last.items():
        for statement in _SET_LAST[written.dialect.name]:
            written.execute(sa.text(statement), {"table": name, "last": number})


def _compare(connection: Connection, sums: dict[str, _Sum], named: Path) -> None:
    for table in _tables():
        found = _Sum()
        for rows in _partitions(connection, table):
            found.add(rows)
        if found != sums[table.name]:
            raise LedgerError(
                f"the copy of the table {table.name} differs: {found.rows:,} rows of {sums[table.name].rows:,}",
                operation=_OPERATION, path=named, remedy="report this; nothing was copied",
            )  # fmt: skip


def _plain(value: Any) -> Any:
    """A value as it is in every database: PostgreSQL's texts have no NUL."""
    if isinstance(value, str):
        return value.replace("\0", "")
    return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else value
