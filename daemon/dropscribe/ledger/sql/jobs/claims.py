"""Claim jobs, count their attempts, renew leases, and return jobs to the queue whose worker is gone.

A claim is a lease with a generation number. It is no attempt: `begin` counts one when decoding begins. The worker that has
the lease may end the job. After the lease has expired the job is queued again, and later calls of that worker are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from dropscribe.files import FileSignature
from dropscribe.ledger.columns import OWN, RawPath, host_of, inode_of, mtime_of, path_of, raw, storable
from dropscribe.ledger.control import Terms
from dropscribe.ledger.fair_shares import Candidate, FairShares
from dropscribe.ledger.records import HELD, Claim, JobState, Recovered
from dropscribe.ledger.sql.dialect import Database, here, sql
from dropscribe.ledger.sql.jobs.interruptions import defer_lone_trials, drop_attempts, requeue
from dropscribe.ledger.sql.jobs.transitions import REFUSED_BY_LEDGER, transition
from dropscribe.ledger.sql.outbox.events import EventWriter

_EXPIRY = "its lease expired: the daemon did not renew it in time"
_KILLED = "the daemon was killed in the middle of it"

# A job waits while another one of the same content is running, or queued before it, because the result may be used for
# both. When there is a result already it does not wait; else ten thousand copies would be done one after the other. Nor
# does it wait for one of a host whose files cannot be read here, that is held, or in a folder that is `closed`, which may
# last for days. Before it are those of a higher priority, so that a job whose priority is raised need not wait for an older
# copy that nobody raised.
_WAITING_TWIN = (
    "EXISTS (SELECT 1 FROM jobs t WHERE t.identity = j.identity AND {before} AND {unfinished} AND @changing(t.state) = 'queued' "
    "AND coalesce(t.reason_code, '') NOT IN ({held}) "
    "AND @hex(t.folder_raw) NOT IN @texts(:closed) AND @storage(t.folder_raw) IN @texts(:here))"
).replace("{held}", ", ".join(f"'{code}'" for code in HELD))
_FREE_OF_TWINS = (
    "(NOT ({higher} OR {older} OR EXISTS (SELECT 1 FROM jobs t "
    "WHERE t.identity = j.identity AND t.id <> j.id AND {unfinished} AND @changing(t.state) = 'running')) "
    "OR EXISTS (SELECT 1 FROM jobs d WHERE d.identity = j.identity "
    "AND d.media IS NOT NULL AND d.reference_job_id IS NULL))"
).replace("{higher}", _WAITING_TWIN.replace("{before}", "t.priority > j.priority")).replace(
    "{older}", _WAITING_TWIN.replace("{before}", "t.priority = j.priority AND t.id < j.id")
)  # fmt: skip
# The condition of their index, word for word, and `@changing`: the indexes on states lead to all queued jobs, which are few or
# a hundred thousand, whatever statistics say. `t.id <> j.id` is always true of a running job; without it PostgreSQL may
# collect all running jobs first.
_FREE_OF_TWINS = _FREE_OF_TWINS.replace("{unfinished}", "t.state IN ('queued', 'running')")
_OPEN = "@hex(j.folder_raw) NOT IN @texts(:closed) AND @storage(j.folder_raw) IN @texts(:here)"

# Every folder with queued jobs, with one step in the index for each.
_QUEUES = sql(
    "WITH RECURSIVE f(folder) AS ("
    "SELECT (SELECT folder_raw FROM jobs WHERE state = 'queued' AND isolate = 0 ORDER BY folder_raw LIMIT 1) UNION ALL "
    "SELECT (SELECT folder_raw FROM jobs WHERE state = 'queued' AND isolate = 0 AND folder_raw > f.folder "
    "ORDER BY folder_raw LIMIT 1) "
    "FROM f WHERE f.folder IS NOT NULL) SELECT folder FROM f WHERE folder IS NOT NULL"
)
_QUEUE = sql(
    "SELECT j.id, j.unpublished, j.priority FROM jobs j WHERE j.state = 'queued' AND j.isolate = 0 "
    "AND j.folder_raw = :folder AND j.not_before <= :now AND {free} "
    "ORDER BY j.unpublished, j.priority DESC, j.id LIMIT :limit".replace("{free}", _FREE_OF_TWINS)
)
# In the order in which delays end, so that a job that fails repeatedly does not delay the other isolated jobs each time.
_ISOLATED = sql(
    "SELECT j.id FROM jobs j WHERE j.state = 'queued' AND j.isolate = 1 AND j.not_before <= :now "
    "AND {open} AND {free} ORDER BY j.not_before, j.id LIMIT 1".replace("{open}", _OPEN).replace(
        "{free}", _FREE_OF_TWINS
    )
)
_NEXT_ISOLATED = sql(
    "SELECT min(j.not_before) FROM jobs j WHERE j.state = 'queued' AND j.isolate = 1 AND {open} AND {free}".replace(
        "{open}", _OPEN
    ).replace("{free}", _FREE_OF_TWINS)
)
_CLAIM = sql(
    transition(
        JobState.RUNNING,
        "UPDATE jobs SET state = 'running', begun = 0, generation = generation + 1, "
        "claimed_by = :worker, claimed_at = :now, lease_until = :until "
        "WHERE {legal} AND @unlocked(jobs, :ids) RETURNING id",
    )
)
_CLAIMED = sql(
    "SELECT j.id, j.generation, j.attempts, j.max_attempts, j.profile, j.recipe, j.admitted_at, j.settle_s, "
    "j.not_before, j.isolate, j.lone_deaths, j.others_done, j.unpublished, r.path_raw, r.folder_raw, r.size, r.mtime_ns, r.inode, r.sha256, "
    "CASE WHEN j.supersedes_id IS NULL THEN j.version ELSE 1 END AS named_version, "
    "j.reference_job_id IS NOT NULL AS result_given, "
    "CASE WHEN j.reference_job_id IS NOT NULL THEN j.reference_job_id "
    "WHEN j.media IS NOT NULL THEN j.id ELSE (SELECT max(d.id) FROM jobs d WHERE d.identity = j.identity "
    "AND d.media IS NOT NULL AND d.reference_job_id IS NULL) END AS reference "
    "FROM jobs j JOIN recordings r ON r.id = j.recording_id "
    "WHERE j.id IN @ids(:ids) ORDER BY j.id"
)
_OPEN_ATTEMPTS = sql(
    "INSERT INTO attempts (job_id, generation, number, worker, started_at) "
    "SELECT id, generation, attempts + 1, claimed_by, claimed_at FROM jobs "
    "WHERE id IN @ids(:ids)"
)
_EXPIRED = sql("SELECT id FROM jobs WHERE state = 'running' AND lease_until < :now")
_RUNNING = sql("SELECT id, claimed_by FROM jobs WHERE state = 'running'")
# Repeating it for the same claim changes nothing: the commit of a call that failed may stand.
_BEGIN = sql(
    "UPDATE jobs SET attempts = attempts + 1 - begun, begun = 1 WHERE state = 'running' AND (id, generation) IN "
    "@rows(:ours, id, generation) RETURNING id"
)
# Not when the path has other content by now, or the recording a newer job.
_RESTORE_REFUSED = sql(
    "UPDATE jobs SET state = 'queued', attempts = 0, finished_at = NULL, not_before = :now, isolate = 0 "
    "WHERE state = 'failed' AND reason_code = '{code}' AND purged_at IS NULL "
    "AND EXISTS (SELECT 1 FROM recordings r WHERE r.id = recording_id AND r.latest = 1) "
    "AND NOT EXISTS (SELECT 1 FROM jobs n WHERE n.recording_id = jobs.recording_id AND n.id > jobs.id)".replace(
        "{code}", REFUSED_BY_LEDGER
    )
)
_RETURN_UNKNOWN = sql(
    transition(
        JobState.QUEUED,
        "UPDATE jobs SET state = 'queued', lease_until = NULL, claimed_by = NULL "
        "WHERE {legal} AND claimed_by = :worker AND id NOT IN @ids(:known) RETURNING id",
    )
)
_UNCLAIM = sql(
    transition(
        JobState.QUEUED,
        "UPDATE jobs SET state = 'queued', attempts = attempts - begun, begun = 0, lease_until = NULL, claimed_by = NULL "
        "WHERE {legal} AND (id, generation) IN "
        "@rows(:ours, id, generation) RETURNING id",
    )
)
_QUEUED_PROFILES = sql(
    "SELECT DISTINCT profile FROM jobs WHERE state = 'queued' AND @storage(folder_raw) IN @texts(:here)"
)
# The identity is content and recipe, as `admission.identity` makes it. A job that has its result, or refers to one, stays
# as it is.
_APPLY_RECIPE = sql(
    "UPDATE jobs SET recipe = :recipe, identity = CASE WHEN identity IS NOT NULL THEN "
    "(SELECT r.sha256 FROM recordings r WHERE r.id = recording_id) || '|' || :recipe END "
    "WHERE state = 'queued' AND profile = :profile AND recipe <> :recipe AND media IS NULL "
    "AND reference_job_id IS NULL AND @storage(folder_raw) IN @texts(:here)"
)
_PAUSED = sql("SELECT folder_raw FROM pauses WHERE draining = 0 OR folder_raw = :own").bindparams(own=OWN)
_HEARTBEAT = sql(
    "UPDATE jobs SET lease_until = :until WHERE state = 'running' AND (id, generation) IN "
    "@rows(:ours, id, generation) RETURNING id"
)


class Claims:
    """Claims on jobs."""

    def __init__(self, db: Database, events: EventWriter) -> None:
        self._db = db
        self._shares = FairShares()
        self._events = events

    def claim(
        self, worker: str, limit: int, now: float, lease_s: float, *, allow_isolated: bool, terms: Terms
    ) -> list[Claim]:
        """See `Ledger.claim`. Everything in one transaction, so that no two workers can see the same job as free."""
        with self._db.write("claim jobs") as connection:
            expired = _ids(connection.execute(_EXPIRED, {"now": now}))
            requeue(connection, expired, now, outcome="lost", reason=_EXPIRY, events=self._events)
            closed = _closed(connection, terms)
            if closed is None:
                return []
            values = {"now": now} | self._places(closed)
            ids: list[int] = []
            if allow_isolated:
                ids = _ids(connection.execute(_ISOLATED, values))
            if not ids:
                ids = self._choose(connection, limit, values, closed, terms)
            if not ids:
                return []
            taken = {"worker": storable(worker), "now": now, "until": now + lease_s, "ids": json.dumps(ids)}
            changed = set(_ids(connection.execute(_CLAIM, taken)))
            ids = [job for job in ids if job in changed]
            chosen = json.dumps(ids)
            connection.execute(_OPEN_ATTEMPTS, {"ids": chosen})
            claims = {row.id: _claim(row, now) for row in connection.execute(_CLAIMED, {"ids": chosen})}
            return [claims[job] for job in ids]

    def _choose(
        self, connection: Connection, limit: int, values: dict[str, Any], closed: set[bytes], terms: Terms
    ) -> list[int]:
        """Up to `limit` jobs that are not isolated. Queues are read only as far as their jobs are taken."""
        folders = [
            f for f in connection.scalars(_QUEUES).all() if f not in closed and path_of(f).is_absolute()
        ]
        found = {f: connection.execute(_QUEUE, values | {"folder": f, "limit": limit}) for f in folders}
        queues = {f: (Candidate(*row) for row in iter(rows.fetchone, None)) for f, rows in found.items()}
        chosen = self._shares.choose(queues, {raw(f): t for f, t in terms.of.items()}, limit)
        for rows in found.values():
            rows.close()
        return chosen

    def _places(self, closed: set[bytes]) -> dict[str, Any]:
        """Values of `_OPEN` and `_FREE_OF_TWINS`."""
        keys = [self._db.places.key(RawPath(folder)).hex().upper() for folder in closed]
        return {"closed": json.dumps(keys), "here": here(self._db)}

    def unclaim(self, ours: Sequence[tuple[int, int]]) -> None:
        """See `Ledger.unclaim`."""
        if not ours:
            return
        with self._db.write("give back claims") as connection:
            ids = _ids(connection.execute(_UNCLAIM, {"ours": json.dumps(list(ours))}))
            drop_attempts(connection, ids)

    def next_isolated(self, terms: Terms) -> float | None:
        """See `Ledger.next_isolated`."""
        with self._db.read("query isolated jobs") as connection:
            closed = _closed(connection, terms)
            if closed is None:
                return None
            values = self._places(closed)
            due = connection.scalar(_NEXT_ISOLATED, values)
        return None if due is None else float(due)

    def heartbeat(self, ours: Sequence[tuple[int, int]], now: float, lease_s: float) -> set[int]:
        """See `Ledger.heartbeat`."""
        if not ours:
            return set()
        with self._db.write("renew leases") as connection:
            values = {"until": now + lease_s, "ours": json.dumps(list(ours))}
            kept = _ids(connection.execute(_HEARTBEAT, values))
        return {job for job, _ in ours} - set(kept)

    def begin(self, ours: Sequence[tuple[int, int]]) -> set[int]:
        """See `Ledger.begin`."""
        if not ours:
            return set()
        with self._db.write("begin decoding") as connection:
            begun = _ids(connection.execute(_BEGIN, {"ours": json.dumps(list(ours))}))
        return {job for job, _ in ours} - set(begun)

    def recover(self, now: float) -> Recovered:
        """See `Ledger.recover`."""
        with self._db.write("recover interrupted jobs") as connection:
            found = connection.execute(_RUNNING).all()
            ids = [int(job) for job, worker in found if host_of(worker or "") == self._db.places.host]
            return requeue(connection, ids, now, outcome="interrupted", reason=_KILLED, events=self._events)

    def defer_lone_trials(self, now: float) -> None:
        """See `Ledger.defer_lone_trials`.

        Loading an engine takes longer than these delays: counted from the start, they would end before another recording
        could be finished.
        """
        with self._db.write("defer lone trials") as connection:
            defer_lone_trials(connection, now)

    def restore_refused(self, now: float) -> int:
        """See `Ledger.restore_refused`."""
        with self._db.write("restore jobs that the database failed") as connection:
            return connection.execute(_RESTORE_REFUSED, {"now": now}).rowcount

    def return_unknown(self, worker: str, known: Sequence[int]) -> int:
        """See `Ledger.return_unknown`."""
        with self._db.write("return unknown claims to the queue") as connection:
            values = {"worker": storable(worker), "known": json.dumps(list(known))}
            ids = _ids(connection.execute(_RETURN_UNKNOWN, values))
            if ids:
                drop_attempts(connection, ids)
        return len(ids)

    def apply_recipes(self, recipe: Callable[[str], str]) -> int:
        """See `Ledger.apply_recipes`."""
        changed = 0
        with self._db.write("apply the recipes in force") as connection:
            reached = {"here": here(self._db)}
            for profile in connection.scalars(_QUEUED_PROFILES, reached).all():
                values = reached | {"profile": profile, "recipe": storable(recipe(profile))}
                changed += connection.execute(_APPLY_RECIPE, values).rowcount
        return changed


def _closed(connection: Connection, terms: Terms) -> set[bytes] | None:
    """Folders of which nothing may be claimed, by the terms and by the pauses on record; None if that is all folders."""
    # Not those of other hosts, one of which may have the same bytes as one that is here.
    paused = {f for f in connection.scalars(_PAUSED).all() if not f or path_of(f).is_absolute()}
    return None if b"" in paused else paused | {raw(folder) for folder in terms.closed()}


def _ids(result: sa.CursorResult[Any]) -> list[int]:
    return [int(row[0]) for row in result]


@lru_cache(maxsize=1024, typed=True)
def _folder_of(raw_path: bytes) -> Path:
    """As `path_of`: the same object for all jobs of a folder, which is compared in no time."""
    return path_of(raw_path)


def _claim(row: Row[Any], now: float) -> Claim:
    return Claim(
        job_id=row.id,
        generation=row.generation,
        attempt=row.attempts + 1,
        max_attempts=row.max_attempts,
        path=path_of(row.path_raw),
        folder=_folder_of(row.folder_raw),
        signature=FileSignature(row.size, mtime_of(row.mtime_ns), inode_of(row.inode)),
        sha256=row.sha256,
        profile=row.profile,
        recipe=row.recipe,
        admitted_at=row.admitted_at,
        settle_s=row.settle_s,
        # Not negative when the clock was set back.
        waited_s=max(0.0, now - max(row.admitted_at, row.not_before)),
        reference=row.reference,
        isolate=bool(row.isolate),
        lone_deaths=row.lone_deaths,
        others_done=bool(row.others_done),
        unpublished=row.unpublished,
        named_version=row.named_version,
        result_given=bool(row.result_given),
    )
