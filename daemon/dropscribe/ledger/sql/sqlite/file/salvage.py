"""Copy the readable rows of a damaged database into a new one, and make that consistent."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import sqlalchemy as sa

from dropscribe.ledger.sql.schema import metadata
from dropscribe.ledger.sql.sqlite.db import driver
from dropscribe.ledger.sql.sqlite.ddl import FILL_TOTALS

#: In an order in which rows follow the rows that they refer to.
TABLES = (
    "recordings", "jobs", "attempts", "stage_timings", "segments", "job_speakers", "voices", "outputs", "skips", "pauses", "actions", "backups",
    "outbox",
)  # fmt: skip
#: The column by which a table is stored, where that is not `id`.
_KEYS = {"attempts": "job_id", "stage_timings": "job_id", "job_speakers": "job_id"}
#: Ranges of a table that are tried at most between its first and last unreadable row.
_MOST_TRIES = 100_000
#: The file header and the byte after it, the type of the first page; bytes.
_HEADER_BYTES = 101
_MAGIC = b"SQLite format 3\0"
_PAGE_KINDS = {5, 13}

#: Types of the values that SQLite returns for a column, by the Python type of the column.
_STORED: dict[type, type | tuple[type, ...]] = {int: int, float: (int, float), str: str, bytes: bytes}

#: Page size of our databases, bytes.
PAGE_BYTES = 4096
#: A row with a larger size is not taken for one, bytes.
_MOST_BYTES = 1 << 28
#: The file header, at the beginning of the first page, bytes.
_FILE_HEADER_BYTES = 100
#: Type of the pages that hold the rows of a table.
_TABLE_LEAF = 13
#: Size of an integer by its serial type, bytes.
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}

Value = int | float | str | bytes | None
Row = tuple[Any, ...]


def salvage(source: Path, target: Path) -> None:
    """Fill `target`, a new database of the current schema, with what can be read of `source`, a copy that may be changed."""
    _make_readable(source, target)
    with closing(driver().connect(os.fspath(target), isolation_level=None)) as into:
        into.execute("BEGIN")
        with closing(_opened(source)) as connection:
            unread = {table for table in TABLES if not _copy(connection, into, table)}
            seen = _last_job(connection)
        # The log is in the file now: closing the last connection moved it there.
        if unread:
            _copy_pages(source, into, unread)
        _make_consistent(into, seen)
        into.execute("COMMIT")


def _make_readable(source: Path, fresh: Path) -> None:
    """Give a file that SQLite refuses as a whole a first page and a size that it accepts.

    The first page holds the root page of each table. A database that was created, not upgraded, by this version has the same
    ones as a `fresh` database, whose first page can therefore replace a lost one.
    """
    with source.open("r+b") as file:
        head = file.read(_HEADER_BYTES)
        if len(head) < _HEADER_BYTES:
            return
        if not head.startswith(_MAGIC) or head[-1] not in _PAGE_KINDS:
            with fresh.open("rb") as model:
                page = model.read(PAGE_BYTES)
            file.seek(0)
            file.write(page)
        count = os.fstat(file.fileno()).st_size // PAGE_BYTES
        file.seek(28)
        file.write(count.to_bytes(4, "big"))


def _last_job(connection: Any) -> int:
    """The highest job number ever used, as far as known."""
    try:
        found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").fetchone()
        return int(found[0]) if found is not None else 0
    except (driver().Error, ValueError, TypeError):
        return 0


def _opened(path: Path) -> Any:
    return driver().connect(f"file:{quote(os.fsencode(path.absolute()))}?mode=rw", uri=True)


def _copy(source: Any, into: Any, table: str) -> bool:
    """Copy the readable rows of a table; True when all are."""
    key = _KEYS.get(table, "id")
    try:
        there = {row[1] for row in source.execute(f"PRAGMA table_info({table})")}
    except driver().Error:
        return False
    columns = [c.name for c in metadata.tables[table].columns if c.name in there]
    if key not in columns:
        return False
    put = _putter(into, table, columns)
    named = ", ".join(columns)
    at = columns.index(key)

    def read(first: int, last: int, order: str) -> Iterator[Row]:
        # The names are those of our own schema.
        statement = (
            f"SELECT {named} FROM {table} NOT INDEXED WHERE {key} BETWEEN ? AND ? ORDER BY {key} {order}"  # noqa: S608
        )
        yield from source.execute(statement, (first, last))

    def run(first: int, last: int, order: str = "ASC") -> tuple[int | None, bool]:
        """Copy a range; returns the last key that was read, and whether the whole range was."""
        reached, rows = None, read(first, last, order)
        while True:
            # Only errors of the damaged database are caught, not those of the new one (no room).
            try:
                row = next(rows, None)
                reached = reached if row is None else int(row[at])
            except (driver().Error, ValueError, TypeError):
                return reached, False
            if row is None:
                break
            put(row)
        return reached, True

    lowest, highest = -(2**62), 2**62
    begun, whole = run(lowest, highest)
    if whole:
        return True
    ended, _ = run(lowest, highest, "DESC")
    if ended is None:
        return False
    left = [(begun + 1 if begun is not None else 0, ended - 1)]
    for _ in range(_MOST_TRIES):
        if not left:
            break
        first, last = left.pop()
        if first > last or run(first, last)[1] or first == last:
            continue
        middle = (first + last) // 2
        left += [(first, middle), (middle + 1, last)]
    return False


def _putter(into: Any, table: str, columns: list[str]) -> Callable[[Row], None]:
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - as above

    def put(row: Row) -> None:
        into.execute(statement, row)

    return put


def _copy_pages(source: Path, into: Any, wanted: set[str]) -> None:
    """Copy rows of the tables `wanted` that no tree leads to any more, recognised by the types of their columns.

    Only of tables with numbered rows; the others hold attempts and timings, which are dispensable.
    """
    tables = {name: list(table.columns) for name, table in metadata.tables.items() if name not in _KEYS}
    put: dict[tuple[str, int], Callable[[Row], None]] = {}
    for number, values in _rows_of_pages(source):
        # The first column is the number of the row, and is stored as NULL.
        if not values or values[0] is not None:
            continue
        row = (number, *values[1:])
        fitting = [name for name, columns in tables.items() if _fits(row, columns)]
        # Rows from before an upgrade are shorter. Among several fitting tables the one with the fewest columns is right.
        table = min(fitting, key=lambda name: len(tables[name]), default=None)
        if table is None or table not in wanted:
            continue
        key = table, len(row)
        if key not in put:
            put[key] = _putter(into, table, [c.name for c in tables[table][: len(row)]])
        put[key](row)


def _fits(row: Row, columns: Sequence[sa.Column[Any]]) -> bool:
    """True when the values can be a row of a table with these columns, the last of which may have been added later."""
    if len(row) > len(columns):
        return False
    if not all(c.nullable or c.server_default is not None for c in columns[len(row) :]):
        return False
    return all(
        c.nullable if value is None else isinstance(value, _STORED.get(c.type.python_type, object))
        for value, c in zip(row, columns, strict=False)
    )


def _make_consistent(into: Any, seen: int) -> None:
    """Remove rows that refer to missing ones, and queue jobs again whose result is not whole."""
    named = [into.execute(f"SELECT coalesce(max({c}), 0) FROM {t}").fetchone()[0]  # noqa: S608 - as above
             for t, c in (("jobs", "id"), ("segments", "job_id"), ("outputs", "job_id"), ("attempts", "job_id"))]  # fmt: skip
    into.execute(
        "DELETE FROM recordings WHERE typeof(path_raw) <> 'blob' OR typeof(folder_raw) <> 'blob' "
        "OR typeof(sha256) <> 'text' OR typeof(size) <> 'integer'"
    )
    into.execute(
        "UPDATE recordings SET latest = 1 WHERE id IN (SELECT max(id) FROM recordings GROUP BY path_raw "
        "HAVING max(latest) = 0)"
    )
    into.execute("DELETE FROM jobs WHERE recording_id NOT IN (SELECT id FROM recordings)")
    for table in ("attempts", "stage_timings", "segments", "job_speakers", "outputs", "actions"):
        into.execute(f"DELETE FROM {table} WHERE job_id NOT IN (SELECT id FROM jobs)")  # noqa: S608 - as above
    into.execute(
        "DELETE FROM outbox WHERE job_id IS NOT NULL AND job_id NOT IN (SELECT id FROM jobs) OR NOT coalesce(json_valid(facts), kind = 'done')"
    )
    for column in ("marks", "speakers"):
        into.execute(
            f"UPDATE segments SET {column} = NULL WHERE json_valid(tokens) "  # noqa: S608 - as above
            f"AND (typeof({column}) <> 'blob' OR length({column}) <> json_array_length(tokens))"
        )
    # Without its folder a queued job would never be claimed.
    into.execute(
        "UPDATE jobs SET folder_raw = (SELECT r.folder_raw FROM recordings r WHERE r.id = recording_id)"
    )
    texts: dict[int, int] = {}
    broken: set[int] = set()
    expected: dict[int, int] = {}
    for job, index, text, sound in into.execute(
        "SELECT job_id, idx, text, json_valid(tokens) FROM segments ORDER BY job_id, idx"
    ):
        if index != expected.get(job, 0) or not sound:
            broken.add(job)
        expected[job] = index + 1
        texts[job] = texts.get(job, 0) + len(text)
    done = into.execute(
        "SELECT id, reference_job_id, characters, coalesce(json_valid(media) AND json_valid(engine) "
        "AND json_valid(timings), 0), state = 'done' FROM jobs "
        # Their text was removed on purpose.
        "WHERE (state = 'done' OR media IS NOT NULL) AND text_removed_at IS NULL AND purged_at IS NULL"
    ).fetchall()
    own = {job for job, reference, count, sound, _ in done
           if reference is None and sound and job not in broken and texts.get(job, 0) == count}  # fmt: skip
    lost = [
        ((job,), ended)
        for job, reference, _, sound, ended in done
        if not sound or (job if reference is None else reference) not in own
    ]
    again = [job for job, ended in lost if ended]
    into.executemany("UPDATE jobs SET media = NULL WHERE id = ?", [job for job, _ in lost])
    into.executemany("DELETE FROM segments WHERE job_id = ?", [job for job, _ in lost])
    into.executemany("DELETE FROM stage_timings WHERE job_id = ?", [job for job, _ in lost])
    into.executemany(
        "UPDATE jobs SET state = 'queued', attempts = 0, finished_at = NULL, reference_job_id = NULL, not_before = 0, "
        "isolate = 0 WHERE id = ?",
        again,
    )
    for statement in FILL_TOTALS:
        into.execute(statement)
    # A number that is in a transcript is never given to another job.
    into.execute("DELETE FROM sqlite_sequence WHERE name = 'jobs'")
    into.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('jobs', ?)", (max(seen, *named),))


def _rows_of_pages(path: Path) -> Iterator[tuple[int, tuple[Value, ...]]]:
    """Yield (row number, values) of every row in the pages of a database file, whether or not a tree leads to them.

    When a page that leads to others is lost, SQLite finds none of these, although the rows in them are whole. The log must
    be empty; what is no row is skipped. Source: https://sqlite.org/fileformat2.html, sections 1.6 and 2.1.
    """
    count = path.stat().st_size // PAGE_BYTES
    with path.open("rb") as file:
        for number in range(1, count + 1):
            page = _page(file, number)
            begin = _FILE_HEADER_BYTES if number == 1 else 0
            if page[begin] != _TABLE_LEAF:
                continue
            cells = int.from_bytes(page[begin + 3 : begin + 5], "big")
            first = begin + 8
            for at in range(first, min(first + 2 * cells, PAGE_BYTES - 1), 2):
                try:
                    yield _cell(file, page, int.from_bytes(page[at : at + 2], "big"), count)
                except (ValueError, IndexError, struct.error):
                    continue


def _page(file: BinaryIO, number: int) -> bytes:
    file.seek((number - 1) * PAGE_BYTES)
    return file.read(PAGE_BYTES)


def _cell(file: BinaryIO, page: bytes, at: int, count: int) -> tuple[int, tuple[Value, ...]]:
    size, at = _varint(page, at)
    rowid, at = _varint(page, at)
    if size > _MOST_BYTES:
        raise ValueError("too large")
    most = PAGE_BYTES - 35
    local = size
    if size > most:
        least = (PAGE_BYTES - 12) * 32 // 255 - 23
        local = least + (size - least) % (PAGE_BYTES - 4)
        local = local if local <= most else least
    payload = page[at : at + local]
    following = int.from_bytes(page[at + local : at + local + 4], "big")
    while len(payload) < size:
        if not 1 < following <= count:
            raise ValueError("no such page")
        more = _page(file, following)
        following = int.from_bytes(more[:4], "big")
        payload += more[4:]
    return rowid - (1 << 64) if rowid >= 1 << 63 else rowid, _record(payload[:size])


def _record(payload: bytes) -> tuple[Value, ...]:
    end, at = _varint(payload, 0)
    body, values = end, []
    while at < end:
        kind, at = _varint(payload, at)
        value, body = _value(payload, body, kind)
        values.append(value)
    if body != len(payload):
        raise ValueError("it is longer than its values")
    return tuple(values)


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind in {0, 8, 9}:
        return {0: None, 8: 0, 9: 1}[kind], at
    if kind in _INTEGERS:
        end = at + _INTEGERS[kind]
        return int.from_bytes(payload[at:end], "big", signed=True), end
    if kind == 7:
        return struct.unpack(">d", payload[at : at + 8])[0], at + 8
    if kind < 12:
        raise ValueError("no such type")
    end = at + (kind - 12) // 2
    data = payload[at:end]
    return (data.decode("utf-8") if kind % 2 else data), end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of up to 9 bytes, and the position after it."""
    value = 0
    for i in range(8):
        byte = data[at + i]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + i + 1
    return value << 8 | data[at + 8], at + 9
