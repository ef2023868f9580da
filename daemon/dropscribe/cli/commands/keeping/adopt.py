"""`dropscribe adopt`: restore finished jobs from their transcripts after the database was lost."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dropscribe.cli.arguments import options

if TYPE_CHECKING:
    from dropscribe.config import Folder, Settings
    from dropscribe.service.admission.adoption import Report

ADOPT_SCHEMA = "dropscribe/adopt/1"
#: How often progress is shown, seconds.
PROGRESS_S = 2.0


def command(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", readable=False, help="A watched folder, or a folder below one.")
    ],
    config: options.Config = None,
    database: options.Database = None,
    model: options.Model = None,
    vad_model: options.VadModel = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done; change nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print dropscribe/adopt/1 as JSON.")] = False,
) -> None:
    """Restore the job history from transcripts.

    For a database that was lost: without it every recording would be transcribed again. Reads the NAME.json beside each
    recording (or in output_dir) and records the job as done if the recording has the content that NAME.json was made from.
    Without a configuration file DIR counts as a watched folder; give the models as 'run' gets them. Stop the daemon first.
    May be run again: jobs on record stay as they are.

    JSON, dropscribe/adopt/1: database, dry_run, recordings, adopted, on_record, without_json (transcripts in other formats
    only, which cannot be adopted), skipped [{path, reason}], differing [path] (files that were
    edited or made under other settings; they are never overwritten).
    """
    from dropscribe.cli.arguments.settings import in_force
    from dropscribe.cli.output import print_json, say
    from dropscribe.escapes import readable
    from dropscribe.ledger.backend import location_of, lock_database
    from dropscribe.service.admission.adoption import starts

    settings = in_force(config=config, database=database, model=model, vad_model=vad_model).settings
    if not settings.folders and config is None:
        settings = in_force(watch=[directory], database=database, model=model, vad_model=vad_model).settings
    places = starts(settings, directory)
    with closing(lock_database(location_of(settings), alone=True)):
        report = _adopt(settings, places, dry_run=dry_run)
    if as_json:
        print_json(document(settings.database, report, dry_run=dry_run))
        return
    say(
        f"{report.recordings} recordings: {report.adopted} {'would be adopted' if dry_run else 'adopted'}, "
        f"{report.on_record} on record already"
    )
    if report.without_json:
        say(f"{report.without_json} have a transcript without a NAME.json: they cannot be adopted")
    _print_files("not adopted", [f"{readable(path)}: {reason}" for path, reason in report.skipped])
    _print_files("differs from its NAME.json, stays as it is", [readable(path) for path in report.differing])


def document(database: Path, report: Report, *, dry_run: bool) -> dict[str, Any]:
    """dropscribe/adopt/1, as described at `command`."""
    from dropscribe.escapes import readable

    return {
        "schema": ADOPT_SCHEMA,
        "database": readable(database),
        "dry_run": dry_run,
        "recordings": report.recordings,
        "adopted": report.adopted,
        "on_record": report.on_record,
        "without_json": report.without_json,
        "skipped": [{"path": readable(path), "reason": reason} for path, reason in report.skipped],
        "differing": [readable(path) for path in report.differing],
    }


def _adopt(settings: Settings, places: list[tuple[Folder, Path]], *, dry_run: bool) -> Report:
    from contextlib import nullcontext

    from dropscribe.ledger import backend
    from dropscribe.ledger.backend import location_of
    from dropscribe.service.admission.adoption import Adopter

    location = location_of(settings)
    opened: Any
    if not dry_run:
        opened = closing(backend.open_ledger(location))
    elif not backend.is_empty(location):
        opened = closing(backend.open_read_only(location))
    else:
        opened = nullcontext()
    with opened as ledger:
        return Adopter(settings, ledger, dry_run=dry_run).run(places, _progress())


def _progress() -> Any:
    """Return a callback that prints a count on standard error at most every `PROGRESS_S`, if that is a terminal."""
    import sys

    from dropscribe.cli.output import say

    shown = time.monotonic()

    def tell(count: int) -> None:
        nonlocal shown
        if sys.stderr.isatty() and time.monotonic() - shown > PROGRESS_S:
            shown = time.monotonic()
            say(f"{count} recordings read", err=True)

    return tell


def _print_files(what: str, lines: list[str]) -> None:
    from dropscribe.cli.output import say

    for line in lines:
        say(f"{what}: {line}")
