"""Apply what people ask of the queue, and record who asked for what."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from dropscribe.escapes import readable
from dropscribe.ledger.columns import OWN, below, path_of, raw, storable
from dropscribe.ledger.control import Action, Change, Pause, Selection, Verb
from dropscribe.ledger.records import HELD, JobState
from dropscribe.ledger.sql.dialect import Database, sql
from dropscribe.ledger.sql.jobs.transitions import BY_REQUEST, CHANGED, transition
from dropscribe.ledger.sql.schema import actions

_JOB = sql(
    "SELECT j.id, j.state, j.reason_code, j.reason, j.not_before, j.priority, j.purged_at, r.path_raw, r.latest, "
    "(SELECT max(n.id) FROM jobs n WHERE n.recording_id = j.recording_id) AS newest "
    "FROM jobs j JOIN recordings r ON r.id = j.recording_id WHERE j.id = :id"
)
# A result that could not be published stays: only that is tried again.
_RETRY = sql(
    transition(
        JobState.QUEUED,
        "UPDATE jobs SET state = 'queued', attempts = 0, finished_at = NULL, not_before = 0, isolate = 0, "
        "lone_deaths = 0, others_done = 0, unpublished = 0, reason_code = NULL, reason = NULL, remedy = NULL "
        "WHERE {legal} AND id = :id",
        retried=True,
    )
)
# The hold itself stays on record until the job is claimed, or its daemon holds it again.
_END_DELAY = sql(
    "UPDATE jobs SET not_before = 0, lone_deaths = 0, others_done = 0 WHERE state = 'queued' AND id = :id"
)
_CANCEL = sql(
    transition(
        JobState.CANCELLED,
        "UPDATE jobs SET state = 'cancelled', finished_at = :now, lease_until = NULL, claimed_by = NULL, "
        "reason_code = :code, reason = :reason, remedy = NULL WHERE {legal} AND id = :id",
    )
)
_CLOSE_ATTEMPT = sql(
    "UPDATE attempts SET ended_at = :now, outcome = 'cancelled', code = :code, reason = :reason "
    "WHERE job_id = :id AND outcome IS NULL"
)
_PRIORITY = sql(
    "UPDATE jobs SET priority = :priority, priority_given = 1 WHERE state IN ('queued', 'running') AND id = :id"
)
_FOLDER_PRIORITY = sql(
    "UPDATE jobs SET priority = :priority WHERE state = 'queued' AND priority_given = 0 AND priority <> :priority "
    "AND isolate IN (0, 1) AND folder_raw = :folder"
)
# A drain is of one host, and nothing to the others.
_PAUSES = sql(
    "SELECT folder_raw, who, since, draining FROM pauses WHERE draining = 0 OR folder_raw = :own "
    "ORDER BY draining, folder_raw"
).bindparams(own=OWN)
_PAUSE = sql(
    "INSERT INTO pauses (folder_raw, folder, who, since, draining) VALUES (:raw, :folder, :who, :now, :draining) "
    "ON CONFLICT DO NOTHING"
)
_RESUME = sql("DELETE FROM pauses WHERE folder_raw = :raw AND draining = :draining")
_ACTIONS = (
    "SELECT at, who, action, job_id, folder, found, made FROM actions {where} ORDER BY id DESC LIMIT :limit"
)
_SELECT = (
    "SELECT j.id FROM recordings r @joined() jobs j ON j.recording_id = r.id "
    "WHERE r.latest = 1 AND j.id = (SELECT max(n.id) FROM jobs n WHERE n.recording_id = r.id AND n.profile = j.profile) "
    "AND {conditions}"
)
#: Most paths in one statement: SQLite allows expressions of a depth of 1000, and 32766 values.
_PATHS = 200
_NOT_NEWEST = "job {newest} of the recording is newer: name that one"
_WAS_PURGED = "it was purged: 'dropscribe jobs redo' transcribes the recording again"
_OTHER_CONTENT = "the recording has other content by now"


class Actions:
    """Actions of people on jobs and folders."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def select(self, which: Selection) -> list[int]:
        """See `Ledger.select`."""
        found: set[int] = set()
        with self._db.read("select jobs") as connection:
            for some in _slices(which):
                conditions, values = _conditions(some)
                statement = sql(_SELECT.replace("{conditions}", " AND ".join(conditions) or "true"))
                found.update(connection.scalars(statement, values))
        return sorted(found)

    def retry(self, jobs: Sequence[int], now: float, who: str) -> list[Change]:
        """See `Ledger.retry`."""

        def apply(connection: Connection, job: Row[Any]) -> Change:
            if job.state == JobState.QUEUED and (job.not_before > now or job.reason_code in HELD):
                connection.execute(_END_DELAY, {"id": job.id})
                return _answer(job, _state(job), JobState.QUEUED, changed=True)
            if job.state not in {JobState.FAILED, JobState.CANCELLED}:
                why = {
                    JobState.QUEUED: "it is in the queue already",
                    JobState.RUNNING: "it is being worked on",
                    JobState.DONE: "it is done: 'dropscribe jobs redo' makes its transcript again",
                }
                return _answer(job, job.state, job.state, why[JobState(job.state)])
            refusal = _OTHER_CONTENT if not job.latest or job.reason_code == CHANGED else ""
            if not refusal and job.purged_at is not None:
                refusal = _WAS_PURGED
            if not refusal and job.newest != job.id:
                refusal = _NOT_NEWEST.replace("{newest}", str(job.newest))
            if refusal:
                return _answer(job, job.state, job.state, refusal)
            connection.execute(_RETRY, {"id": job.id})
            return _answer(job, job.state, JobState.QUEUED, changed=True)

        return self._each(Verb.RETRY, jobs, now, who, apply)

    def cancel(self, jobs: Sequence[int], now: float, who: str) -> list[Change]:
        """See `Ledger.cancel_jobs`."""
        why = {"now": now, "code": BY_REQUEST, "reason": storable(f"cancelled by {who}")}

        def apply(connection: Connection, job: Row[Any]) -> Change:
            if connection.execute(_CANCEL, why | {"id": job.id}).rowcount:
                connection.execute(_CLOSE_ATTEMPT, why | {"id": job.id})
                return _answer(job, _state(job), JobState.CANCELLED, changed=True)
            return _answer(job, job.state, job.state, f"it is {job.state} already")

        return self._each(Verb.CANCEL, jobs, now, who, apply)

    def prioritise(self, jobs: Sequence[int], priority: int, now: float, who: str) -> list[Change]:
        """See `Ledger.prioritise`."""

        def apply(connection: Connection, job: Row[Any]) -> Change:
            found = f"{_state(job)}, priority {job.priority}"
            if connection.execute(_PRIORITY, {"id": job.id, "priority": priority}).rowcount:
                made = f"{_state(job)}, priority {priority}"
                return _answer(job, found, made, changed=job.priority != priority)
            return _answer(job, found, found, f"it is {job.state} already")

        return self._each(Verb.PRIORITY, jobs, now, who, apply)

    def apply_priorities(self, priorities: dict[Path, int]) -> int:
        """See `Ledger.apply_priorities`."""
        with self._db.write("apply the priorities of folders") as connection:
            return sum(
                connection.execute(_FOLDER_PRIORITY, {"folder": raw(f), "priority": p}).rowcount
                for f, p in priorities.items()
            )

    def pauses(self) -> list[Pause]:
        """See `Ledger.pauses`."""
        with self._db.read("read pauses") as connection:
            return [_pause(row) for row in connection.execute(_PAUSES)]

    def pause(self, folder: Path | None, now: float, who: str, *, draining: bool = False) -> Pause | None:
        """See `Ledger.pause`."""
        with self._db.write("pause") as connection:
            found = _found(connection, folder, draining=draining)
            if found is None:
                values = {
                    "raw": _raw(folder, draining=draining),
                    "folder": "" if folder is None else readable(folder),
                    "who": storable(who),
                }
                connection.execute(_PAUSE, values | {"now": now, "draining": int(draining)})
            verb = Verb.DRAIN if draining else Verb.PAUSE
            made = "draining" if draining else "paused"
            before = "working" if found is None else made
            record(connection, now, who, verb, found=before, made=made, folder=_readable(folder))
            return found

    def resume(self, folder: Path | None, now: float, who: str, *, draining: bool = False) -> Pause | None:
        """See `Ledger.resume_folder`."""
        with self._db.write("resume") as connection:
            found = _found(connection, folder, draining=draining)
            connection.execute(_RESUME, {"raw": _raw(folder, draining=draining), "draining": int(draining)})
            before = "working" if found is None else "draining" if draining else "paused"
            record(connection, now, who, Verb.RESUME, found=before, made="working", folder=_readable(folder))
            return found

    def history(self, limit: int, job_id: int | None) -> list[Action]:
        """See `Ledger.actions`."""
        where = "" if job_id is None else "WHERE job_id = :job"
        with self._db.read("list actions") as connection:
            rows = connection.execute(
                sql(_ACTIONS.replace("{where}", where)),
                {"limit": limit} | ({"job": job_id} if job_id else {}),
            )
            return [Action(*row) for row in rows]

    def _each(
        self,
        verb: Verb,
        jobs: Sequence[int],
        now: float,
        who: str,
        apply: Callable[[Connection, Row[Any]], Change],
    ) -> list[Change]:
        with self._db.write(f"{verb} jobs") as connection:
            answers = []
            for number in jobs:
                job = connection.execute(_JOB, {"id": number}).one_or_none()
                if job is None:
                    answers.append(Change(number, "", "", reason="there is no such job"))
                    continue
                answers.append(apply(connection, job))
            rows = [
                {"at": now, "who": storable(who), "action": verb.value, "job_id": c.job_id, "found": c.found, "made": c.made}
                for c in answers
                if c.found
            ]  # fmt: skip
            if rows:
                connection.execute(sa.insert(actions), rows)
            return answers


