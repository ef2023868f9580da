"""`dropscribe doctor`: check everything from folder to transcript, write a support bundle, or repair the database."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dropscribe.cli.arguments import options

#: Name of the check of the database.
DATABASE = "database"
REPAIR_SCHEMA = "dropscribe/repair/1"

if TYPE_CHECKING:
    from dropscribe.config import Loaded, Settings
    from dropscribe.doctor.checks.record import Check


def command(
    config: options.Config = None,
    watch: options.Watch = None,
    database: options.Database = None,
    model: options.Model = None,
    vad_model: options.VadModel = None,
    device: options.Device = None,
    *,
    bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.tar.gz",
            readable=False,
            help="Write a support bundle, too: without transcripts, names of recordings and paths.",
        ),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Only repair a damaged database; the damaged file is kept beside it. Stop the daemon first.",
        ),
    ] = False,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="Only let the daemon's group write into all watched folders, and say each change. As root, or for own folders.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print dropscribe/doctor/1 as JSON.")] = False,
) -> None:
    """Check the installation, from the folders to the models.

    Prints one line for each check, with a remedy where it fails. Exit status 1 when a check fails, 3 when it is that of the
    database. Loads the models as the daemon would; a model that is not on this machine is fetched.

    The support bundle (about.json in it: dropscribe/bundle/1) holds versions, settings, these checks, the daemon's status,
    counts and timings of jobs, the newest failures and lines of the journal. Read it before you send it.

    With --repair and --json, dropscribe/repair/1: database, how ("sound", "search": the search index was rebuilt,
    "recovered": what could be read is in a new file), findings [text], kept (path of what was there before, or null),
    rows {table: count}, queued (number of jobs).

    With --fix, each directory below a watched folder gets the set-group-ID bit and access control lists for the daemon's
    group; exit status 1 when one cannot be changed. JSON, dropscribe/sharing/1: user, group (ids of the daemon), directories
    [{path, changes [text], problem (text or null)}].
    """
    from dropscribe import logs
    from dropscribe.cli.arguments.settings import in_force
    from dropscribe.cli.output import print_json
    from dropscribe.doctor import examination
    from dropscribe.doctor.checks.record import Level, document, from_error, healthy
    from dropscribe.errors import ConfigError, LedgerError

    logs.setup(json_lines=False)

    if repair:
        settings = in_force(config=config, watch=watch, database=database, lists=False).settings
        _repair(settings.database, as_json=as_json)
        return

    if fix:
        _share(in_force(config=config, watch=watch, database=database, lists=False).settings, as_json=as_json)
        return

    if bundle is not None:
        from dropscribe.doctor import support_bundle

        support_bundle.refuse_impossible(bundle)
    loaded: Loaded | None = None
    refused: Path | None = None
    try:
        loaded = in_force(
            config=config, watch=watch, database=database, model=model, vad_model=vad_model, device=device
        )
        running: Iterable[Check] = examination.examine(loaded)
    except ConfigError as e:
        refused = e.path
        running = (from_error("configuration", e), *examination.examine_machine())
    checks: list[Check] = []
    for check in running:
        checks.append(check)
        if not as_json:
            _print_check(check)
    if bundle is not None:
        named = [p for p in (config, database, *(watch or [])) if p is not None]
        _write_bundle(bundle, loaded, checks, named, refused)
    if as_json:
        # Last: an error of the bundle prints its own document, and standard output must have only one.
        print_json(document(checks))
    if not healthy(checks):
        failed = any(c.name == DATABASE and c.status is Level.FAIL for c in checks)
        raise typer.Exit(LedgerError.exit_code if failed else 1)


def _print_check(check: Check) -> None:
    from dropscribe.cli.output import say
    from dropscribe.doctor.checks.record import Level

    colours = {Level.OK: "green", Level.WARNING: "yellow", Level.FAIL: "red"}
    typer.secho(f"{check.status:<8}", fg=colours[check.status], nl=False)
    say(f"{check.name}: {check.detail}")
    if check.remedy:
        say(f"        → {check.remedy}")


def _share(settings: Settings, *, as_json: bool) -> None:
    """Let the daemon's group write into the watched folders and print the changes. Raises UsageError, typer.Exit."""
    from dropscribe.cli.output import print_json, say
    from dropscribe.doctor.sharing import SCHEMA, Account, share
    from dropscribe.errors import UsageError
    from dropscribe.escapes import readable

    try:
        account = Account.of_daemon(settings)
    except OSError as e:
        raise UsageError.from_system(
            e,
            operation="find the user of the daemon, who owns the folder of the database",
            path=settings.database.parent,
            remedy="start the daemon once, or name the database with --database",
        ) from e
    done = []
    if not as_json:
        say(f"the daemon runs as {account}")
    for one in share(settings, account):
        done.append(one)
        if not as_json:
            say(f"{readable(one.path)}: {'; '.join((*one.changes, *filter(None, [one.problem])))}")
    if as_json:
        print_json({
            "schema": SCHEMA, "user": account.uid, "group": account.gid, "directories": [one.record() for one in done],
        })  # fmt: skip
    elif not done:
        say("nothing was to be changed")
    if any(one.problem for one in done):
        raise typer.Exit(1)


def _repair(database: Path, *, as_json: bool) -> None:
    """Repair the database and print the result. Raises UsageError, AlreadyRunningError, LedgerError, StorageError."""
    from dropscribe.cli.output import print_json, say
    from dropscribe.errors import UsageError
    from dropscribe.escapes import readable
    from dropscribe.ledger import backend
    from dropscribe.ledger.interface import DatabaseLocation

    location = DatabaseLocation.of(database)
    if not backend.exists(location):
        raise UsageError(
            "there is no database",
            operation="repair database",
            path=database,
            remedy="name it with --database",
        )
    done = backend.repair_database(location)
    kept = None if done.kept is None else readable(done.kept)
    if as_json:
        print_json(
            {
                "schema": REPAIR_SCHEMA,
                "database": readable(database),
                "how": done.how,
                "findings": list(done.findings),
                "kept": kept,
                "rows": dict(done.rows),
                "queued": done.queued,
            }
        )
        return
    if done.how == "sound":
        say(f"{readable(database)} is sound; nothing was changed")
        return
    what = {"search": "its search index was rebuilt", "recovered": "what could be read is in a new file"}[
        done.how
    ]
    say(f"{readable(database)} was damaged ({done.findings[0]}): {what}")
    say("there are now " + ", ".join(f"{count} {table}" for table, count in done.rows))
    say(f"{done.queued} jobs are to be done; what was there before is kept as {kept}")


def _write_bundle(
    file: Path, loaded: Loaded | None, checks: list[Check], named: list[Path], refused: Path | None
) -> None:
    """Write the support bundle. Raises UsageError if the file exists, StorageError."""
    from dropscribe.cli.commands.config import settings_in_force
    from dropscribe.cli.output import say
    from dropscribe.doctor import support_bundle
    from dropscribe.escapes import readable

    now = time.time()
    listed = () if loaded is None else settings_in_force(loaded)
    documents = support_bundle.collect(
        loaded, (support_bundle.Setting(*s) for s in listed), checks, now, *named, refused=refused
    )
    support_bundle.write(file, documents, now)
    say(f"wrote {readable(file)}; look through it before you send it", err=True)
