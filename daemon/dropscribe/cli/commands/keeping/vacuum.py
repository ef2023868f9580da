"""`dropscribe vacuum`: give the space of removed rows back to the disk."""

from __future__ import annotations

from typing import Annotated

import typer

from dropscribe.cli.arguments import options

SCHEMA = "dropscribe/vacuum/1"


def command(
    config: options.Config = None,
    database: options.Database = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Give the space of removed text back to the disk.

    Writes the database anew, some 3 s a gigabyte, and needs free space for two further copies of it. A running daemon waits
    meanwhile and goes on by itself; recordings in progress are not lost.

    JSON, dropscribe/vacuum/1: database, before, after (bytes), seconds.
    """
    from dropscribe.cli.arguments.settings import database_location
    from dropscribe.cli.output import print_json, say
    from dropscribe.ledger import backend

    location = database_location(config, database)
    backend.open_read_only(location).close()
    done = backend.vacuum(location)
    if as_json:
        print_json({
            "schema": SCHEMA, "database": str(location), "before": done.before, "after": done.after,
            "seconds": round(done.seconds, 3),
        })  # fmt: skip
        return
    say(
        f"{location}: {done.before / 1e6:,.1f} MB before, {done.after / 1e6:,.1f} MB now, {done.seconds:.1f} s"
    )
