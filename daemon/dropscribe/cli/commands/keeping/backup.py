"""`dropscribe backup`: copy the database while the daemon runs."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dropscribe.cli.arguments import options

if TYPE_CHECKING:
    from dropscribe.ledger.interface import DatabaseLocation
    from dropscribe.ledger.sql.sqlite.file.copies import Backup

SCHEMA = "dropscribe/backup/1"


def command(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", readable=False, help="Folder of the backups; it must exist.")
    ],
    keep: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="NUMBER",
            help="Keep so many backups there, the new one included, and remove older ones that the database notes.",
        ),
    ] = None,
    config: options.Config = None,
    database: options.Database = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Copy the database, also while the daemon runs.

    The copy is one file with the moment (UTC) in its name, jobs-20260301T080000Z.db. It is consistent, checked before it gets its
    name, and without remains of removed text; the database notes where it is. Recordings and transcripts are not in it.

    JSON, dropscribe/backup/1: database, backup, bytes, jobs, removed [path].
    """
    from dropscribe.cli.arguments.settings import database_location
    from dropscribe.cli.output import print_json, say
    from dropscribe.escapes import readable
    from dropscribe.ledger import backend

    location = database_location(config, database)
    with closing(backend.open_read_only(location)) as ledger:
        known = {path for path, _ in ledger.keeping.backups()}
    now = time.time()
    made = backend.back_up(location, directory, now, keep, known)
    noted = _note(location, made, now)
    if as_json:
        print_json({
            "schema": SCHEMA, "database": str(location), "backup": readable(made.path), "bytes": made.size,
            "jobs": made.jobs, "removed": [readable(p) for p in made.removed],
        })  # fmt: skip
        return
    say(f"{readable(made.path)}: {made.jobs:,} jobs, {made.size / 1e6:,.1f} MB")
    for path in made.removed:
        say(f"removed {readable(path)}")
    if not noted:
        say(
            "the database does not note it, since this user may not write to it: 'dropscribe purge' will not name it"
        )


def _note(location: DatabaseLocation, made: Backup, now: float) -> bool:
    """Note in the database where the backup is; False if this user may not write to it."""
    from dropscribe.errors import StorageError
    from dropscribe.ledger import backend

    try:
        with closing(backend.open_beside(location)) as ledger:
            ledger.keeping.record_backup(made.path.absolute(), now)
            ledger.keeping.forget_backups([p.absolute() for p in made.removed])
    except StorageError:
        return False
    return True
