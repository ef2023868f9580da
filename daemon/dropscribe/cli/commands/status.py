"""`dropscribe status`: print the state and health of the daemon on a database, and its queue."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dropscribe.cli.arguments import options

if TYPE_CHECKING:
    from dropscribe.ledger.interface import DatabaseLocation
    from dropscribe.views.status import Process, Queue

#: Most recordings in progress, and most files that are not complete, that are listed.
LISTED = 10


def command(
    config: options.Config = None,
    database: options.Database = None,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it on the whole terminal, renewed until Ctrl-C.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print dropscribe/daemon/1 as JSON.")] = False,
) -> None:
    """Show the daemon, its problems and its queue.

    Exit status 0 if a daemon runs on the database and has no problem, else 1.

    JSON, dropscribe/daemon/1: database, running, healthy, problems [text], pid, state ("starting", "ready",
    "draining"), since, updated, engine, nodes [{name, device, state, reason, in_progress}], folders [{path, backend, problem, remedy}], storage [{problem, remedy}],
    in_flight, unsettled, in_progress [{job, recording, stage, position_ms, duration_ms, elapsed_s}], unsettled_files
    [{path, code, reason, since}] (null when it does not run), counts {state: jobs}, waits [{folder, code, reason, until}], oldest_waiting, last_finished (jobs as
    `jobs --json` has them, or null), recent_failures [jobs]. Instants are ISO 8601, UTC.
    """
    from dropscribe.cli.arguments.settings import database_location
    from dropscribe.cli.output import print_json
    from dropscribe.ledger import backend
    from dropscribe.views.status import document, held_problems, problems, queue_of, read_process

    location = database_location(config, database)
    if watch:
        from dropscribe.cli.commands.control.watch import watch as watch_status

        watch_status(location)
        return
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

    said = process.said
    facts = [("database", location.name + ("" if queue else " (not made yet)"))]
    facts.append(("daemon", f"running, process {process.pid}" if process.running else "not running"))
    if said is not None:
        engine = said["engine"]
        facts += [
            ("state", f"{said['state']}, started {local(said['since'])}"),
            (
                "engine",
                f"{engine['model']} on {engine['device']}, {engine['precision']}" if engine else "loading",
            ),
            *(("models", text) for text in _models(said)),
            *(("station", text) for text in _stations(said)),
            *_listed("in progress", said["in_flight"], "recording", list(_running(said))),
            *_listed("not complete", said["unsettled"], "file", list(_unsettled(said))),
            *(("folder", f"{f['path']} ({f['backend']}): {f['problem'] or 'ok'}") for f in said["folders"]),
        ]
    from dropscribe.views.waiting import folder_waits

    for wait in folder_waits(said, queue.pauses if queue else ()):
        facts.append(("waits", f"{wait.folder or 'all folders'}: {wait.text()}"))
    if queue is not None:
        facts.append(("jobs", ", ".join(f"{n} {state.value}" for state, n in queue.counts.items())))
        facts += list(_job_facts(queue))
    facts += [("problem", text) for text in wrong]
    print_facts(facts, {"database"})


def _listed(name: str, count: int, what: str, lines: list[str]) -> Iterator[tuple[str, str]]:
    """A count, and the first of the things counted, a line each."""
    yield name, f"{count} {what}{'s' if count != 1 else ''}"
    for line in lines[:LISTED]:
        yield "", line
    if lines and count > LISTED:
        yield "", f"and {count - min(len(lines), LISTED)} more"


def _models(said: dict[str, Any]) -> Iterator[str]:
    # A daemon of the previous version does not write this key.
    named = [f"{m['name']} ({m['role']}, {m['state']})" for m in said.get("models", [])]
    if named:
        yield ", ".join(named)


def _stations(said: dict[str, Any]) -> Iterator[str]:
    # A daemon of the previous version does not write this key.
    for node in said.get("nodes", []):
        # A station of this machine has the name of its device.
        known = not node["device"] or node["device"].startswith(node["name"])
        device = (node["device"] or "").removeprefix(node["name"]) if known else f" on {node['device']}"
        why = f" ({node['reason']})" if node["reason"] else ""
        count = node["in_progress"]
        work = f", {count} recording{'s' if count != 1 else ''}" if count else ""
        yield f"{node['name']}{device}: {node['state']}{why}{work}"


def _running(said: dict[str, Any]) -> Iterator[str]:
    from dropscribe.cli.output import brief
    from dropscribe.views.jobs import progress_text

    # A daemon of the previous version does not write these keys.
    for job in said.get("in_progress", []):
        yield f"{_name(brief(Path(job['recording'])))} (job {job['job']}): {progress_text(job)}"


def _unsettled(said: dict[str, Any]) -> Iterator[str]:
    from dropscribe import durations
    from dropscribe.cli.output import brief

    for file in said.get("unsettled_files", []):
        waited = durations.spent(max(0.0, said["updated"] - file["since"]))
        yield f"{_name(brief(Path(file['path'])))}: {file['reason']} (for {waited})"


def _name(path: str) -> str:
    from dropscribe.cli.output import terminal_width
    from dropscribe.columns import shortened

    return shortened(path, terminal_width() // 2)


def _job_facts(queue: Queue) -> Iterator[tuple[str, str]]:
    from dropscribe.cli.output import brief, local
    from dropscribe.views.jobs import outcome

    if queue.oldest_waiting is not None:
        j = queue.oldest_waiting
        why = f": {j.reason} ({j.remedy})" if j.remedy else f": {j.reason}" if j.reason else ""
        yield "longest waiting", f"{_name(brief(j.recording))} (job {j.id}) since {local(j.admitted_at)}{why}"
    if queue.last_finished is not None:
        j = queue.last_finished
        done = outcome(j)
        yield "last finished", f"{_name(brief(j.recording))} (job {j.id}) at {local(j.finished_at)}: {done}"
    for j in queue.failures:
        yield "failed", f"{_name(brief(j.recording))} (job {j.id}): {j.reason} ({j.remedy})"
