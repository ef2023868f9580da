"""`dropscribe status`: print the state and health of the daemon on a database, and its queue."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from dropscribe.cli.arguments import options

if TYPE_CHECKING:
    from dropscribe.ledger.interface import DatabaseLocation
    from dropscribe.views.status import Process, Queue


def command(
    config: options.Config = None,
    database: options.Database = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print dropscribe/daemon/1 as JSON.")] = False,
) -> None:
    """Show the daemon, its problems and its queue.

    Exit status 0 if a daemon runs on the database and has no problem, else 1.

    JSON, dropscribe/daemon/1: database, running, healthy, problems [text], pid, state ("starting", "ready",
    "draining"), since, updated, engine, folders [{path, backend, problem, remedy}], storage [{problem, remedy}],
    in_flight, unsettled (null when it does not run), counts {state: jobs}, oldest_waiting, last_finished (jobs as
    `jobs --json` has them, or null), recent_failures [jobs]. Instants are ISO 8601, UTC.
    """
    from dropscribe.cli.arguments.settings import database_location
    from dropscribe.cli.output import print_json
    from dropscribe.ledger import backend
    from dropscribe.views.status import document, held_problems, problems, queue_of, read_process

    location = database_location(config, database)
    now = time.time()
    process = read_process(location)
    queue = None
    if backend.exists(location):
        with closing(backend.open_read_only(location)) as ledger:
            queue = queue_of(ledger, now)
    wrong = [*problems(process, now), *(held_problems(queue) if queue else ())]
    if as_json:
        print_json(document(location, process, queue, wrong))
    else:
        _print(location, process, queue, wrong)
    if wrong:
        raise typer.Exit(1)


def _print(location: DatabaseLocation, process: Process, queue: Queue | None, wrong: list[str]) -> None:
    from dropscribe.cli.output import local, print_facts
    from dropscribe.views.fields import readable

    said = process.said
    facts = [("database", readable(location.file) + ("" if queue else " (not made yet)"))]
    facts.append(("daemon", f"running, process {process.pid}" if process.running else "not running"))
    if said is not None:
        engine = said["engine"]
        facts += [
            ("state", f"{said['state']}, started {local(said['since'])}"),
            (
                "engine",
                f"{engine['model']} on {engine['device']}, {engine['precision']}" if engine else "loading",
            ),
            ("at work on", f"{said['in_flight']} recordings; {said['unsettled']} files not yet complete"),
            *(("folder", f"{f['path']} ({f['backend']}): {f['problem'] or 'ok'}") for f in said["folders"]),
        ]
    if queue is not None:
        facts.append(("jobs", ", ".join(f"{n} {state.value}" for state, n in queue.counts.items())))
        facts += list(_job_facts(queue))
    facts += [("problem", text) for text in wrong]
    print_facts(facts)


def _job_facts(queue: Queue) -> Iterator[tuple[str, str]]:
    from dropscribe.cli.output import brief, local

    if queue.oldest_waiting is not None:
        j = queue.oldest_waiting
        why = f": {j.reason} ({j.remedy})" if j.remedy else f": {j.reason}" if j.reason else ""
        yield "longest waiting", f"job {j.id} since {local(j.admitted_at)}, {brief(j.recording)}{why}"
    if queue.last_finished is not None:
        j = queue.last_finished
        yield "last finished", f"job {j.id} at {local(j.finished_at)}: {brief(j.recording)}"
    for j in queue.failures:
        yield "failed", f"job {j.id}, {brief(j.recording)}: {j.reason} ({j.remedy})"
