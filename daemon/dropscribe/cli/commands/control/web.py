"""`dropscribe web`: serve the page."""

from __future__ import annotations

from typing import Annotated

import typer

from dropscribe.cli.arguments import options


def command(
    config: options.Config = None,
    database: options.Database = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="IP address to listen on. Default: that of the configuration."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65_535, metavar="PORT", help="TCP port. Default: that of the configuration."),
    ] = None,
) -> None:
    """Serve the page: search, listen, see what is going on.

    A process of its own, which reads the database and asks the daemon for what is to be done. It listens on this machine only
    unless the configuration has a token. Needs the packages of the extra 'web': pip install 'dropscribe[web]'. Ctrl-C ends it.
    """
    from dropscribe import config as configuration
    from dropscribe import logs
    from dropscribe.cli.arguments.settings import database_location, in_force
    from dropscribe.errors import UsageError

    try:
        from dropscribe.web.serve import serve
    except ModuleNotFoundError as e:
        if e.name is None or e.name.startswith("dropscribe"):
            raise
        raise UsageError(
            f"the package '{e.name}' is not installed",
            operation="serve the page",
            remedy="pip install 'dropscribe[web]'",
        ) from e
    location = database_location(config, database)
    loaded = configuration.override(
        in_force(config=config, lists=False),
        web__address=address,
        web__port=port,
        database=location.setting,
    )
    service = loaded.settings.service
    logs.setup(
        json_lines={"auto": None, "json": True, "text": False}[service.log_format], level=service.log_level
    )
    serve(location, loaded)
