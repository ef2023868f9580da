"""Create the tables in a PostgreSQL database, upgrade older ones, or refuse the database."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dropscribe.errors import LedgerError, UnusableLedgerError
from dropscribe.ledger.sql.migrations import REVISION, known, run
from dropscribe.ledger.sql.postgresql.connections import connect
from dropscribe.ledger.sql.postgresql.db import translated
from dropscribe.ledger.sql.postgresql.ddl import STATEMENTS  # noqa: F401 - adds them to the tables
from dropscribe.ledger.sql.postgresql.dump import dump, obstacle
from dropscribe.ledger.sql.postgresql.faults import RESTORE
from dropscribe.ledger.sql.postgresql.lock import WRITING, holders
from dropscribe.ledger.sql.schema import HEAD, metadata

#: First version whose owner of a database may create pg_trgm.
_OLDEST = 130_000
_FOUND = sa.text("SELECT to_regclass('alembic_version') IS NOT NULL, to_regclass('jobs') IS NOT NULL")
_VERSION = sa.text("SELECT version_num FROM alembic_version")
_SERVER = sa.text(
    "SELECT CAST(current_setting('server_version_num') AS integer), current_setting('server_encoding'), "
    "current_setting('server_version')"
)
_EXTENSION = "CREATE EXTENSION IF NOT EXISTS pg_trgm"
#: The same without the extension, which is not there yet.
_LETTERS = sa.text("SELECT '会议' ~ '^[[:alpha:]]+$'")
_NO_LETTERS = "its locale does not know Chinese letters, so that no search could find them"
# Under a locale without Chinese letters there are none in a text, and nothing would ever be found.
_TRIGRAMS = sa.text("SELECT cardinality(show_trgm('会议记录'))")
_TABLES = sa.text("SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()")


def prepare(url: str, shown: Path, file: Path) -> Path | None:
    """Create or upgrade the tables, in one transaction. The caller holds the lock on the database.

    Before an upgrade the database is dumped to `<file>.backup-<old revision>`, which is returned.

    Raises LedgerError when it is another program's, from a newer version, its locale cannot be searched, or no dump can be
    made; StorageError when it cannot be written.
    """
    engine = connect(url)
    try:
        with translated(shown, "open database"), engine.begin() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITING})")
            _demand_server(connection, shown)
            found = _revision(connection, shown)
            if found is None:
                _create(connection, shown)
            elif found != HEAD:
                if len(others := holders(url, shown)) > 1:
                    raise LedgerError(
                        f"{others[-1]} works on it, too, and its tables are of an older version",
                        operation="open database", path=shown,
                        remedy="stop the daemons of all hosts, upgrade each, and start them again",
                    )  # fmt: skip
                migrations = known(found, shown)
                backup = dump(url, shown, file.with_name(f"{file.name}.backup-{found}"), _major(connection))
                run(migrations, connection)
                return backup
            else:
                _demand_tables(connection, shown)
    finally:
        engine.dispose()
    return None


def check(url: str, shown: Path) -> None:
    """Raise LedgerError unless the database has the current schema. Changes nothing."""
    found = revision(url, shown)
    if found == HEAD:
        return
    if found is not None:
        known(found, shown)
    raise LedgerError(
        "its schema is of an older version" if found else "it has no tables yet",
        operation="open database",
        path=shown,
        remedy="start the daemon once: it brings the database up to date",
    )


def revision(url: str, shown: Path) -> str | None:
    """The schema revision of a database; None when it has no tables yet. Raises LedgerError for one of another program."""
    engine = connect(url)
    try:
        with translated(shown, "open database"), engine.connect() as connection:
            return _revision(connection, shown)
    finally:
        engine.dispose()


def newer_schema(url: str, shown: Path) -> str | None:
    """The revision of a database written by a newer dropscribe, which this one refuses; else None."""
    found = revision(url, shown)
    return found if found is not None and found > HEAD else None


def _revision(connection: Connection, shown: Path) -> str | None:
    ours, theirs = connection.execute(_FOUND).one()
    if ours:
        found = connection.scalar(_VERSION)
        if found is None:
            raise _damaged("its table alembic_version is empty", shown)
        return str(found)
    if theirs:
        raise LedgerError(
            "it holds tables of another program",
            operation="open database",
            path=shown,
            remedy="name another database",
        )
    return None


def demand_server(url: str, shown: Path) -> str:
    """Version of the server. Raises LedgerError for a server or a database that lacks what we need, StorageError."""
    engine = connect(url)
    try:
        with translated(shown, "open database"), engine.connect() as connection:
            return _demand_server(connection, shown)
    finally:
        engine.dispose()


def no_dump(url: str, shown: Path) -> str | None:
    """Why no dump can be made here before an upgrade; None if it can. Raises StorageError."""
    engine = connect(url)
    try:
        with translated(shown, "open database"), engine.connect() as connection:
            return obstacle(_major(connection))
    finally:
        engine.dispose()


def _major(connection: Connection) -> int:
    """The first number of the server's version."""
    return int(connection.execute(_SERVER).one()[0]) // 10_000


def _demand_server(connection: Connection, shown: Path) -> str:
    version, encoding, name = connection.execute(_SERVER).one()
    if version < _OLDEST:
        raise _refused(f"PostgreSQL {name} is too old", shown, "install version 13 or newer")
    if encoding != "UTF8":
        raise _refused(f"its encoding is {encoding}", shown, _RECREATE)
    if not connection.scalar(_LETTERS):
        raise _refused(_NO_LETTERS, shown, _RECREATE)
    return str(name)


_RECREATE = "make the database again: createdb --encoding UTF8 --locale C.UTF-8 --template template0 NAME"


def _create(connection: Connection, shown: Path) -> None:
    connection.exec_driver_sql(_EXTENSION)
    if not connection.scalar(_TRIGRAMS):
        raise _refused(_NO_LETTERS, shown, _RECREATE)
    metadata.create_all(connection)
    REVISION.create(connection)
    connection.execute(REVISION.insert().values(version_num=HEAD))


def _demand_tables(connection: Connection, shown: Path) -> None:
    missing = sorted(set(metadata.tables) - set(connection.scalars(_TABLES)))
    if missing:
        raise _damaged(f"there is no {missing[0]} in it", shown)


def _refused(reason: str, shown: Path, remedy: str) -> LedgerError:
    return LedgerError(reason, operation="open database", path=shown, remedy=remedy)


def _damaged(reason: str, shown: Path) -> UnusableLedgerError:
    return UnusableLedgerError(
        f"it is damaged ({reason})", operation="open database", path=shown, remedy=RESTORE
    )
