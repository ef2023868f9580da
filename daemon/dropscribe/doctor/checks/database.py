"""The database: the SQLite it is kept by, whether it is sound, and who works on it."""

from __future__ import annotations

from pathlib import Path

from dropscribe.doctor.checks.folders import writing_problem
from dropscribe.doctor.checks.record import Check, fail, from_error, ok, warning
from dropscribe.errors import DropscribeError
from dropscribe.intake.filesystem import filesystem_of
from dropscribe.ledger.sqlite.db import sqlite_version, wal_bug_warning
from dropscribe.ledger.sqlite.faults import REPAIR
from dropscribe.ledger.sqlite.file import integrity

NAME = "database"


def look_sqlite() -> Check:
    """Whether the SQLite in use has a bug that matters here."""
    problem = wal_bug_warning()
    if problem is None:
        return ok("sqlite", f"SQLite {sqlite_version()}")
    return warning("sqlite", problem, "pip install pysqlite3, or update SQLite to 3.51.3 or newer")


def look_database(path: Path) -> Check:
    """Whether the database is, or can be made, where it should be, and is sound."""
    parent = next((p for p in path.parents if p.exists()), Path("/"))
    where = filesystem_of(parent)
    if where.network:
        return fail(
            NAME,
            f"{path} is on {where.type}: locks over a network do not protect a database",
            "put it on a local disk (setting: database)",
        )
    problem = writing_problem(parent)
    if problem is not None:
        remedy = "make it writable for the user of the daemon, or move the database"
        return fail(NAME, f"{parent}: {problem}", remedy)
    if not path.exists():
        return ok(NAME, f"{path} is made at the first start")
    try:
        findings = integrity.quick_check(path)
        newer = integrity.newer_schema(path)
    except DropscribeError as e:
        return from_error(NAME, e)
    if findings:
        return fail(NAME, f"{path} is damaged: {findings[0]}", REPAIR)
    if newer is not None:
        text = f"{path} was written by a newer dropscribe (schema {newer})"
        return fail(NAME, text, "install that version, or restore the backup beside it")
    return ok(NAME, f"{path} is sound")


def check_daemon(pid: int | None) -> Check:
    """Whether a daemon works on the database now (`integrity.holder`). Neither answer is a fault."""
    return ok("daemon", "none is running on this database" if pid is None else f"running as process {pid}")
