"""`dropscribe restore`: put a backup in the place of the database."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from dropscribe.cli.arguments import options

SCHEMA = "dropscribe/restore/1"


def command(
    backup: Annotated[Path, typer.Argument(metavar="FILE", readable=False, help="The backup.")],
    config: options.Config = None,
    database: options.Database = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Put a backup in the place of the database.

    Stop the daemon first. The backup is checked and copied; the database that was there is kept beside it. What was done since the
    backup is not in it: 'dropscribe adopt DIR' takes that from the transcripts.

    JSON, dropscribe/restore/1: database, backup, jobs, newest (when its newest job was admitted), kept.
    """
    from dropscribe.cli.arguments.settings import database_location
    from dropscribe.cli.output import local, print_json, say
    from dropscribe.escapes import readable
    from dropscribe.ledger import backend
    from dropscribe.transcript.instants import iso

    location = database_location(config, database)
    restored = backend.restore(location, backup, time.time())
    if as_json:
        print_json({
            "schema": SCHEMA, "database": str(location), "backup": readable(backup), "jobs": restored.jobs,
            "newest": None if restored.newest is None else iso(restored.newest),
            "kept": None if restored.kept is None else readable(restored.kept),
        })  # fmt: skip
        return
    say(f"{location}: {restored.jobs:,} jobs, the newest of {local(restored.newest)}")
    if restored.kept is not None:
        say(f"the database as it was is {readable(restored.kept)}")
    say("before the daemon starts, 'dropscribe adopt DIR' takes what was done since from the transcripts")
