"""`dropscribe copy-database`: all that is on record, into a database of another kind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SCHEMA = "dropscribe/copy-database/1"


def command(
    source: Annotated[
        Path, typer.Argument(metavar="FROM", readable=False, help="A file, or postgresql://USER@HOST/NAME.")
    ],
    target: Annotated[
        Path,
        typer.Argument(metavar="TO", readable=False, help="Likewise; it is empty or does not exist yet."),
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Copy the history between SQLite and PostgreSQL.

    No daemon may be running on either. All numbers stay: those of jobs, versions and notifications. Every row is read again and
    compared before the copy counts; a kill or an error leaves the target empty. The source is not changed. Afterwards name the
    target in the setting `database` and start the daemon.

    JSON, dropscribe/copy-database/1: from, to, rows {table: count}, sha256 (of the rows of both).
    """
    from dropscribe.cli.output import print_json, say
    from dropscribe.ledger import backend
    from dropscribe.ledger.interface import DatabaseLocation

    here, there = DatabaseLocation.of(source.absolute()), DatabaseLocation.of(target.absolute())
    done = backend.copy_database(here, there)
    if as_json:
        print_json({
            "schema": SCHEMA, "from": here.name, "to": there.name, "rows": done.rows, "sha256": done.sha256,
        })  # fmt: skip
        return
    for table, rows in done.rows.items():
        if rows:
            say(f"{table}: {rows:,} rows")
    say(f"{there.name} has all that {here.name} has (SHA-256 of the rows: {done.sha256[:16]}…)")
