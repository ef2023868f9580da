"""`dropscribe jobs redo` and `rename-speaker`: make transcripts again, or write them with the name of a speaker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dropscribe.cli.arguments import options
from dropscribe.cli.arguments.given import merged

if TYPE_CHECKING:
    from dropscribe.ledger.interface import DatabaseLocation
    from dropscribe.ledger.records import Redone

#: Most recordings that a search selects.
MOST_FOUND = 100_000

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def redo(
    context: typer.Context,
    which: Annotated[
        list[str] | None,
        typer.Argument(metavar="WHAT...", help="Numbers of jobs, recordings, or folders with recordings."),
    ] = None,
    search: Annotated[
        str | None, typer.Option(metavar="WORDS", help="Recordings whose transcript has these words.")
    ] = None,
    model_changed: Annotated[
        bool,
        typer.Option(
            "--model-changed",
            help="Only recordings that were recognised with other models, hotwords or another audio track than the settings say.",
        ),
    ] = False,
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="Use this profile. Default: that of the job.")
    ] = None,
    keep_old: Annotated[
        bool,
        typer.Option("--keep-old", help="Keep the old files and write NAME.v2.txt and so on beside them."),
    ] = False,
    recognise: Annotated[
        bool,
        typer.Option("--recognise", help="Recognise the audio again even where the stored words would do."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done; queue nothing.")
    ] = False,
    config: options.Config = None,
    database: options.Database = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Make transcripts again, as a new version in the history.

    Name jobs, recordings or folders, or select with --search or --model-changed. If only the writing differs (formats, numbers,
    fillers), the files are written from the stored words, without audio and model; else the recording is recognised again. The new
    files replace the old ones, unless someone changed those. The jobs are queued: a running daemon does them at once, else the next
    one does.

    JSON, dropscribe/redo/1: database, dry_run, total, refused, jobs [{job, recording, new_job, version, from_tokens, reason}] (at most
    500).
    """
    from dropscribe.cli.arguments.settings import database_location
    from dropscribe.cli.commands.control.asking import answer_of
    from dropscribe.ledger.control import Verb
    from dropscribe.service.control.redoing import redone
    from dropscribe.service.control.requests import Request

    given = merged(context, config, database, as_json)
    named = which or []
    request = Request(
        Verb.REDO,
        jobs=tuple(int(w) for w in named if w.isdecimal()),
        paths=tuple(str(Path(w).absolute()) for w in named if not w.isdecimal()),
        search=search,
        model_changed=model_changed,
        profile=profile,
        keep_old=keep_old,
        recognise=recognise,
        dry_run=dry_run,
    )
    answer = answer_of(request, given)
    location = database_location(given.config, given.database)
    _report(
        redone(answer), location, answer["total"], answer["refused"], as_json=given.as_json, dry_run=dry_run
    )


def rename_speaker(
    context: typer.Context,
    job: Annotated[int, typer.Argument(metavar="JOB", help="Number of the job.")],
    number: Annotated[
        int, typer.Argument(min=1, metavar="NUMBER", help="Number of the speaker in its transcript.")
    ],
    name: Annotated[str, typer.Argument(metavar="NAME", help='The name; "" removes it.')],
    config: options.Config = None,
    database: options.Database = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Name a speaker of a transcript, and write its files again.

    The files are written from the stored words, without audio and model, and replace the old ones.

    JSON, dropscribe/redo/1, as of jobs redo.
    """
    from dropscribe.cli.arguments.settings import database_location
    from dropscribe.cli.commands.control.asking import answer_of
    from dropscribe.ledger.control import Verb
    from dropscribe.service.control.redoing import redone
    from dropscribe.service.control.requests import Request

    given = merged(context, config, database, as_json)
    request = Request(Verb.RENAME_SPEAKER, jobs=(job,), speaker=number, name=name)
    answer = answer_of(request, given)
    location = database_location(given.config, given.database)
    _report(
        redone(answer), location, answer["total"], answer["refused"], as_json=given.as_json, dry_run=False
    )


def _report(
    answers: Sequence[Redone], location: DatabaseLocation, total: int, refused: int, *, as_json: bool, dry_run: bool
) -> None:  # fmt: skip
    """Print what became of `total` jobs, of which `answers` are the first ones. Exit status 1 if some were refused."""
    from dropscribe.cli.output import brief, print_json, print_list, say
    from dropscribe.ledger.backend import lock_owner
    from dropscribe.views.jobs import redo_document

    if as_json:
        print_json(redo_document(location, answers, dry_run=dry_run, total=total, refused=refused))
    elif not answers:
        say("nothing to do again")
    else:
        rows = [
            (
                "-" if one.recording is None else brief(one.recording),
                str(one.job_id),
                "-" if one.new_job_id is None else str(one.new_job_id),
                one.reason
                or f"version {one.version}, {'from the stored words' if one.from_tokens else 'recognised again'}",
            )
            for one in answers
        ]
        print_list(("recording", "job", "new job", "how"), rows)
        if total > len(answers):
            say(f"these are the first {len(answers)} of {total}; of all, {total - refused} are done again")
        if total > refused and not dry_run and lock_owner(location) is None:
            say("no daemon works on this database: the next one does it", err=True)
    if refused:
        raise typer.Exit(1)
