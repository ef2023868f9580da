"""`dropscribe resume`: end a pause."""

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
            metavar="DIR", readable=False, help="End the pause of this watched folder. Default: that of all."
        ),
    ] = None,
    config: options.Config = None,
    database: options.Database = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print dropscribe/control/1 as JSON.")] = False,
) -> None:
    """End a pause, or a drain that has not ended yet.

    A folder that was paused by itself stays paused until it is named.

    JSON, dropscribe/control/1, as of pause.
    """
    from dropscribe.ledger.control import Verb
    from dropscribe.service.control.requests import Request

    request = Request(Verb.RESUME, folder=None if folder is None else str(folder.absolute()))
    print_folder(answer_of(request, Given(config, database, as_json)), as_json=as_json)
