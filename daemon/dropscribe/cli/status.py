"""`dropscribe status`: is a daemon at work on this database, is it well, and how far is it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dropscribe.ledger.interface import DatabaseLocation
    from dropscribe.ledger.records import JobState, JobSummary

STATUS_SCHEMA = "dropscribe/daemon/1"
#: A daemon at work says how it is every 2 s; one that was not heard for so long hangs, seconds.
SILENT_S = 30.0
#: Failed jobs shown, the newest, and how far back they are looked for, seconds.
FAILURES = 5
FAILURES_S = 24 * 3600.0
#: The last finished job is looked for among so many of the newest: jobs finish nearly in order.
NEWEST = 200


@dataclass(frozen=True, slots=True)
class Process:
    """What can be seen of the daemon. `said`: its status file, schema dropscribe/status/1; None without one."""

    running: bool
    pid: int | None
    said: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Queue:
    """What the ledger says."""

    counts: dict[JobState, int]
    oldest_waiting: JobSummary | None
    last_finished: JobSummary | None
    failures: tuple[JobSummary, ...]


def command(
    config: Annotated[
        Path | None, typer.Option(help="Configuration file (TOML) that names the database.")
    ] = None,
    database: Annotated[
        Path | None, typer.Option(help="The job history (default: as configured, else ./jobs.db).")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print dropscribe/daemon/1 as JSON.")] = False,
) -> None:
    """Say whether a daemon runs on the database and is well (exit 0) or not (exit 1), and what it has to do.

    JSON, dropscribe/daemon/1: database, running, healthy, problems [text], pid, state ("starting", "ready",
    "draining"), since, updated, engine, folders [{path, backend, problem, remedy}], storage [{problem, remedy}],
    in_flight, unsettled (null when it does not run), counts {state: jobs}, oldest_waiting, last_finished (jobs as
    `jobs --json` has them, or null), recent_failures [jobs]. Instants are ISO 8601, UTC.
    """
    from dropscribe.cli.history import database_location
    from dropscribe.cli.output import print_json
    from dropscribe.ledger import backend

    location = database_location(config, database)
    now = time.time()
    process = look(location)
    queue = _ask(location, now) if backend.exists(location) else None
    wrong = list(problems(process, now))
    if as_json:
        print_json(document(location, process, queue, wrong))
    else:
        _print(location, process, queue, wrong)
    if wrong:
        raise typer.Exit(1)


def look(location: DatabaseLocation) -> Process:
    """See whether a process holds the database's lock, and read what it says of itself."""
    from dropscribe.ledger.backend import lock_owner
    from dropscribe.service import status_file

    owner = lock_owner(location)
    if owner is None:
        return Process(running=False, pid=None, said=None)
    said = status_file.read(location)
    # One that was killed leaves its last words behind.
    return Process(running=True, pid=owner.pid, said=said if said and said["pid"] == owner.pid else None)


def problems(process: Process, now: float) -> Iterator[str]:
    """What is wrong and what to do about it; nothing when the daemon is well. `now`: epoch seconds."""
    if not process.running:
        yield "no daemon is running on this database (start it: systemctl start dropscribe, or dropscribe run)"
        return
    said = process.said
    if said is None:
        yield "the daemon has only just started, or cannot write its status file (see the log)"
        return
    silent = now - said["updated"]
    if silent > SILENT_S:
        yield f"the daemon was not heard for {silent:.0f} s (see the log; restart it if it hangs)"
    if said["state"] != "ready":
        yield f"the daemon is {said['state']} (wait for it)"
    # A daemon of the version before said nothing of it.
    for complaint in said.get("storage", []):
        yield f"{complaint['problem']} ({complaint['remedy']})"
    for folder in said["folders"]:
        if folder["problem"]:
            remedy = f" ({folder['remedy']})" if folder["remedy"] else ""
            yield f"{folder['path']}: {folder['problem']}{remedy}"


def document(
    location: DatabaseLocation, process: Process, queue: Queue | None, wrong: list[str]
) -> dict[str, Any]:
    """What `--json` prints; described at `command`."""
    from dropscribe.cli.history import job_document
    from dropscribe.cli.output import readable, utc

    said = process.said or {}

    def job(one: JobSummary | None) -> dict[str, Any] | None:
        return None if one is None else job_document(one)

    return {
        "schema": STATUS_SCHEMA,
        "database": readable(location.file),
        "running": process.running,
        "healthy": not wrong,
        "problems": wrong,
        "pid": process.pid,
        "state": said.get("state"),
        "since": utc(said.get("since")),
        "updated": utc(said.get("updated")),
        "engine": said.get("engine"),
        "folders": said.get("folders"),
        "storage": said.get("storage"),
        "in_flight": said.get("in_flight"),
        "unsettled": said.get("unsettled"),
        "counts": None if queue is None else {s.value: n for s, n in queue.counts.items()},
        "oldest_waiting": job(queue.oldest_waiting) if queue else None,
        "last_finished": job(queue.last_finished) if queue else None,
        "recent_failures": [job_document(j) for j in queue.failures] if queue else [],
    }


def _ask(location: DatabaseLocation, now: float) -> Queue:
    from dropscribe.ledger.backend import open_read_only
    from dropscribe.ledger.records import JobState

    with closing(open_read_only(location)) as ledger:
        waiting = ledger.jobs(state=JobState.QUEUED, limit=1, oldest_first=True)
        done = ledger.jobs(state=JobState.DONE, limit=NEWEST)
        return Queue(
            ledger.counts(),
            waiting[0] if waiting else None,
            max(done, key=lambda j: j.finished_at or 0.0, default=None),
            tuple(ledger.jobs(state=JobState.FAILED, since=now - FAILURES_S, limit=FAILURES)),
        )


def _print(location: DatabaseLocation, process: Process, queue: Queue | None, wrong: list[str]) -> None:
    from dropscribe.cli.output import local, print_facts, readable

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
    from dropscribe.cli.history import brief
    from dropscribe.cli.output import local

    if queue.oldest_waiting is not None:
        j = queue.oldest_waiting
        why = f": {j.reason} ({j.remedy})" if j.remedy else f": {j.reason}" if j.reason else ""
        yield "longest waiting", f"job {j.id} since {local(j.admitted_at)}, {brief(j.recording)}{why}"
    if queue.last_finished is not None:
        j = queue.last_finished
        yield "last finished", f"job {j.id} at {local(j.finished_at)}: {brief(j.recording)}"
    for j in queue.failures:
        yield "failed", f"job {j.id}, {brief(j.recording)}: {j.reason} ({j.remedy})"
