"""JSON document of a daemon: its status file, its problems, its queue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dropscribe.ledger.backend import lock_owner
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import AWAY, HANGS, NO_ROOM, JobState
from dropscribe.service.monitoring import status_file
from dropscribe.views.fields import utc
from dropscribe.views.jobs import Progress, job_document
from dropscribe.views.waiting import folder_waits

if TYPE_CHECKING:
    from dropscribe.ledger.control import Pause
    from dropscribe.ledger.records import HeldJobs, JobSummary

STATUS_SCHEMA = "dropscribe/daemon/1"
#: Age of the status file at which the daemon counts as hanging, seconds; a working one writes it every 2 s.
SILENT_S = 30.0
#: Number of newest failed jobs shown, and the longest time since their admission, seconds.
FAILURES = 5
FAILURES_S = 24 * 3600.0
#: Number of reasons shown why jobs are held.
HELD_REASONS = 3
#: Number of newest jobs among which the last finished one is searched: jobs finish nearly in order.
NEWEST = 200


#: States of a station that need a person, and what to do.
STATION_REMEDIES = {
    "silent": "see the load of its machine, and its network; nothing is lost",
    "refused": "correct it there; it is examined again every minute",
    "lost": "see its device, or in a cluster its machine and Ray; its recordings go to the others",
}


@dataclass(frozen=True, slots=True)
class Process:
    """The daemon's process. `said`: content of its status file, dropscribe/status/1; None without one. `host`: its name, or ""."""

    running: bool
    pid: int | None
    said: dict[str, Any] | None
    host: str = ""


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue as recorded in the ledger."""

    counts: dict[JobState, int]
    oldest_waiting: JobSummary | None
    last_finished: JobSummary | None
    failures: tuple[JobSummary, ...]
    held: tuple[HeldJobs, ...] = ()
    pauses: tuple[Pause, ...] = ()


def read_process(location: DatabaseLocation) -> Process:
    """Find the process that holds the database's lock, and read its status file."""
    owner = lock_owner(location)
    if owner is None:
        return Process(running=False, pid=None, said=None, host=location.places.host)
    said = status_file.read(location)
    # A status file with another pid was left by a killed daemon.
    return Process(running=True, pid=owner.pid, said=said if said and said["pid"] == owner.pid else None)


def said_by(location: DatabaseLocation) -> dict[str, Any] | None:
    """The status document of the running daemon; None if there is none, or it cannot be read."""
    try:
        return read_process(location).said
    except (OSError, ValueError):
        return None


def jobs_in_progress(said: dict[str, Any] | None) -> dict[int, Progress]:
    """Progress of running jobs by number, as their daemon states it."""
    # A daemon of the previous version does not write this key.
    return {} if said is None else {job["job"]: job for job in said.get("in_progress", [])}


def problems(process: Process, now: float) -> Iterator[str]:
    """Yield each problem of the daemon with its remedy; nothing if it is healthy. `now`: epoch seconds."""
    if not process.running:
        whose = f" of host {process.host}" if process.host else ""
        yield f"no daemon{whose} is running on this database (start it: systemctl start dropscribe, with --user for a service of your own, or dropscribe run)"
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
    # The previous version does not write this key.
    for complaint in said.get("storage", []):
        yield f"{complaint['problem']} ({complaint['remedy']})"
    for model in said.get("models", []):
        if model["state"] == "failed":
            yield f"{model['name']} ({model['role']}) cannot be loaded: {model['problem']}"
    for node in said.get("nodes", []):
        if node["state"] in STATION_REMEDIES:
            remedy = STATION_REMEDIES[node["state"]]
            yield f"station {node['name']} is {node['state']}: {node['reason']} ({remedy})"
    for folder in said["folders"]:
        if folder["problem"]:
            remedy = f" ({folder['remedy']})" if folder["remedy"] else ""
            yield f"{folder['path']}: {folder['problem']}{remedy}"


