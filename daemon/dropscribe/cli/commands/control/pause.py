"""`dropscribe pause`: begin no more recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dropscribe.cli.arguments import options
from dropscribe.cli.arguments.given import Given
from dropscribe.cli.commands.control.asking import answer_of, print_folder


def command(
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", readable=False, help="Only those of this watched folder. Default: of all."
        ),
    ] = None,
    config: options.Config = None,
    database: options.Database = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print dropscribe/control/1 as JSON.")] = False,
) -> None:
    """Begin no more recordings until 'dropscribe resume'.

    What has begun is finished, and new recordings are still taken into the queue. A pause stays in force when the daemon or the
    machine is restarted.

    JSON, dropscribe/control/1: verb, who, folder (null: all), found, found_who, found_since, made, still [{folder, who, since,
    draining}].
    """
    from dropscribe.ledger.control import Verb
    from dropscribe.service.control.requests import Request

    request = Request(Verb.PAUSE, folder=None if folder is None else str(folder.absolute()))
    print_folder(answer_of(request, Given(config, database, as_json)), as_json=as_json)
