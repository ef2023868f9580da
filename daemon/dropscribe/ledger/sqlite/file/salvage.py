"""Read what can be read of a damaged database, row by row, into a new one, and make that consistent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from dropscribe.ledger.sqlite.db import driver
from dropscribe.ledger.sqlite.file import pages
from dropscribe.ledger.sqlite.schema import metadata

#: In this order: a row comes after those it belongs to.
TABLES = ("recordings", "jobs", "attempts", "stage_timings", "segments", "outputs", "skips")
#: By which rows are found one after the other, in the tree of the table itself.
_KEYS = {"attempts": "job_id", "stage_timings": "job_id"}
#: Ranges of rows that are tried between two that can be read, in all.
_MOST_TRIES = 100_000
#: The header of a database, and the first byte of the page after it, which says what kind of page it is.
_HEADER_BYTES = 101
_MAGIC = b"SQLite format 3\0"
_PAGE_KINDS = {5, 13}

#: How SQLite gives back what a column of a Python type holds.
_STORED: dict[type, type | tuple[type, ...]] = {int: int, float: (int, float), str: str, bytes: bytes}

Row = tuple[Any, ...]


def salvage(source: Path, target: Path) -> None:
    """Fill `target`, a new database of today's schema, with what can be read of `source`, a copy that may be changed."""
    _make_readable(source, target)
    with closing(driver().connect(os.fspath(target), isolation_level=None)) as into:
        into.execute("BEGIN")
        with closing(_opened(source)) as connection:
            unread = {table for table in TABLES if not _copy(connection, into, table)}
            seen = _last_job(connection)
        # Closing has moved the log into the file.
        if unread:
            _copy_pages(source, into, unread)
        _make_consistent(into, seen)
        into.execute("COMMIT")


def _make_readable(source: Path, fresh: Path) -> None:
    """Give a file that SQLite refuses as a whole a first page and a size that it takes.

    The first page says where each table begins. Databases that were made, not upgraded, by one version agree in that with a
    `fresh` one, so its page can stand for one that is lost.
    """
    with source.open("r+b") as file:
        head = file.read(_HEADER_BYTES)
        if len(head) < _HEADER_BYTES:
            return
        if not head.startswith(_MAGIC) or head[-1] not in _PAGE_KINDS:
            with fresh.open("rb") as model:
                page = model.read(pages.PAGE_BYTES)
            file.seek(0)
            file.write(page)
        count = os.fstat(file.fileno()).st_size // pages.PAGE_BYTES
        file.seek(28)
        file.write(count.to_bytes(4, "big"))


def _last_job(connection: Any) -> int:
    """The highest job number ever given, as far as it is known."""
    try:
        found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").fetchone()
        return int(found[0]) if found is not None else 0
    except (driver().Error, ValueError, TypeError):
        return 0


def _opened(path: Path) -> Any:
    return driver().connect(f"file:{quote(os.fsencode(path.absolute()))}?mode=rw", uri=True)


def _copy(source: Any, into: Any, table: str) -> bool:
    """Copy the rows that can be read; whether all could."""
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
        """The last key that was read, and whether all were."""
        reached, rows = None, read(first, last, order)
        while True:
            # What the new database raises (no room) is not caught here.
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
    """Rows that no tree leads to any more, of tables that could not be read whole: told by the types of their columns.

    Only of tables that number their rows; the others hold where the time went.
    """
    tables = {name: list(table.columns) for name, table in metadata.tables.items() if name not in _KEYS}
    put: dict[tuple[str, int], Callable[[Row], None]] = {}
    for number, values in pages.rows(source):
        # The number of a row stands for its first column, which is empty.
        if not values or values[0] is not None:
            continue
        row = (number, *values[1:])
        fitting = [name for name, columns in tables.items() if _fits(row, columns)]
        # Rows of before an upgrade are shorter; where several tables would do, the one without a column more.
        table = min(fitting, key=lambda name: len(tables[name]), default=None)
        if table is None or table not in wanted:
            continue
        key = table, len(row)
        if key not in put:
            put[key] = _putter(into, table, [c.name for c in tables[table][: len(row)]])
        put[key](row)


def _fits(row: Row, columns: Sequence[sa.Column[Any]]) -> bool:
    """Whether the values can be a row of a table with these columns, of which the last may have come later."""
    if len(row) > len(columns):
        return False
    if not all(c.nullable or c.server_default is not None for c in columns[len(row) :]):
        return False
    return all(
        c.nullable if value is None else isinstance(value, _STORED.get(c.type.python_type, object))
        for value, c in zip(row, columns, strict=False)
    )


def _make_consistent(into: Any, seen: int) -> None:
    """No row without those it belongs to; jobs whose result is not whole are to be done again."""
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
    for table in ("attempts", "stage_timings", "segments", "outputs"):
        into.execute(f"DELETE FROM {table} WHERE job_id NOT IN (SELECT id FROM jobs)")  # noqa: S608 - as above
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
        "AND json_valid(timings), 0) FROM jobs WHERE state = 'done'"
    ).fetchall()
    own = {job for job, reference, count, sound in done
           if reference is None and sound and job not in broken and texts.get(job, 0) == count}  # fmt: skip
    again = [
        (job,)
        for job, reference, _, sound in done
        if not sound or (job if reference is None else reference) not in own
    ]
    into.executemany("DELETE FROM segments WHERE job_id = ?", again)
    into.executemany("DELETE FROM stage_timings WHERE job_id = ?", again)
    into.executemany(
        "UPDATE jobs SET state = 'queued', attempts = 0, finished_at = NULL, reference_job_id = NULL, not_before = 0, "
        "isolate = 0 WHERE id = ?",
        again,
    )
    # A number that stands in a transcript is never given to another job.
    into.execute("DELETE FROM sqlite_sequence WHERE name = 'jobs'")
    into.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('jobs', ?)", (max(seen, *named),))
