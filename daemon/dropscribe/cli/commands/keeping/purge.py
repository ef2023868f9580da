"""`dropscribe purge`: remove all that is stored of a recording."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dropscribe.cli.arguments import options

if TYPE_CHECKING:
    from dropscribe.ledger.interface import DatabaseLocation
    from dropscribe.ledger.keeping import PurgePlan
    from dropscribe.service.keeping.purge import Found

SCHEMA = "dropscribe/purge/1"


def command(
    job: Annotated[int, typer.Argument(metavar="JOB", help="Number of a job of the recording.")],
    with_copies: Annotated[
        bool,
        typer.Option(
            "--copies", help="Also purge other recordings with the same content, which share its text."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be removed; change nothing.")
    ] = False,
    config: options.Config = None,
    database: options.Database = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Remove all that is stored of a recording.

    Its transcripts, unless someone changed them, and in the database its words, speakers, stages, tries and kept results, also in
    the search index and the log. What is removed is overwritten. Path and checksum stay, so that the file, if it is still there,
    is not transcribed again unless 'dropscribe jobs redo' asks for it. The recording itself stays. A daemon may be running. Copies of
    the database that may still have the text are listed: they are not changed.

    JSON, dropscribe/purge/1: database, dry_run, jobs [number], removed [path], changed [path], recordings [path], copies [path],
    log_cut.
    """
    from dropscribe.cli.arguments.jobs import no_such_job
    from dropscribe.cli.arguments.settings import database_location, in_force
    from dropscribe.ledger.backend import open_beside
    from dropscribe.service.keeping import purge

    settings = in_force(config=config, lists=False).settings
    location = database_location(config, database)
    with closing(open_beside(location)) as ledger:
        plans = ledger.keeping.purge_plans(job)
        if not plans:
            raise no_such_job(job, "purge", location)
        _demand(plans, location, with_copies=with_copies)
        found = purge.find(plans, settings)
        log_cut = True if dry_run else purge.purge(ledger, plans, settings).log_cut
        copies = purge.copies(ledger, location)
    _report(plans, found, copies, location, dry_run=dry_run, as_json=as_json, log_cut=log_cut)


def _demand(plans: list[PurgePlan], location: DatabaseLocation, *, with_copies: bool) -> None:
    """Raise UsageError if the recording has copies that were not asked for, or is in progress."""
    from dropscribe.errors import UsageError
    from dropscribe.escapes import readable
    from dropscribe.ledger.records import JobState

    others = {readable(p.path): p.jobs[-1].job_id for p in plans if p.path != plans[0].path and p.jobs}
    if others and not with_copies:
        named = ", ".join(f"{path} (job {job})" for path, job in list(others.items())[:5])
        raise UsageError(
            f"{len(others)} other recordings have the same content: {named}",
            operation="purge", path=plans[0].path, remedy="give --copies to purge them, too",
        )  # fmt: skip
    running = [j.job_id for p in plans for j in p.jobs if j.state is JobState.RUNNING]
    if running:
        raise UsageError(
            f"job {running[0]} is in progress",
            operation="purge", path=location.shown,
            remedy=f"'dropscribe jobs cancel {running[0]}', or wait until it is done",
        )  # fmt: skip


def _report(
    plans: list[PurgePlan], found: Found, copies: list[Path], location: DatabaseLocation, *,
    dry_run: bool, as_json: bool, log_cut: bool,
) -> None:  # fmt: skip
    from dropscribe.cli.output import print_json, say
    from dropscribe.escapes import readable

    jobs = [j for p in plans for j in p.jobs]
    if as_json:
        document: dict[str, Any] = {
            "schema": SCHEMA, "database": str(location), "dry_run": dry_run, "jobs": [j.job_id for j in jobs],
            "removed": [readable(p) for p in found.ours], "changed": [readable(p) for p in found.changed],
            "recordings": [readable(p) for p in found.recordings], "copies": [readable(p) for p in copies],
            "log_cut": log_cut,
        }  # fmt: skip
        print_json(document)
        return
    would = "would be " if dry_run else ""
    for path in found.ours:
        say(f"{would}removed: {readable(path)}")
    text = f"{sum(j.segments for j in jobs):,} segments of text"
    say(f"{would}removed: {text}, of job {', '.join(str(j.job_id) for j in jobs)}")
    for path in found.changed:
        say(f"someone changed it, so it stays: {readable(path)}")
    for path in found.recordings:
        say(f"the recording stays: {readable(path)}")
    for path in copies:
        say(f"a copy of the database may still have the text: {readable(path)}")
    if not log_cut:
        say(
            "a program keeps the log of the database open, which may still have the text: run this again when it has ended"
        )
