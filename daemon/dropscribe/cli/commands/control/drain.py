"""`dropscribe drain`: let the daemon finish what is in progress and end."""

from __future__ import annotations

from typing import Annotated

import typer

from dropscribe.cli.arguments import options
from dropscribe.cli.arguments.given import Given
from dropscribe.cli.commands.control.asking import answer_of, print_folder


def command(
    config: options.Config = None,
    database: options.Database = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print dropscribe/control/1 as JSON.")] = False,
) -> None:
    """Let the daemon finish what is in progress, and end.

    It waits for that however long it takes. The rest of the queue waits for the next start. Under systemd the service stays stopped. 'dropscribe resume' takes it back.

    JSON, dropscribe/control/1, as of pause.
    """
    from dropscribe.cli.arguments.settings import database_location
    from dropscribe.errors import UsageError
    from dropscribe.ledger.backend import lock_owner
    from dropscribe.ledger.control import Verb
    from dropscribe.service.control.requests import Request

    location = database_location(config, database)
    if lock_owner(location) is None:
        raise UsageError(
            "no daemon is running on it, so there is nothing to drain",
            operation="drain",
            path=location.shown,
            remedy="'dropscribe pause' keeps the next one from beginning",
        )
    print_folder(answer_of(Request(Verb.DRAIN), Given(config, database, as_json)), as_json=as_json)
