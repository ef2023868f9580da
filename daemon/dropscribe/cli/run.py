"""`dropscribe run`: run the daemon in the foreground."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer


def command(
    config: Annotated[Path | None, typer.Option(help="Configuration file (TOML).")] = None,
    watch: Annotated[
        list[Path] | None,
        typer.Option(help="Watch this folder; needs no configuration file. May be repeated."),
    ] = None,
    database: Annotated[Path | None, typer.Option(help="The job history (default: ./jobs.db).")] = None,
    model: Annotated[str | None, typer.Option(help="Model name, or a model directory.")] = None,
    vad_model: Annotated[str | None, typer.Option(help="VAD model name, or a model directory.")] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda:0, cuda (every GPU), or a list: cuda:0,cuda:1.")
    ] = None,
) -> None:
    """Watch folders and write a transcript beside every recording, until stopped."""
    import faulthandler

    from dropscribe import logs
    from dropscribe.cli.output import print_error
    from dropscribe.cli.settings import in_force
    from dropscribe.service.daemon import Daemon

    def read() -> Loaded:
        return in_force(
            config=config, watch=watch, database=database, model=model, vad_model=vad_model, device=device
        )

    from dropscribe.config import Loaded
    from dropscribe.errors import ConfigError, DropscribeError

    loaded = read()
    if not loaded.settings.folders:
        raise ConfigError(
            "there is no folder to watch",
            operation="run",
            path=loaded.file,
            remedy="name one with --watch DIR, or add a [[folder]] to the configuration",
        )
    service = loaded.settings.service
    as_json = {"auto": None, "json": True, "text": False}[service.log_format]
    logs.setup(json_lines=as_json, level=service.log_level)
    # systemd's watchdog ends a hanging daemon with SIGABRT; the journal then has the traceback of each thread.
    faulthandler.enable()
    daemon = Daemon(loaded, read)
    try:
        daemon.run()
    except DropscribeError as e:
        if daemon.left_behind:
            print_error(e, as_json=False)
            _leave(e.exit_code)
        raise
    if daemon.left_behind:
        _leave(0)


def _leave(status: int) -> NoReturn:
    """Exit at once: the interpreter would wait for threads and children blocked in a file system call."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
