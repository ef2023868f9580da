"""The command line: commands, global options, exit statuses."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from dropscribe import __version__
from dropscribe.cli import streams
from dropscribe.cli.arguments.help_pages import Command, Group
from dropscribe.cli.arguments.usage_errors import CommandLineError, asks_for_help, usage_error
from dropscribe.cli.output import print_error
from dropscribe.errors import DropscribeError, StorageError, UsageError

#: Commands, in the order of the help: each is `command` (or `app`, if it has subcommands) in the module of its
#: name, with `_` for `-`. These modules have heavy imports inside functions only, so that `--help` is fast.
COMMANDS = (
    "run", "init", "config", "doctor", "adopt", "transcribe", "bench", "eval", "diff", "jobs", "stats", "export", "status",
    "pause", "resume", "drain", "models", "speakers", "notify", "web", "backup", "restore", "vacuum", "purge", "copy-database",
    "install-service", "uninstall-service",
)  # fmt: skip
#: Those whose module lies in a room of `commands`.
ROOMS = {
    "bench": "evaluation", "eval": "evaluation", "diff": "evaluation",
    "pause": "control", "resume": "control", "drain": "control", "notify": "control", "web": "control",
    "stats": "history", "export": "history",
    "adopt": "keeping", "backup": "keeping", "restore": "keeping", "vacuum": "keeping", "purge": "keeping", "copy-database": "keeping",
    "install-service": "installation", "uninstall-service": "installation",
}  # fmt: skip
#: Exit status after Ctrl-C.
INTERRUPTED = 130
#: The end of the help; docs/command-line.md has the same as a table.
EXIT_CODES = (
    "Exit codes: 0 done; 1 it did not work (doctor, status: something is wrong); 2 wrong command line or "
    "configuration; 3 the database cannot be used; 4 another daemon holds the database; 5 the engine cannot start."
)


def build(names: Sequence[str] = COMMANDS) -> typer.Typer:
    """Build the application with the commands `names`, among `COMMANDS`."""
    app = typer.Typer(
        name="dropscribe",
        cls=Group,
        help="Drop recordings into a folder, find transcripts beside them.",
        epilog=EXIT_CODES,
        no_args_is_help=True,
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    for name in names:
        room = f"{ROOMS[name]}." if name in ROOMS else ""
        module = importlib.import_module(f"dropscribe.cli.commands.{room}{name.replace('-', '_')}")
        if hasattr(module, "app"):
            for inner in module.app.registered_commands:
                inner.cls = Command
            app.add_typer(module.app, name=name, cls=Group)
        else:
            app.command(name, cls=Command)(module.command)
    return app


def needed(arguments: Sequence[str]) -> Sequence[str]:
    """The commands that a command line needs: the one that it begins with, else all. All take a tenth of a second."""
    first = tuple(arguments[:1])
    return first if first and first[0] in COMMANDS else COMMANDS


def main() -> None:
    """Run the command line. Ends the process with status 0 or `DropscribeError.exit_code`."""
    streams.prepare()
    _leave_out_closed_folders()
    try:
        _demand_directory()
        _run()
    except BrokenPipeError:
        sys.exit(1)
    except DropscribeError as e:
        print_error(e, as_json=_wants_json(sys.argv[1:]))
        sys.exit(e.exit_code)
    except OSError as e:
        # Of a file that no command reports in its own words.
        error = _of_system(e)
        print_error(error, as_json=_wants_json(sys.argv[1:]))
        sys.exit(error.exit_code)


def _run() -> None:
    """Run one command and flush its output. Ends the process; raises DropscribeError, BrokenPipeError."""
    try:
        status = build(needed(sys.argv[1:]))(prog_name="dropscribe", standalone_mode=False)
        if status == INTERRUPTED:
            # Another Ctrl-C must not kill the process on its way out.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            streams.discard_output()
        sys.exit(status if isinstance(status, int) else 0)
    except CommandLineError as e:
        if asks_for_help(e) and not _wants_json(sys.argv[1:]):
            typer.echo(str(e), err=True)
            sys.exit(usage_error(e).exit_code)
        raise usage_error(e) from e
    finally:
        sys.stdout.flush()


def _demand_directory() -> None:
    """Raise UsageError if the current directory was removed: no relative path has a meaning then."""
    try:
        Path.cwd()
    except OSError as e:
        raise UsageError(
            "it was removed",
            operation="use the current directory",
            remedy="change to a directory that exists, such as with cd /",
        ) from e


def _of_system(error: OSError) -> StorageError:
    file = None if error.filename is None else Path(os.fsdecode(error.filename))
    denied = isinstance(error, PermissionError)
    return StorageError.from_system(
        error,
        operation=f"run {' '.join(a for a in sys.argv[1:2] if a.isalpha())}".rstrip(),
        path=file,
        remedy="give this user access to it, or run the command as the user of the daemon"
        if denied
        else "check the path, its disk and the kernel's log",
    )


def _leave_out_closed_folders() -> None:
    """Remove directories that this user cannot enter from PATH; runuser and sudo may keep root's PATH.

    With such a directory in PATH, running a missing program raises PermissionError instead of FileNotFoundError. FunASR
    runs ffmpeg when it is imported and catches only FileNotFoundError, so no engine would start.
    """
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join(
        f for f in folders if os.access(f or ".", os.X_OK, effective_ids=True)
    )


def _wants_json(arguments: list[str]) -> bool:
    """True if `--json` is among the options, which end at `--`."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dropscribe {__version__}")
        raise typer.Exit


def _global_options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Drop recordings into a folder, find transcripts beside them."""
