"""Read what can be read of a damaged database, row by row, into a new one, and make that consistent."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from daemon.ledger.db import driver
from daemon.ledger.schema import metadata

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
#: Of every database of ours.
_PAGE_BYTES = 4096
#: Where the command puts rows of tables that the schema does not name any more.
_LOST = "lost_and_found"

Row = tuple[Any, ...]


def salvage(source: Path, target: Path, scratch: Path) -> None:
    """Fill `target`, a new database of today's schema, with what can be read of `source`, a copy that may be changed.

    `scratch`: where the sqlite3 command may put what it recovers, if it is there.
    """
    _make_readable(source, target)
    with closing(driver().connect(os.fspath(target), isolation_level=None)) as into:
        into.execute("BEGIN")
        seen = _copy_all(source, into)
        if _recover_by_command(source, scratch):
            seen = max(seen, _copy_all(scratch, into))
            with closing(_opened(scratch)) as recovered:
                _copy_lost(recovered, into)
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
                page = model.read(_PAGE_BYTES)
            file.seek(0)
            file.write(page)
        pages = os.fstat(file.fileno()).st_size // _PAGE_BYTES
        file.seek(28)
        file.write(pages.to_bytes(4, "big"))


def _copy_all(source: Path, into: Any) -> int:
    """Copy every table; the highest job number that is named anywhere."""
    with closing(_opened(source)) as connection:
        for table in TABLES:
            _copy(connection, into, table)
        try:
            found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").fetchone()
        except driver().Error:
            return 0
        return int(found[0]) if found is not None else 0


def _opened(path: Path) -> Any:
    return driver().connect(f"file:{quote(os.fsencode(path.absolute()))}?mode=rw", uri=True)


def _copy(source: Any, into: Any, table: str) -> None:
    key = _KEYS.get(table, "id")
    try:
        there = {row[1] for row in source.execute(f"PRAGMA table_info({table})")}
    except driver().Error:
        return
    columns = [c.name for c in metadata.tables[table].columns if c.name in there]
    if key not in columns:
        return
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
        return
    ended, _ = run(lowest, highest, "DESC")
    if ended is None:
        return
    left = [(begun + 1 if begun is not None else 0, ended - 1)]
    for _ in range(_MOST_TRIES):
        if not left:
            return
        first, last = left.pop()
        if first > last or run(first, last)[1] or first == last:
            continue
        middle = (first + last) // 2
        left += [(first, middle), (middle + 1, last)]


def _putter(into: Any, table: str, columns: list[str]) -> Callable[[Row], None]:
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - as above

    def put(row: Row) -> None:
        into.execute(statement, row)

    return put


def _recover_by_command(source: Path, scratch: Path) -> bool:
    """Have the sqlite3 command, where it is, write what it recovers into `scratch`; it reads pages that no tree leads to."""
    command = shutil.which("sqlite3")
    if command is None:
        return False
    base = [command, "-batch", "-init", os.devnull]
    with ExitStack() as stack:
        reader = stack.enter_context(
            subprocess.Popen(
                [*base, os.fspath(source), ".recover"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        )
        subprocess.run(
            [*base, os.fspath(scratch)], stdin=reader.stdout, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip
        assert reader.stdout is not None
        reader.stdout.close()
    return scratch.exists() and scratch.stat().st_size > 0


def _copy_lost(recovered: Any, into: Any) -> None:
    """Rows of tables whose entry in the schema is lost: told by how many columns they have."""
    tables = [t for t in TABLES if t not in _KEYS]
    by_width = {len(metadata.tables[t].columns): t for t in tables}
    for width, table in by_width.items():
        columns = [c.name for c in metadata.tables[table].columns]
        fields = ", ".join(f"c{i}" for i in range(1, width))
        put = _putter(into, table, columns)
        # The first column is the row's number, which the record itself does not hold.
        statement = f"SELECT id, {fields} FROM {_LOST} WHERE nfield = ? AND id IS NOT NULL"  # noqa: S608 - as above
        try:
            rows = recovered.execute(statement, (width,)).fetchall()
        except driver().Error:
            continue
        for row in rows:
            put(row)


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
