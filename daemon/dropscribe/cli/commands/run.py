"""`dropscribe run`: run the daemon in the foreground."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import NoReturn

from dropscribe.cli.arguments import options


def command(
    config: options.Config = None,
    watch: options.Watch = None,
    database: options.Database = None,
    model: options.Model = None,
    vad_model: options.VadModel = None,
    device: options.Device = None,
    cluster: options.Cluster = None,
) -> None:
    """Watch folders, write transcripts beside recordings.

    Runs in the foreground until it is stopped with Ctrl-C or SIGTERM; SIGHUP makes it read its configuration again.
    """
    from dropscribe.service.control import signals

    signals.exit_at_once()
    import faulthandler

    from dropscribe import logs
    from dropscribe.cli.arguments.settings import in_force
    from dropscribe.cli.output import print_error
    from dropscribe.service.daemon import Daemon

    def read() -> Loaded:
        return in_force(
            config=config, watch=watch, database=database, model=model, vad_model=vad_model, device=device,
            cluster=cluster,
        )  # fmt: skip

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
    if watch:
        for folder in loaded.settings.folders:
            require_folder(folder.path)
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


def require_folder(path: Path) -> None:
    """Raise UsageError unless a folder of the command line can be watched.

    A folder of a configuration file may be away for a time, such as a share that is not mounted yet; one that was just
    typed and is not there is a mistake.
    """
    from dropscribe.errors import UsageError

    remedy = "name an existing folder, or create it first"
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
        reason = "it is not a folder" if not is_folder else ""
        if is_folder and not os.access(path, os.R_OK | os.X_OK, effective_ids=True):
            reason, remedy = "this user may not read it", "give this user access to it"
        elif not is_folder:
            remedy = "name the folder it is in; 'dropscribe transcribe FILE' transcribes a single file"
    except FileNotFoundError:
        reason = "there is no such folder"
    except OSError as e:
        reason = e.strerror or str(e)
    if reason:
        raise UsageError(reason, operation="watch", path=path, remedy=remedy)


def _leave(status: int) -> NoReturn:
    """Exit at once: the interpreter would wait for threads and children blocked in a file system call."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
