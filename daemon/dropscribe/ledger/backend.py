"""Open, check and repair the database at a location: the one place that names an implementation of the ledger.

Implementations are imported where they are used, because a command that opens no database must not load SQLAlchemy.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

import errno
import importlib.util
import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from dropscribe.errors import ConfigError, LedgerError, StorageError, UsageError
from dropscribe.ledger.columns import Places
from dropscribe.ledger.interface import DatabaseLocation, Ledger, Lock
from dropscribe.ledger.sql.sqlite.file import lock
from dropscribe.ledger.sql.sqlite.file.lock import LockOwner

if TYPE_CHECKING:
    from collections.abc import Collection

    from dropscribe.ledger.sql.dialect import Database
    from dropscribe.ledger.sql.keeping.copying import Copied
    from dropscribe.ledger.sql.sqlite.file.copies import Backup, Restored, Vacuumed
    from dropscribe.ledger.sql.sqlite.file.repair import Repair
    from dropscribe.settings import Settings


def location_of(settings: Settings) -> DatabaseLocation:
    """The database that settings name. Raises ConfigError as `DatabaseLocation.of`."""
    shared = tuple((f.storage, f.path) for f in settings.folders if f.storage)
    return DatabaseLocation.of(settings.database, Places(settings.host, shared))


def open_ledger(
    location: DatabaseLocation, lock: Lock | None = None, *, by_server_clock: bool = True
) -> Ledger:
    """Open for work, creating or upgrading the database. The caller holds `lock`, of `lock_database(location)`.

    `Ledger.verify` then also checks that the lock was not lost. `by_server_clock`: on a server instants are by its clock,
    whatever `now` callers pass; False, for tests: they are what callers pass. Before an upgrade the database is copied to
    `<file>.backup-<old revision>`, one on a server by pg_dump (see `Ledger.backup`). Raises LedgerError for a database of a newer
    version, of another program, or a file that is no database, and if there is no pg_dump where an upgrade needs it.
    """
    from dropscribe.ledger.sql.ledger import SqlLedger

    if location.server:
        return _open_postgresql(location, lock, create=True, by_server_clock=by_server_clock)
    from dropscribe.ledger.sql.sqlite.db import SqliteDatabase
    from dropscribe.ledger.sql.sqlite.file import upgrade

    backup = upgrade.prepare(location.file)
    return SqlLedger(SqliteDatabase(location.file), backup)


def open_read_only(location: DatabaseLocation) -> Ledger:
    """Open for queries only, beside a running daemon or without one.

    Raises UsageError when there is no database, LedgerError when its schema is not this version's.
    """
    from dropscribe.ledger.sql.ledger import SqlLedger
    from dropscribe.ledger.sql.sqlite.db import SqliteDatabase
    from dropscribe.ledger.sql.sqlite.file import upgrade

    if not exists(location):
        raise UsageError(
            "it has no tables of dropscribe" if location.server else "there is no database",
            operation="open database",
            path=location.shown,
            remedy="name the database the daemon uses with --database or --config, or start the daemon first",
        )
    if location.server:
        return _open_postgresql(location)
    _demand_readable(location)
    upgrade.check(location.file)
    return SqlLedger(SqliteDatabase(location.file, read_only=True))


def open_beside(location: DatabaseLocation) -> Ledger:
    """Open for changes that a running daemon does not make itself, such as known voices, without its lock.

    Raises UsageError when there is no database, LedgerError when its schema is not this version's.
    """
    from dropscribe.ledger.sql.ledger import SqlLedger
    from dropscribe.ledger.sql.sqlite.db import SqliteDatabase

    if location.server:
        return open_read_only(location)
    open_read_only(location).close()
    return SqlLedger(SqliteDatabase(location.file))


def _open_postgresql(
    location: DatabaseLocation,
    lock: Lock | None = None,
    *,
    create: bool = False,
    by_server_clock: bool = True,
) -> Ledger:
    _demand_driver()
    from dropscribe.ledger.sql.ledger import SqlLedger
    from dropscribe.ledger.sql.postgresql import schema
    from dropscribe.ledger.sql.postgresql.db import PostgresDatabase

    backup = None
    if create:
        backup = schema.prepare(location.server, location.shown, location.file)
    else:
        schema.check(location.server, location.shown)
    database = PostgresDatabase(
        location.server, location.shown, lock, location.places, by_server_clock=by_server_clock
    )
    return SqlLedger(database, backup)


def _demand_driver() -> None:
    """Raise ConfigError if the driver of PostgreSQL is not installed."""
    if importlib.util.find_spec("psycopg") is None:
        raise ConfigError(
            "the database is on PostgreSQL, whose driver is not installed", operation="open database",
            remedy="pip install 'dropscribe[postgres]'",
        )  # fmt: skip


def exists(location: DatabaseLocation) -> bool:
    """True when there is a database, even an empty one; of PostgreSQL, one with our tables.

    Raises LedgerError or StorageError when that cannot be determined.
    """
    if location.server:
        _demand_driver()
        from dropscribe.ledger.sql.postgresql import schema

        return schema.revision(location.server, location.shown) is not None
    return _size(location) is not None


def is_empty(location: DatabaseLocation) -> bool:
    """True when there is no database yet, or one without any content. Raises LedgerError as `exists`."""
    return not exists(location) if location.server else not _size(location)


def _size(location: DatabaseLocation) -> int | None:
    """Size of the database file, bytes; None if there is none. Raises LedgerError when that cannot be determined."""
    try:
        return location.file.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as e:
        raise _denied(location, e) from e


def _demand_readable(location: DatabaseLocation) -> None:
    """Raise LedgerError if this user may not read the file."""
    if not os.access(location.file, os.R_OK, effective_ids=True):
        raise _denied(location, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def _denied(location: DatabaseLocation, error: OSError) -> LedgerError:
    """The error for a database that this user may not read."""
    remedy = "check its path"
    if isinstance(error, PermissionError):
        remedy = "run the command as the user of the daemon (sudo -u dropscribe), or give this user the right to read it"
    reason = error.strerror or str(error)
    return LedgerError(reason, operation="open database", path=location.file, remedy=remedy)


def lock_database(location: DatabaseLocation, *, alone: bool = False) -> Lock:
    """Lock the database for this process: one daemon a database, or, on a server, one for each name of a host.

    `alone`: refuse a database on which other hosts work.

    Raises AlreadyRunningError naming the process that holds the lock, StorageError when it cannot be taken.
    """
    if location.server:
        _demand_driver()
        from dropscribe.ledger.sql.postgresql.lock import PostgresLock

        places = location.places
        shared = [f"@{name}" for name, _ in places.shared]
        return PostgresLock(location.server, location.shown, places.host, shared, alone=alone)
    return lock.lock_database(location.file)


def was_locked(location: DatabaseLocation) -> bool:
    """True when a daemon has worked on a database of this name, which may have been removed since. Raises LedgerError."""
    if location.server:
        return False
    try:
        return lock.has_lock_file(location.file)
    except OSError as e:
        raise _denied(location, e) from e


def lock_owner(location: DatabaseLocation) -> LockOwner | None:
    """The process that holds the lock, on a server that of this host, by trying it; None when it is free. Raises LedgerError.

    Takes the lock, shared and for an instant; a daemon that starts in that instant finds the database locked.
    """
    if location.server:
        _demand_driver()
        from dropscribe.ledger.sql.postgresql.lock import holder

        found = holder(location.server, location.shown, location.places.host)
        return None if found is None else LockOwner(found.local_pid)
    try:
        return lock.owner(location.file)
    except OSError as e:
        raise _denied(location, e) from e


def lock_holder(location: DatabaseLocation) -> int | None:
    """Process id of the daemon that holds the lock, without trying it; None when it is free or that is unknown."""
    if location.server:
        try:
            owner = lock_owner(location)
        except (ConfigError, LedgerError, StorageError):
            return None
        return None if owner is None else owner.pid
    return lock.holder(location.file)


def check_at_start(location: DatabaseLocation) -> None:
    """Raise UnusableLedgerError when damage is found within the first seconds of a check."""
    if location.server:
        # PostgreSQL checks its pages itself, where the cluster was made with checksums.
        return
    from dropscribe.ledger.sql.sqlite.file import integrity

    integrity.check_at_start(location.file)


def quick_check(location: DatabaseLocation) -> tuple[str, ...]:
    """Check the whole database; returns what is wrong, () when it is sound. Raises StorageError, LedgerError."""
    if location.server:
        open_read_only(location).close()
        return ()
    from dropscribe.ledger.sql.sqlite.file import integrity

    return integrity.quick_check(location.file)


def newer_schema(location: DatabaseLocation) -> str | None:
    """The schema revision of a database written by a newer dropscribe, else None. Raises LedgerError."""
    if location.server:
        _demand_driver()
        from dropscribe.ledger.sql.postgresql import schema

        return schema.newer_schema(location.server, location.shown)
    from dropscribe.ledger.sql.sqlite.file import upgrade

    return upgrade.newer_schema(location.file)


def repair_database(location: DatabaseLocation) -> Repair:
    """Repair the database.

    Raises AlreadyRunningError beside a daemon, StorageError when there is no room or the disk fails, LedgerError when nothing
    can be read; the database is unchanged then.
    """
    _demand_file(location, "repair", "restore it from a dump with pg_restore")
    from dropscribe.ledger.sql.sqlite.file.repair import repair

    with closing(lock_database(location)):
        return repair(location.file)


def back_up(
    location: DatabaseLocation, directory: Path, now: float, keep: int | None, known: Collection[Path] = ()
) -> Backup:
    """Write a checked copy into `directory`, beside a running daemon or without one; see `copies.back_up`."""
    _demand_file(
        location, "back up", "pg_dump --format custom makes a dump of it, also beside a running daemon"
    )
    from dropscribe.ledger.sql.sqlite.file import copies

    return copies.back_up(location.file, directory, now, keep, known)


def restore(location: DatabaseLocation, backup: Path, now: float) -> Restored:
    """Put a backup in the place of the database; see `copies.restore`.

    Raises AlreadyRunningError beside a daemon, LedgerError for a backup that may not be read, too.
    """
    _demand_file(
        location, "restore", "pg_restore restores a dump; 'dropscribe copy-database' copies a SQLite file"
    )
    from dropscribe.ledger.sql.sqlite.file import copies

    with closing(lock_database(location)):
        source = DatabaseLocation(backup)
        if exists(source):
            _demand_readable(source)
        return copies.restore(location.file, backup, now)


def copy_database(source: DatabaseLocation, target: DatabaseLocation) -> Copied:
    """Copy all that is on record into an empty database, verified; see `copying.copy`. Neither has a daemon meanwhile.

    Raises UsageError if there is no source or the target has rows, AlreadyRunningError, LedgerError, StorageError.
    """
    from dropscribe.ledger.sql.keeping import copying

    open_read_only(source).close()
    if source == target:
        raise UsageError(
            "both are one database",
            operation="copy database",
            path=target.shown,
            remedy="name another target",
        )
    with (
        closing(lock_database(source, alone=True)),
        closing(lock_database(target, alone=True)) as lock,
        closing(_database(source, read_only=True)) as read,
    ):
        open_ledger(target, lock).close()
        with closing(_database(target)) as written:
            return copying.copy(read, written, target.shown)


def _database(location: DatabaseLocation, *, read_only: bool = False) -> Database:
    if location.server:
        from dropscribe.ledger.sql.postgresql.db import PostgresDatabase

        return PostgresDatabase(location.server, location.shown)
    from dropscribe.ledger.sql.sqlite.db import SqliteDatabase

    return SqliteDatabase(location.file, read_only=read_only)


def vacuum(location: DatabaseLocation) -> Vacuumed:
    """Write the database anew without the space of removed rows, beside a running daemon or without one."""
    _demand_file(location, "vacuum", "vacuumdb --full does it")
    from dropscribe.ledger.sql.sqlite.file import copies

    return copies.vacuum(location.file)


def _demand_file(location: DatabaseLocation, operation: str, remedy: str) -> None:
    if location.server:
        raise UsageError(
            "it is a PostgreSQL database, for which there are the tools of PostgreSQL", operation=operation,
            path=location.shown, remedy=remedy,
        )  # fmt: skip


def server_version(location: DatabaseLocation) -> str:
    """Version of the PostgreSQL server. Raises LedgerError if it or the database does not suit us, StorageError."""
    _demand_driver()
    from dropscribe.ledger.sql.postgresql import schema

    return schema.demand_server(location.server, location.shown)


def no_dump(location: DatabaseLocation) -> str | None:
    """Why no dump of a PostgreSQL database can be made here before an upgrade; None if it can. Raises StorageError."""
    from dropscribe.ledger.sql.postgresql import schema

    return schema.no_dump(location.server, location.shown)


def library_version() -> str:
    """The database library in use, with its version."""
    from dropscribe.ledger.sql.sqlite.db import sqlite_version

    return f"SQLite {sqlite_version()}"


def library_warning() -> str | None:
    """A fault of the database library in use that matters here, else None."""
    from dropscribe.ledger.sql.sqlite.db import wal_bug_warning

    return wal_bug_warning()


def repair_remedy() -> str:
    """What to do about a damaged database."""
    from dropscribe.ledger.sql.sqlite.faults import REPAIR

    return REPAIR
