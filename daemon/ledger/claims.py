"""Taking jobs and keeping them: claim, heartbeat, and what happens to those whose worker is gone.

A claim is a lease with a generation. The worker that holds both may end the job; once the lease has expired
another may take the job over, with the next generation, and everything the first says later is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from daemon.ledger.db import Database
from daemon.ledger.records import Claim, JobState
from daemon.ledger.stat_numbers import inode_of, mtime_of
from daemon.ledger.text import path_of, storable
from daemon.ledger.transitions import REFUSED_BY_LEDGER, transition

#: Why a job failed whose every try ended with its worker gone.
WORN_OUT = "worker_lost"
WORN_OUT_REASON = "each try ended with the worker killed or hung, {attempts} times"
WORN_OUT_REMEDY = (
    "look at the log around those times; convert the recording, or drop a copy of it to try again"
)

_EXPIRY = "its lease expired"

# A job waits while an older one of the same content is under way: its result may serve for both. Where there is
# such a result already nothing has to be waited for, or ten thousand copies would be done one by one.
_FREE_OF_TWINS = (
    "(NOT EXISTS (SELECT 1 FROM jobs t WHERE t.identity = j.identity AND t.id < j.id "
    "AND t.state IN ('queued', 'running')) "
    "OR EXISTS (SELECT 1 FROM jobs d WHERE d.identity = j.identity AND d.state = 'done' "
    "AND d.reference_job_id IS NULL))"
)

# One statement, so that no two workers can see the same job as free. Tries are counted here, not at the end:
# a recording that kills the process runs out of them.
_CLAIM = sa.text(
    transition(
        JobState.RUNNING,
        "UPDATE jobs SET state = 'running', attempts = attempts + 1, generation = generation + 1, "
        "claimed_by = :worker, claimed_at = :now, lease_until = :until "
        "WHERE {legal} AND id IN ("
        "SELECT j.id FROM jobs j WHERE j.state = 'queued' AND j.isolate = :isolate AND j.not_before <= :now "
        "AND {free} "
        "UNION ALL "
        "SELECT j.id FROM jobs j WHERE j.state = 'running' AND j.lease_until < :now AND j.isolate = :isolate "
        "AND {free} "
        "ORDER BY 1 LIMIT :limit) RETURNING id",
    ).replace("{free}", _FREE_OF_TWINS)
)
_NEXT_ISOLATED = sa.text(
    "SELECT min(j.not_before) FROM jobs j WHERE j.state = 'queued' AND j.isolate = 1 AND {free}".replace(
        "{free}", _FREE_OF_TWINS
    )
)
_CLAIMED = sa.text(
    "SELECT j.id, j.generation, j.attempts, j.max_attempts, j.profile, j.recipe, j.admitted_at, j.settle_s, "
    "j.not_before, j.isolate, r.path_raw, r.folder_raw, r.size, r.mtime_ns, r.inode, r.sha256, "
    "(SELECT max(d.id) FROM jobs d WHERE d.identity = j.identity AND d.state = 'done' "
    "AND d.reference_job_id IS NULL) AS reference "
    "FROM jobs j JOIN recordings r ON r.id = j.recording_id "
    "WHERE j.id IN (SELECT value FROM json_each(:ids)) ORDER BY j.id"
)
_OPEN_ATTEMPTS = sa.text(
    "INSERT INTO attempts (job_id, generation, number, worker, started_at) "
    "SELECT id, generation, attempts, claimed_by, claimed_at FROM jobs "
    "WHERE id IN (SELECT value FROM json_each(:ids))"
)
_EXPIRED = sa.text("SELECT id FROM jobs WHERE state = 'running' AND lease_until < :now")
_RUNNING = sa.text("SELECT id FROM jobs WHERE state = 'running'")
_CLOSE_ATTEMPTS = sa.text(
    "UPDATE attempts SET ended_at = :now, outcome = :outcome, reason = :reason "
    "WHERE outcome IS NULL AND job_id IN (SELECT value FROM json_each(:ids))"
)
_FAIL_WORN_OUT = sa.text(
    transition(
        JobState.FAILED,
        "UPDATE jobs SET state = 'failed', finished_at = :now, lease_until = NULL, claimed_by = NULL, "
        "reason_code = :code, reason = replace(:reason, '{attempts}', attempts), remedy = :remedy "
        "WHERE {legal} AND attempts >= max_attempts "
        "AND id IN (SELECT value FROM json_each(:ids)) RETURNING id",
    )
)
_REQUEUE = sa.text(
    transition(
        JobState.QUEUED,
        "UPDATE jobs SET state = 'queued', lease_until = NULL, claimed_by = NULL, not_before = :now, "
        "reason_code = 'interrupted', reason = 'the daemon stopped in the middle of it' "
        "WHERE {legal} AND id IN (SELECT value FROM json_each(:ids))",
    )
)
# Unless other content stands at its path, or a newer job of the recording.
_RESTORE = sa.text(
    "UPDATE jobs SET state = 'queued', attempts = 0, finished_at = NULL, not_before = :now, isolate = 0 "
    "WHERE state = 'failed' AND reason_code = '{code}' "
    "AND EXISTS (SELECT 1 FROM recordings r WHERE r.id = recording_id AND r.latest = 1) "
    "AND NOT EXISTS (SELECT 1 FROM jobs n WHERE n.recording_id = jobs.recording_id AND n.id > jobs.id)".replace(
        "{code}", REFUSED_BY_LEDGER
    )
)
_DISOWN = sa.text(
    transition(
        JobState.QUEUED,
        "UPDATE jobs SET state = 'queued', attempts = attempts - 1, lease_until = NULL, claimed_by = NULL "
        "WHERE {legal} AND claimed_by = :worker AND id NOT IN (SELECT value FROM json_each(:known)) RETURNING id",
    )
)
_DROP_ATTEMPTS = sa.text(
    "DELETE FROM attempts WHERE outcome IS NULL AND job_id IN (SELECT value FROM json_each(:ids))"
)
_QUEUED_PROFILES = sa.text("SELECT DISTINCT profile FROM jobs WHERE state = 'queued'")
# Content, profile and recipe, as `admission.identity` has them.
_ADOPT = sa.text(
    "UPDATE jobs SET recipe = :recipe, identity = CASE WHEN identity IS NOT NULL THEN "
    "(SELECT r.sha256 FROM recordings r WHERE r.id = recording_id) || '|' || profile || '|' || :recipe END "
    "WHERE state = 'queued' AND profile = :profile AND recipe <> :recipe"
)
_HEARTBEAT = sa.text(
    "UPDATE jobs SET lease_until = :until WHERE state = 'running' AND (id, generation) IN "
    "(SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:ours)) RETURNING id"
)


class Claims:
    """Claims on jobs. Thread-safe, also between processes."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def claim(
        self, worker: str, limit: int, now: float, lease_s: float, *, allow_isolated: bool
    ) -> list[Claim]:
        """Take up to `limit` jobs, oldest first; the caller must end each of them or let its lease expire.

        Free are queued jobs whose wait is over and running ones whose lease has expired, unless an older job
        of the same content is still under way and none is done. A job to be tried alone is given only with `allow_isolated`,
        and then without any other. Jobs whose lease expired on their last try are failed here.
        """
        with self._db.write("claim jobs") as connection:
            self._bury(connection, now)
            values = {"worker": storable(worker), "now": now, "until": now + lease_s}
            ids: list[int] = []
            if allow_isolated:
                ids = _ids(connection.execute(_CLAIM, values | {"isolate": 1, "limit": 1}))
            if not ids:
                ids = _ids(connection.execute(_CLAIM, values | {"isolate": 0, "limit": limit}))
            if not ids:
                return []
            self._close(connection, ids, now, "lost", _EXPIRY)
            chosen = json.dumps(ids)
            connection.execute(_OPEN_ATTEMPTS, {"ids": chosen})
            return [_claim(row, now) for row in connection.execute(_CLAIMED, {"ids": chosen})]

    def next_isolated(self) -> float | None:
        """When the first of the jobs to be tried alone may be claimed, epoch seconds; None while there is none."""
        with self._db.read("look for jobs to be tried alone") as connection:
            due = connection.scalar(_NEXT_ISOLATED)
        return None if due is None else float(due)

    def heartbeat(self, ours: Sequence[tuple[int, int]], now: float, lease_s: float) -> set[int]:
        """Renew leases of (job, generation); returns the jobs that are no longer ours."""
        if not ours:
            return set()
        with self._db.write("renew leases") as connection:
            values = {"until": now + lease_s, "ours": json.dumps(list(ours))}
            kept = _ids(connection.execute(_HEARTBEAT, values))
        return {job for job, _ in ours} - set(kept)

    def recover(self, now: float) -> int:
        """Put back every running job, at start, when nobody can be working on one; how many there were.

        The caller holds the database's lock. A job that was on its last try is failed: its tries were counted
        when it was claimed.
        """
        with self._db.write("recover interrupted jobs") as connection:
            ids = _ids(connection.execute(_RUNNING))
            if ids:
                self._close(connection, ids, now, "interrupted", "the daemon stopped in the middle of it")
                self._fail_worn_out(connection, ids, now)
                connection.execute(_REQUEUE, {"ids": json.dumps(ids), "now": now})
        return len(ids)

    def restore_refused(self, now: float) -> int:
        """Queue every job again that failed because of the ledger, at start; how many.

        A recording is not to blame for a damaged database, so no such end stands.
        """
        with self._db.write("restore jobs that the database failed") as connection:
            return connection.execute(_RESTORE, {"now": now}).rowcount

    def disown(self, worker: str, known: Sequence[int]) -> int:
        """Put back every job that `worker` is said to hold and does not know of, as if never claimed; how many.

        For a worker whose claim was refused: a commit that a disk refuses at the last moment may stand nevertheless.
        """
        with self._db.write("put back claims nobody knows of") as connection:
            values = {"worker": storable(worker), "known": json.dumps(list(known))}
            ids = _ids(connection.execute(_DISOWN, values))
            if ids:
                connection.execute(_DROP_ATTEMPTS, {"ids": json.dumps(ids)})
        return len(ids)

    def adopt(self, recipe: Callable[[str], str]) -> int:
        """Jobs in the queue are done under the recipe their profile has now; how many of them had another.

        For the start and for changed profiles: what a job's recipe says is what shapes its text, and whose results
        serve for it. `recipe` gives that of a profile.
        """
        changed = 0
        with self._db.write("adopt the recipes in force") as connection:
            for profile in connection.scalars(_QUEUED_PROFILES).all():
                values = {"profile": profile, "recipe": storable(recipe(profile))}
                changed += connection.execute(_ADOPT, values).rowcount
        return changed

    def _bury(self, connection: Connection, now: float) -> None:
        """Fail the jobs whose lease expired on their last try."""
        expired = _ids(connection.execute(_EXPIRED, {"now": now}))
        if expired:
            self._close(connection, self._fail_worn_out(connection, expired, now), now, "lost", _EXPIRY)

    def _fail_worn_out(self, connection: Connection, ids: list[int], now: float) -> list[int]:
        values = {"ids": json.dumps(ids), "now": now}
        why = {"code": WORN_OUT, "reason": WORN_OUT_REASON, "remedy": WORN_OUT_REMEDY}
        return _ids(connection.execute(_FAIL_WORN_OUT, values | why))

    def _close(self, connection: Connection, ids: list[int], now: float, outcome: str, reason: str) -> None:
        """End the attempts that are under way on these jobs."""
        values = {"ids": json.dumps(ids), "now": now}
        connection.execute(_CLOSE_ATTEMPTS, values | {"outcome": outcome, "reason": reason})


def _ids(result: sa.CursorResult[Any]) -> list[int]:
    return [int(row[0]) for row in result]


def _claim(row: Row[Any], now: float) -> Claim:
    return Claim(
        job_id=row.id,
        generation=row.generation,
        attempt=row.attempts,
        max_attempts=row.max_attempts,
        path=path_of(row.path_raw),
        folder=path_of(row.folder_raw),
        size=row.size,
        mtime_ns=mtime_of(row.mtime_ns),
        inode=inode_of(row.inode),
        sha256=row.sha256,
        profile=row.profile,
        recipe=row.recipe,
        admitted_at=row.admitted_at,
        settle_s=row.settle_s,
        # A clock that was set back must not make it negative.
        waited_s=max(0.0, now - max(row.admitted_at, row.not_before)),
        reference=row.reference,
        isolate=bool(row.isolate),
    )