def record(connection: Connection, now: float, who: str, verb: Verb, **on: object) -> None:
    """Add an action to the history, in the transaction that carries it out. `on`: columns of `actions`."""
    values = {"at": now, "who": storable(who), "action": verb.value} | on
    connection.execute(sa.insert(actions), values)


def _slices(which: Selection) -> Iterator[Selection]:
    """Selections of at most `_PATHS` paths each that mean the same together."""
    yield replace(which, paths=which.paths[:_PATHS])
    for first in range(_PATHS, len(which.paths), _PATHS):
        yield replace(which, jobs=(), paths=which.paths[first : first + _PATHS])


def _conditions(which: Selection) -> tuple[list[str], dict[str, object]]:
    """Conditions of `_SELECT`, and their values."""
    conditions: list[str] = []
    values: dict[str, object] = {}
    if which.states:
        conditions.append("j.state IN @texts(:states)")
        values["states"] = json.dumps([s.value for s in which.states])
    if which.held:
        conditions.append("j.reason_code IN @texts(:held)")
        values["held"] = json.dumps(HELD)
    if which.match:
        conditions.append("@position(lower(r.path), lower(:match)) > 0")
        values["match"] = storable(which.match)
    if which.profile is not None:
        conditions.append("j.profile = :profile")
        values["profile"] = storable(which.profile)
    if which.reason_code is not None:
        conditions.append("j.reason_code = :code")
        values["code"] = storable(which.reason_code)
    named = []
    if which.jobs:
        named.append("j.id IN @ids(:jobs)")
        values["jobs"] = json.dumps(list(which.jobs))
    for n, path in enumerate(which.paths):
        first, last = below(path)
        named.append(f"r.path_raw = :path{n} OR @within(r.path_raw, :first{n}, :last{n})")
        values |= {f"path{n}": raw(path), f"first{n}": first, f"last{n}": last}
    if named:
        conditions.append(f"({' OR '.join(named)})")
    return conditions, values


def _answer(job: Row[Any], found: str, made: str, reason: str = "", *, changed: bool = False) -> Change:
    return Change(job.id, str(found), str(made), path_of(job.path_raw), reason, changed)


def _state(job: Row[Any]) -> str:
    """The state in a word for people, as `JobSummary.shown_state`."""
    return "held" if job.state == JobState.QUEUED and job.reason_code in HELD else str(job.state)


def _readable(folder: Path | None) -> str | None:
    return None if folder is None else readable(folder)


def _raw(folder: Path | None, *, draining: bool) -> bytes:
    """What the table has for a folder. A pause of all folders is that of all hosts, but each host is drained by itself."""
    return raw(folder) if folder is not None else OWN if draining else b""


def _pause(row: Row[Any]) -> Pause:
    folder = path_of(row.folder_raw) if row.folder_raw else None
    return Pause(folder, row.who, row.since, bool(row.draining))


def _found(connection: Connection, folder: Path | None, *, draining: bool) -> Pause | None:
    """The pause on record of exactly this folder."""
    pauses = map(_pause, connection.execute(_PAUSES))
    return next((p for p in pauses if p.folder == folder and p.draining is draining), None)
