"""`dropscribe run`: run the daemon in the foreground."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from dropscribe.cli.arguments import options


def command(
    config: options.Config = None,
    watch: options.Watch = None,
    database: options.Database = None,
    model: options.Model = None,
    vad_model: options.VadModel = None,
    device: options.Device = None,
) -> None:
    """Watch folders and write a transcript beside every recording.

    Runs in the foreground until it is stopped with Ctrl-C or SIGTERM; SIGHUP makes it read its configuration again.
    """
    import faulthandler

    from dropscribe import logs
    from dropscribe.cli.arguments.settings import in_force
    from dropscribe.cli.output import print_error
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
