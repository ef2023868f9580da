"""Have a request carried out, by the daemon or without one, and print the answer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dropscribe.cli.arguments.given import Given

if TYPE_CHECKING:
    from dropscribe.config import Settings
    from dropscribe.service.control.requests import Request

#: Most jobs that are listed one a line; more are counted.
LISTED = 20


def answer_of(request: Request, given: Given) -> dict[str, Any]:
    """The answer to a request about the database meant. Raises DropscribeError."""
    from dataclasses import replace

    from dropscribe.cli.arguments.settings import database_location, in_force
    from dropscribe.config import find
    from dropscribe.ledger.control import Verb
    from dropscribe.ledger.interface import DatabaseLocation
    from dropscribe.service.control.client import ask

    location = database_location(given.config, given.database)
    settings: Settings | None
    if request.verb in {Verb.REDO, Verb.RENAME_SPEAKER}:
        settings = in_force(config=given.config).settings
    else:
        # Without a configuration, or with that of another database, nothing is known of the watched folders.
        found = None if find(given.config) is None else in_force(config=given.config, lists=False).settings
        settings = (
            found
            if found is not None and DatabaseLocation.of(found.database.absolute()) == location
            else None
        )
    return ask(location, replace(request, database=str(location)), settings)


def print_folder(answer: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the answer to `pause`, `resume` and `drain`: the state found and the state made."""
    from dropscribe.cli.output import local, print_json, say
    from dropscribe.views.control import control_document

    if as_json:
        print_json(control_document(answer))
        return
    place = answer["folder"] or "all folders"
    since = f", by {answer['found_who']} since {local(answer['found_since'])}" if answer["found_who"] else ""
    say(f"{place}: {answer['found']}{since} → {answer['made']}")
    for pause in answer["still"]:
        if answer["verb"] == "resume" or pause["folder"] != answer["folder"]:
            what = "draining" if pause["draining"] else "paused"
            say(
                f"{pause['folder'] or 'all folders'}: {what}, by {pause['who']} since {local(pause['since'])}"
            )


def print_jobs(answer: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the state found and the state made of each job, of many their numbers. Exit status 1 if one was not changed."""
    from dropscribe.cli.output import brief, print_json, print_list, say
    from dropscribe.ledger.control import Verb
    from dropscribe.views.control import control_document

    total = sum(t["jobs"] for t in answer["totals"])
    refused = sum(t["jobs"] for t in answer["totals"] if not t["changed"])
    if as_json:
        print_json(control_document(answer))
    elif not total:
        say("no such jobs" if answer["verb"] == Verb.PRIORITY else f"no such jobs to {answer['verb']}")
    elif total <= LISTED:
        rows = [
            (
                "-" if one["recording"] is None else brief(Path(one["recording"])),
                str(one["job"]),
                one["found"] or "-",
                one["reason"] or one["made"],
            )
            for one in answer["jobs"]
        ]
        print_list(("recording", "job", "was", "is now"), rows)
    else:
        for one in answer["totals"]:
            jobs = f"{one['jobs']} job{'s' * (one['jobs'] != 1)}"
            say(
                f"{jobs}: {one['found'] or '-'} → {one['made']}"
                if one["changed"]
                else f"{jobs}: {one['reason']}"
            )
    if refused:
        raise typer.Exit(1)
