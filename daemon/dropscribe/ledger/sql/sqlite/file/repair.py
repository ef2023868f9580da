"""Repair a damaged database: rebuild its search index, or read what can be read into a new file.

The damaged database is kept.
"""

from __future__ import annotations

import collections
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from dropscribe.errors import LedgerError, StorageError, UnusableLedgerError
from dropscribe.ledger.sql.search import schema as search_schema
from dropscribe.ledger.sql.sqlite.db import SqliteDatabase, connect, driver, findings, translated
from dropscribe.ledger.sql.sqlite.faults import damaged
from dropscribe.ledger.sql.sqlite.file import salvage
from dropscribe.ledger.sql.sqlite.file.database_file import LOG_ENDINGS
from dropscribe.ledger.sql.sqlite.file.upgrade import check_schema, copy_database, prepare, revision

_INVALID = (
    "SELECT (SELECT count(*) FROM jobs WHERE state = 'done' AND purged_at IS NULL AND NOT coalesce(json_valid(media) AND json_valid(engine) "
    "AND json_valid(timings), 0)) + (SELECT count(*) FROM segments WHERE NOT json_valid(tokens))"
)


@dataclass(frozen=True, slots=True)
class Repair:
    """The result of a repair. `how`: "sound" (nothing to do), "search" (search index rebuilt) or "recovered"."""

    how: str
    findings: tuple[str, ...]
    #: The database as it was before.
    kept: Path | None = None
    #: Number of rows in each table now.
    rows: tuple[tuple[str, int], ...] = ()
    #: Unfinished jobs, among them those whose result was not whole.
    queued: int = 0


def repair(path: Path) -> Repair:
    """Repair the database at `path`. The caller holds its lock.

    Raises StorageError when there is no room or the disk fails, LedgerError when nothing can be read; the database is
    unchanged then.
    """
    found, search_only = diagnose(path)
    if not found:
        return Repair("sound", ())
    mark = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    if search_only:
        kept = path.with_name(f"{path.name}.before-repair-{mark}")
        copy_database(path, kept, "copy database before its repair")
        if _rebuild_search(path) and not diagnose(path)[0]:
            return Repair("search", found, kept, *_count(path))
    kept = _replace_by_salvage(path, mark)
    return Repair("recovered", found, kept, *_count(path))


def diagnose(path: Path) -> tuple[tuple[str, ...], bool]:
    """Read the whole database; returns what is wrong, and whether only its search index is. Raises StorageError."""
    database = SqliteDatabase(path, read_only=True)
    try:
        if revision(path) is None:
            raise damaged("there is no table in it", path, "check database")
        check_schema(path)
        with database.read("check database") as connection:
            invalid = connection.exec_driver_sql(_INVALID).scalar_one()
            if invalid:
                return (f"{invalid} results cannot be read",), False
            for table in salvage.TABLES:
                # Text columns that are not UTF-8 are found by reading them.
                collections.deque(connection.exec_driver_sql(f"SELECT * FROM {table}"), maxlen=0)  # noqa: S608 - our names
        with database.read("check database") as connection:
            found = findings(connection, "integrity_check")
    except UnusableLedgerError as e:
        return (e.reason,), _is_of_search(e.reason)
    finally:
        database.close()
    return found, bool(found) and all(map(_is_of_search, found))


def _is_of_search(finding: str) -> bool:
    return any(word in finding.lower() for word in ("fts5", "segment_search", "search index"))


def _rebuild_search(path: Path) -> bool:
    """Create the search index again from the texts; False when the old one cannot be removed."""
    engine = connect(path)
    try:
        with engine.begin() as connection:
            for statement in (
                "DROP TABLE segment_terms",
                "DROP TABLE segment_search",
                search_schema.SEARCH,
                search_schema.TERMS,
            ):
                connection.exec_driver_sql(statement)
            connection.exec_driver_sql(search_schema.FILL_SEARCH)
    except sa.exc.DBAPIError:
        return False
    finally:
        engine.dispose()
    return True


def _replace_by_salvage(path: Path, mark: str) -> Path:
    real = Path(os.path.realpath(path))
    fresh, working = (real.with_name(f"{real.name}.{what}.tmp") for what in ("repaired", "working"))
    kept = real.with_name(f"{real.name}.damaged-{mark}")
    with _os_errors_translated(real):
        for old in (fresh, working):
            _remove(old)
        try:
            prepare(fresh)
            _checkpoint(fresh)
            _copy_bytes(real, working)
            with translated(fresh, "repair database"):
                salvage.salvage(working, fresh)
            if not any(n for _, n in _count(fresh)[0]):
                raise LedgerError(
                    "nothing can be read of it", operation="repair database", path=path,
                    remedy="restore a backup, or move it away and run 'dropscribe adopt DIR'",
                )  # fmt: skip
            _checkpoint(fresh)
            _put_in_place(real, fresh, kept)
        finally:
            for old in (fresh, working):
                _remove(old)
    return kept


def _put_in_place(real: Path, fresh: Path, kept: Path) -> None:
    """Give the old file and its log new names before the new file gets theirs, so that a kill in between loses neither."""
    os.link(real, kept)
    for ending in LOG_ENDINGS:
        beside = real.with_name(real.name + ending)
        if ending == LOG_ENDINGS[0] and beside.exists() and beside.stat().st_size:
            beside.rename(kept.with_name(kept.name + ending))
        # An empty log has no content, and SQLite creates the index of a log again.
        beside.unlink(missing_ok=True)
    fresh.replace(real)
    descriptor = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy_bytes(real: Path, working: Path) -> None:
    """Copy the database and its log byte by byte, because reading the original by SQLite may change it."""
    for ending in ("", LOG_ENDINGS[0]):
        beside = real.with_name(real.name + ending)
        if beside.exists():
            shutil.copyfile(beside, working.with_name(working.name + ending))


def _checkpoint(path: Path) -> None:
    """Move the log into the database file and sync it to the disk."""
    with closing(driver().connect(os.fspath(path))) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _count(path: Path) -> tuple[tuple[tuple[str, int], ...], int]:
    database = SqliteDatabase(path, read_only=True)
    try:
        with database.read("count rows") as connection:
            rows = tuple(
                (table, int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()))  # noqa: S608 - our names
                for table in salvage.TABLES
            )
            queued = connection.exec_driver_sql(
                "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')"
            )
            return rows, int(queued.scalar_one())
    finally:
        database.close()


def _remove(path: Path) -> None:
    for ending in ("", *LOG_ENDINGS, "-journal"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


@contextmanager
def _os_errors_translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, driver().OperationalError) as e:
        raise StorageError(
            str(e), operation="repair database", path=path,
            remedy="free space for two copies of the database beside it; it is as it was",
        ) from e  # fmt: skip
