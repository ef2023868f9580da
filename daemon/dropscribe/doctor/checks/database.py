"""Check the database: SQLite version, location, integrity, and the daemon that uses it."""

from __future__ import annotations

from dropscribe.doctor.checks.folders import writing_problem
from dropscribe.doctor.checks.record import Check, fail, from_error, ok, warning
from dropscribe.errors import DropscribeError
from dropscribe.intake.filesystem import filesystem_of
from dropscribe.ledger import backend
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.service.storage.disk_space import nearest_existing

NAME = "database"


def look_sqlite() -> Check:
    """Check that the SQLite in use does not have the WAL bug."""
    problem = backend.library_warning()
    if problem is None:
        return ok("sqlite", backend.library_version())
    return warning("sqlite", problem, "pip install pysqlite3, or update SQLite to 3.51.3 or newer")


def look_database(location: DatabaseLocation) -> Check:
    """Check that the database can be created or is intact, and that its location is suitable."""
    if location.server:
        return _look_server(location)
    parent = nearest_existing(location.directory)
    where = filesystem_of(parent)
    if where.network:
        return fail(
            NAME,
            f"{location} is on {where.type}: locks over a network do not protect a database",
            "put it on a local disk (setting: database)",
        )
    problem = writing_problem(parent)
    if problem is not None:
        remedy = "make it writable for the user of the daemon, or move the database"
        return fail(NAME, f"{parent}: {problem}", remedy)
    try:
        if not backend.exists(location):
            return ok(NAME, f"{location} is made at the first start")
        findings = backend.quick_check(location)
        newer = backend.newer_schema(location)
    except DropscribeError as e:
        return from_error(NAME, e)
    if findings:
        return fail(NAME, f"{location} is damaged: {findings[0]}", backend.repair_remedy())
    if newer is not None:
        text = f"{location} was written by a newer dropscribe (schema {newer})"
        return fail(NAME, text, "install that version, or restore the backup beside it")
    return ok(NAME, f"{location} is sound")


def _look_server(location: DatabaseLocation) -> Check:
    """Check that the server answers, suits us, and has tables that this version knows."""
    try:
        version = backend.server_version(location)
        if not backend.exists(location):
            return ok(NAME, f"{location} (PostgreSQL {version}): its tables are made at the first start")
        newer = backend.newer_schema(location)
        if newer is None:
            backend.quick_check(location)
        no_dump = backend.no_dump(location)
    except DropscribeError as e:
        return from_error(NAME, e)
    if newer is not None:
        text = f"{location} was written by a newer dropscribe (schema {newer})"
        return fail(NAME, text, "install that version, or restore a dump")
    text = f"{location} (PostgreSQL {version}) has all its tables"
    return ok(NAME, text if no_dump is None else f"{text}; no dump can be made before an upgrade: {no_dump}")


def check_daemon(pid: int | None) -> Check:
    """Whether a daemon works on the database now (`backend.lock_holder`). Neither answer is a fault."""
    return ok("daemon", "none is running on this database" if pid is None else f"running as process {pid}")