def held_problems(queue: Queue) -> Iterator[str]:
    """Yield why jobs are held, each with its remedy, except reasons that the daemon itself reports in its status file."""
    told = [h for h in queue.held if h.code not in {AWAY, NO_ROOM, HANGS}]
    for held in told[:HELD_REASONS]:
        jobs = f"job {held.first} is" if held.count == 1 else f"{held.count} jobs are"
        remedy = f" ({held.remedy})" if held.remedy else ""
        yield f"{jobs} held: {held.reason}{remedy}"
    more = sum(h.count for h in told[HELD_REASONS:])
    if more:
        yield f"{more} more jobs are held for other reasons ('dropscribe jobs --state held' lists them)"


def document(
    location: DatabaseLocation, process: Process, queue: Queue | None, wrong: list[str]
) -> dict[str, Any]:
    """dropscribe/daemon/1: database, running, healthy, problems [text], pid, state ("starting", "ready", "draining"), since,
    updated, engine, models [{role, name, state ("loaded", "loading", "waiting" for memory, "failed"), bytes, problem}], nodes [{name, device, state ("starting", "ready", "silent", "refused", "lost"), reason, in_progress}] (stations: of several devices, or of a cluster), folders [{path, backend, problem, remedy}], storage [{problem, remedy}], in_flight, unsettled,
    in_progress [{job, recording, stage, position_ms, duration_ms, elapsed_s}], unsettled_files [{path, code, reason, since}]
    (null if it is not running), counts {state: jobs}, load {recordings_per_min, audio_rate, decoders, decoders_busy}, waits [{folder, code, reason, until}] (of folders whose recordings are not begun; folder null: of all), held [{code, reason, remedy, jobs, first}], oldest_waiting, last_finished (each as `job_document`, or
    null), recent_failures [jobs]. Instants are ISO 8601, UTC.
    """
    said = process.said or {}

    def job(one: JobSummary | None) -> dict[str, Any] | None:
        return None if one is None else job_document(one)

    return {
        "schema": STATUS_SCHEMA,
        "database": location.name,
        "running": process.running,
        "healthy": not wrong,
        "problems": wrong,
        "pid": process.pid,
        "state": said.get("state"),
        "since": utc(said.get("since")),
        "updated": utc(said.get("updated")),
        "engine": said.get("engine"),
        "models": said.get("models"),
        "nodes": said.get("nodes"),
        "folders": said.get("folders"),
        "storage": said.get("storage"),
        "in_flight": said.get("in_flight"),
        "unsettled": said.get("unsettled"),
        "in_progress": said.get("in_progress"),
        "unsettled_files": [file | {"since": utc(file["since"])} for file in said["unsettled_files"]]
        if "unsettled_files" in said
        else None,
        "counts": None if queue is None else {s.value: n for s, n in queue.counts.items()},
        "load": said.get("load"),
        "waits": [w.document() for w in folder_waits(process.said, queue.pauses if queue else ())],
        "held": [
            {"code": h.code, "reason": h.reason, "remedy": h.remedy, "jobs": h.count, "first": h.first}
            for h in (queue.held if queue else ())
        ],
        "oldest_waiting": job(queue.oldest_waiting) if queue else None,
        "last_finished": job(queue.last_finished) if queue else None,
        "recent_failures": [job_document(j) for j in queue.failures] if queue else [],
    }


def queue_of(ledger: Ledger, now: float) -> Queue:
    """Read the queue from a ledger; `now`: epoch seconds."""
    waiting = ledger.jobs(state=JobState.QUEUED, limit=1, oldest_first=True)
    done = ledger.jobs(state=JobState.DONE, limit=NEWEST)
    return Queue(
        ledger.counts(),
        waiting[0] if waiting else None,
        max(done, key=lambda j: j.finished_at or 0.0, default=None),
        tuple(ledger.jobs(state=JobState.FAILED, since=now - FAILURES_S, limit=FAILURES)),
        tuple(ledger.held()),
        tuple(ledger.pauses()),
    )
