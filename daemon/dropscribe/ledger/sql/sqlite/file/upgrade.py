"""Create a database with the current schema, upgrade an older one after a backup, or refuse it."""

from __future__ import annotations

import os
import re
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from dropscribe.errors import LedgerError, StorageError
from dropscribe.ledger.sql import migrations
from dropscribe.ledger.sql.schema import HEAD, metadata
from dropscribe.ledger.sql.sqlite.db import READING, connect, driver, translated
from dropscribe.ledger.sql.sqlite.ddl import STATEMENTS
from dropscribe.ledger.sql.sqlite.faults import damaged

if TYPE_CHECKING:
    from alembic.config import Config

#: The name in a statement of `STATEMENTS`.
_CREATED = re.compile(r"CREATE (?:VIRTUAL TABLE|TRIGGER|VIEW) (\w+)")


def prepare(path: Path) -> Path | None:
    """Create or upgrade the database at `path`; returns the backup made before an upgrade, else None.

    The caller holds the lock on the database. Raises LedgerError when it is another program's, damaged, or from a newer
    version, StorageError when it cannot be written.
    """
    if not path.parent.is_dir():
        raise StorageError(
            f"the folder {path.parent} does not exist",
            operation="open database",
            path=path,
            remedy="make that folder, on a local disk",
        )
    _refuse_orphaned_log(path)
    found = revision(path)
    if found == HEAD:
        check_schema(path)
        return None
    if found is None:
        _create(path)
        return None
    config = _alembic(path, found)
    backup = back_up(path, found)
    _run(path, config)
    return backup


def check(path: Path) -> None:
    """Raise LedgerError unless the database at `path` has the current schema. Changes nothing."""
    found = revision(path)
    if found == HEAD:
        return
    if found is not None:
        _alembic(path, found)
    raise LedgerError(
        "its schema is of an older version" if found else "it is empty",
        operation="open database",
        path=path,
        remedy="start the daemon once: it brings the database up to date",
    )


def revision(path: Path) -> str | None:
    """The schema revision of the database at `path`; None when it has none yet (no file, or no tables).

    Raises LedgerError for a file that is no database, or one with tables of another program.
    """
    if not path.exists():
        return None
    engine = connect(path, read_only=True).execution_options(**{READING: True})
    try:
        with translated(path, "open database"), engine.connect() as connection:
            tables = set(connection.scalars(sa.text("SELECT name FROM sqlite_master WHERE type = 'table'")))
            if "alembic_version" in tables:
                found = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
                if found is None:
                    raise damaged("it is damaged (its table alembic_version is empty)", path, "open database")
                return str(found)
    finally:
        engine.dispose()
    if tables:
        raise LedgerError(
            "it holds tables of another program",
            operation="open database",
            path=path,
            remedy="name another database file",
        )
    return None


def newer_schema(path: Path) -> str | None:
    """The revision of a database written by a newer dropscribe, which this one refuses; else None.

    Raises LedgerError for a file that is no database or that of another program.
    """
    found = revision(path)
    return found if found is not None and found > HEAD else None


def check_schema(path: Path) -> None:
    """Raise UnusableLedgerError when a table, index, trigger or view of the schema is missing."""
    expected = {
        name for table in metadata.tables.values() for name in (table.name, *(i.name for i in table.indexes))
    }
    expected |= {match[1] for statement in STATEMENTS if (match := _CREATED.search(statement))}
    engine = connect(path, read_only=True).execution_options(**{READING: True})
    try:
        with translated(path, "open database"), engine.connect() as connection:
            there = set(connection.scalars(sa.text("SELECT name FROM sqlite_master")))
    finally:
        engine.dispose()
    missing = sorted(str(name) for name in expected - there)
    if missing:
        raise damaged(f"it is damaged (there is no {missing[0]} in it)", path, "open database")


def _refuse_orphaned_log(path: Path) -> None:
    """Raise UnusableLedgerError when there is a log without its database: SQLite would remove the log."""
    log = Path(f"{os.path.realpath(path)}-wal")
    try:
        empty = not path.exists() or path.stat().st_size == 0
        orphaned = empty and log.stat().st_size > 0
    except OSError:
        return
    if orphaned:
        raise damaged(
            f"it is missing or empty, but its log {log.name} is there", path, "open database",
            f"put the database back; or, to begin a new one, move {log} away ('dropscribe adopt DIR' then takes what was "
            "done from the transcripts)",
        )  # fmt: skip


def back_up(path: Path, found: str) -> Path:
    """Copy the database with the content of its log to `<path>.backup-<revision>`, whole or not at all."""
    target = path.with_name(f"{path.name}.backup-{found}")
    copy_database(path, target, "back up database before its upgrade")
    return target


def copy_database(path: Path, target: Path, operation: str) -> None:
    """Copy the database with the content of its log to `target`, whole or not at all. Raises StorageError."""
    unfinished = target.with_name(target.name + ".tmp")
    module = driver()
    try:
        unfinished.unlink(missing_ok=True)
        # SQLite would follow a link that somebody puts there meanwhile. Nobody may read a copy who cannot read the original.
        mode = stat.S_IMODE(path.stat().st_mode) & 0o666
        os.close(
            os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        )
        with closing(module.connect(os.fspath(path))) as source, closing(module.connect(unfinished)) as copy:
            source.backup(copy)
            # The copy is in WAL mode, which needs files beside it; a backup is one file.
            copy.execute("PRAGMA journal_mode = DELETE")
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(target)
    except (OSError, module.Error) as e:
        unfinished.unlink(missing_ok=True)
        raise StorageError(
            str(e),
            operation=operation,
            path=target,
            remedy="free space for a copy of the database beside it",
        ) from e


def _create(path: Path) -> None:
    """Make all tables in one transaction: without Alembic, whose import and revisions take half a second."""
    engine = connect(path, foreign_keys=False)
    try:
        with translated(path, "create database"), engine.begin() as connection:
            metadata.create_all(connection)
            migrations.REVISION.create(connection)
            connection.execute(migrations.REVISION.insert().values(version_num=HEAD))
    finally:
        engine.dispose()


def _alembic(path: Path, found: str) -> Config:
    """The configuration of Alembic. Raises LedgerError unless `found` is one of our revisions."""
    backups = sorted(path.parent.glob(f"{path.name}.backup-*"), key=lambda p: p.stat().st_mtime)
    # The log left by a killed daemon would be applied to the restored database.
    restore = (
        f", or go back: remove {path}-wal and {path}-shm, and put {backups[-1]} in the place of {path}"
        if backups
        else ""
    )
    return migrations.known(found, path, restore)


def _run(path: Path, config: Config) -> None:
    """Run all missing revisions in one transaction: a failure leaves the database as it was."""
    engine = connect(path, foreign_keys=False)
    try:
        with translated(path, "upgrade database"), engine.begin() as connection:
            # Batch mode replaces tables; meanwhile the view refers to one that does not exist.
            connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
            migrations.run(config, connection)
            broken = connection.execute(sa.text("PRAGMA foreign_key_check")).fetchall()
            if broken:
                raise LedgerError(
                    f"the upgrade would leave {len(broken)} rows without their parents",
                    operation="upgrade database",
                    path=path,
                    remedy="report this; the database is unchanged",
                )
    finally:
        engine.dispose()
