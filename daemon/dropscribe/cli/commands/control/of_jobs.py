"""`dropscribe jobs retry`, `cancel` and `priority`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dropscribe.cli.arguments import filters, options
from dropscribe.cli.arguments.given import merged
from dropscribe.cli.commands.control.asking import answer_of, print_jobs

if TYPE_CHECKING:
    from dropscribe.ledger.control import Verb
    from dropscribe.service.control.requests import Request

What = Annotated[
    list[str] | None,
    typer.Argument(metavar="WHAT...", help="Numbers of jobs, recordings, or folders with recordings."),
]
All = Annotated[bool, typer.Option("--all", help="All jobs that meet the other conditions.")]
State = Annotated[
    str | None,
    typer.Option(metavar="STATE", help="Only jobs in this state; of jobs named by number it is not asked."),
]
Code = Annotated[
    str | None,
    typer.Option("--reason", metavar="CODE", help="Only jobs with this reason code, as of 'jobs --json'."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def retry(
    context: typer.Context,
    which: What = None,
    every: All = False,
    state: State = None,
    path: filters.PathPart = None,
    profile: filters.Profile = None,
    reason: Code = None,
    config: options.Config = None,
    database: options.Database = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Try failed or cancelled jobs again.

    They have all their attempts again, and a delay or hold ends. Without --state the failed ones are meant.

    JSON, dropscribe/control/1: verb, who, jobs [{job, recording, found, made, changed, reason}] (at most 500), totals [{found,
    made, changed, reason, jobs}].
    """
    from dropscribe.ledger.control import Verb

    given = merged(context, config, database, as_json)
    request = _request(Verb.RETRY, which, every=every, state=state, path=path, profile=profile, code=reason)
    print_jobs(answer_of(request, given), as_json=given.as_json)


def cancel(
    context: typer.Context,
    which: What = None,
    every: All = False,
    state: State = None,
    path: filters.PathPart = None,
    profile: filters.Profile = None,
    reason: Code = None,
    config: options.Config = None,
    database: options.Database = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Cancel jobs that wait or are being worked on.

    The recording stays where it is and is not taken again; 'dropscribe jobs retry' takes a cancelled job back. Without --state
    all unfinished jobs are meant.

    JSON, dropscribe/control/1, as of jobs retry.
    """
    from dropscribe.ledger.control import Verb

    given = merged(context, config, database, as_json)
    request = _request(Verb.CANCEL, which, every=every, state=state, path=path, profile=profile, code=reason)
    print_jobs(answer_of(request, given), as_json=given.as_json)


def priority(
    context: typer.Context,
    number: Annotated[
        int,
        typer.Argument(
            min=-100,
            max=100,
            metavar="PRIORITY",
            help="From -100 to 100; 0 is usual, higher ones come first.",
        ),
    ],
    which: What = None,
    every: All = False,
    state: State = None,
    path: filters.PathPart = None,
    profile: filters.Profile = None,
    reason: Code = None,
    config: options.Config = None,
    database: options.Database = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Let jobs come before or after others.

    Without --state the waiting ones are meant. A lower priority than 0 is written behind --: jobs priority -- -5 17.

    JSON, dropscribe/control/1, as of jobs retry.
    """
    from dataclasses import replace

    from dropscribe.ledger.control import Verb

    given = merged(context, config, database, as_json)
    request = _request(
        Verb.PRIORITY, which, every=every, state=state, path=path, profile=profile, code=reason
    )
    print_jobs(answer_of(replace(request, priority=number), given), as_json=given.as_json)


def _request(
    verb: Verb, which: list[str] | None, *, every: bool, state: str | None, path: str | None, profile: str | None, code: str | None
) -> Request:  # fmt: skip
    from dropscribe.service.control.requests import Request

    named = which or []
    return Request(
        verb,
        jobs=tuple(int(w) for w in named if w.isdecimal()),
        paths=tuple(str(Path(w).absolute()) for w in named if not w.isdecimal()),
        state=None if state is None else state.lower(),
        match=path or "",
        profile=profile,
        reason_code=code,
        everything=every,
    )
