"""`dropscribe doctor`: checks the whole chain and names the remedy of what it finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def command(
    config: Annotated[Path | None, typer.Option(help="Configuration file (TOML).")] = None,
    watch: Annotated[
        list[Path] | None, typer.Option(help="Check for this folder instead of a configuration file.")
    ] = None,
    database: Annotated[Path | None, typer.Option(help="The job history.")] = None,
    model: Annotated[str | None, typer.Option(help="Model name, or a model directory.")] = None,
    vad_model: Annotated[str | None, typer.Option(help="VAD model name, or a model directory.")] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda:0, cuda (every GPU), or a list: cuda:0,cuda:1.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print dropscribe/doctor/1 as JSON.")] = False,
) -> None:
    """Check the chain from folder to transcript, one line each with the remedy; exit 1 when something fails.

    Loads the model as the daemon would, so a model that is not on this machine yet is fetched.
    """
    from collections.abc import Iterator

    from daemon import logs
    from daemon.cli.settings import in_force
    from daemon.errors import ConfigError
    from daemon.service.checks import examination
    from daemon.service.checks.record import Check, Level, document, from_error, healthy

    # To stderr, so that standard output holds the checks and nothing else.
    logs.setup(level="warning")

    def look() -> Iterator[Check]:
        try:
            loaded = in_force(
                config=config, watch=watch, database=database, model=model, vad_model=vad_model, device=device
            )
        except ConfigError as e:
            yield from_error("configuration", e)
            yield from examination.examine_machine()
        else:
            yield from examination.examine(loaded)

    colours = {Level.OK: "green", Level.WARNING: "yellow", Level.FAIL: "red"}
    checks: list[Check] = []
    for check in look():
        checks.append(check)
        if not as_json:
            typer.secho(f"{check.status:<8}", fg=colours[check.status], nl=False)
            typer.echo(f"{check.name}: {check.detail}")
            if check.remedy:
                typer.echo(f"        → {check.remedy}")
    if as_json:
        typer.echo(json.dumps(document(checks), ensure_ascii=False, indent=2))
    if not healthy(checks):
        raise typer.Exit(1)
