"""Claim jobs, count their attempts, renew leases, and return jobs to the queue whose worker is gone.

A claim is a lease with a generation number. It is no attempt: `begin` counts one when decoding begins. The worker that has
the lease may end the job. After the lease has expired the job is queued again, and later calls of that worker are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from dropscribe.files import FileSignature
from dropscribe.ledger.columns import inode_of, mtime_of, path_of, storable
from dropscribe.ledger.records import HELD, Claim, JobState, Recovered
from dropscribe.ledger.sqlite.db import Database
from dropscribe.ledger.sqlite.jobs.interruptions import defer_lone_trials, drop_attempts, requeue
from dropscribe.ledger.sqlite.jobs.transitions import REFUSED_BY_LEDGER, transition

_EXPIRY = "its lease expired: the daemon did not renew it in time"
_KILLED = "the daemon was killed in the middle of it"

# A job waits while an older one of the same content is unfinished, because its result may be used for both. When there is
# a result already it does not wait; else ten thousand copies would be done one after the other. Nor does it wait for one
# that is held, which may last for days.
_FREE_OF_TWINS = (
    "(NOT EXISTS (SELECT 1 FROM jobs t WHERE t.identity = j.identity AND t.id < j.id "
    "AND t.state IN ('queued', 'running') AND NOT (t.state = 'queued' AND coalesce(t.reason_code, '') IN ({held}))) "
    "OR EXISTS (SELECT 1 FROM jobs d WHERE d.identity = j.identity "
    "AND d.media IS NOT NULL AND d.reference_job_id IS NULL))"
).replace("{held}", ", ".join(f"'{code}'" for code in HELD))

# One statement, so that no two workers can see the same job as free.
_CLAIM = transition(
    JobState.RUNNING,
    "UPDATE jobs SET state = 'running', begun = 0, generation = generation + 1, "
    "claimed_by = :worker, claimed_at = :now, lease_until = :until "
    "WHERE {legal} AND id IN ("
    "SELECT j.id FROM jobs j WHERE j.state = 'queued' AND j.isolate = {isolate} AND j.not_before <= :now "
    "AND {free} ORDER BY {order} LIMIT :limit) RETURNING id",
).replace("{free}", _FREE_OF_TWINS)
_CLAIM_MANY = sa.text(_CLAIM.replace("{isolate}", "0").replace("{order}", "j.unpublished, j.id"))
# In the order in which delays end, so that a job that fails repeatedly does not delay the other isolated jobs each time.
_CLAIM_ISOLATED = sa.text(_CLAIM.replace("{isolate}", "1").replace("{order}", "j.not_before, j.id"))
_NEXT_ISOLATED = sa.text(
    "SELECT min(j.not_before) FROM jobs j WHERE j.state = 'queued' AND j.isolate = 1 AND {free}".replace(
        "{free}", _FREE_OF_TWINS
    )
)
_CLAIMED = sa.text(
    "SELECT j.id, j.generation, j.attempts, j.max_attempts, j.profile, j.recipe, j.admitted_at, j.settle_s, "
    "j.not_before, j.isolate, j.lone_deaths, j.others_done, j.unpublished, r.path_raw, r.folder_raw, r.size, r.mtime_ns, r.inode, r.sha256, "
    "CASE WHEN j.supersedes_id IS NULL THEN j.version ELSE 1 END AS named_version, "
    "j.reference_job_id IS NOT NULL AS result_given, "
    "CASE WHEN j.reference_job_id IS NOT NULL THEN j.reference_job_id "
    "WHEN j.media IS NOT NULL THEN j.id ELSE (SELECT max(d.id) FROM jobs d WHERE d.identity = j.identity "
    "AND d.media IS NOT NULL AND d.reference_job_id IS NULL) END AS reference "
    "FROM jobs j JOIN recordings r ON r.id = j.recording_id "
    "WHERE j.id IN (SELECT value FROM json_each(:ids)) ORDER BY j.id"
)
_OPEN_ATTEMPTS = sa.text(
    "INSERT INTO attempts (job_id, generation, number, worker, started_at) "
    "SELECT id, generation, attempts + 1, claimed_by, claimed_at FROM jobs "
    "WHERE id IN (SELECT value FROM json_each(:ids))"
)
_EXPIRED = sa.text("SELECT id FROM jobs WHERE state = 'running' AND lease_until < :now")
_RUNNING = sa.text("SELECT id FROM jobs WHERE state = 'running'")
# Repeating it for the same claim changes nothing: the commit of a call that failed may stand.
_BEGIN = sa.text(
    "UPDATE jobs SET attempts = attempts + 1 - begun, begun = 1 WHERE state = 'running' AND (id, generation) IN "
    "(SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:ours)) RETURNING id"
)
# Not when the path has other content by now, or the recording a newer job.
_RESTORE_REFUSED = sa.text(
    "UPDATE jobs SET state = 'queued', attempts = 0, finished_at = NULL, not_before = :now, isolate = 0 "
    "WHERE state = 'failed' AND reason_code = '{code}' "
    "AND EXISTS (SELECT 1 FROM recordings r WHERE r.id = recording_id AND r.latest = 1) "
    "AND NOT EXISTS (SELECT 1 FROM jobs n WHERE n.recording_id = jobs.recording_id AND n.id > jobs.id)".replace(
        "{code}", REFUSED_BY_LEDGER
    )
)
_RETURN_UNKNOWN = sa.text(
    transition(
        JobState.QUEUED,
        "UPDATE jobs SET state = 'queued', lease_until = NULL, claimed_by = NULL "
        "WHERE {legal} AND claimed_by = :worker AND id NOT IN (SELECT value FROM json_each(:known)) RETURNING id",
    )
)
_QUEUED_PROFILES = sa.text("SELECT DISTINCT profile FROM jobs WHERE state = 'queued'")
# The identity is content and recipe, as `admission.identity` makes it. A job that has its result, or refers to one, stays
# as it is.
_APPLY_RECIPE = sa.text(
    "UPDATE jobs SET recipe = :recipe, identity = CASE WHEN identity IS NOT NULL THEN "
    "(SELECT r.sha256 FROM recordings r WHERE r.id = recording_id) || '|' || :recipe END "
    "WHERE state = 'queued' AND profile = :profile AND recipe <> :recipe AND media IS NULL "
    "AND reference_job_id IS NULL"
)
_HEARTBEAT = sa.text(
    "UPDATE jobs SET lease_until = :until WHERE state = 'running' AND (id, generation) IN "
    "(SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:ours)) RETURNING id"
)


class Claims:
    """Claims on jobs."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def claim(
        self, worker: str, limit: int, now: float, lease_s: float, *, allow_isolated: bool
    ) -> list[Claim]:
        """See `Ledger.claim`."""
        with self._db.write("claim jobs") as connection:
            expired = _ids(connection.execute(_EXPIRED, {"now": now}))
            requeue(connection, expired, now, outcome="lost", reason=_EXPIRY)
            values = {"worker": storable(worker), "now": now, "until": now + lease_s}
            ids: list[int] = []
            if allow_isolated:
                ids = _ids(connection.execute(_CLAIM_ISOLATED, values | {"limit": 1}))
            if not ids:
                ids = _ids(connection.execute(_CLAIM_MANY, values | {"limit": limit}))
            if not ids:
                return []
            chosen = json.dumps(ids)
            connection.execute(_OPEN_ATTEMPTS, {"ids": chosen})
            return [_claim(row, now) for row in connection.execute(_CLAIMED, {"ids": chosen})]

    def next_isolated(self) -> float | None:
        """See `Ledger.next_isolated`."""
        with self._db.read("query isolated jobs") as connection:
            due = connection.scalar(_NEXT_ISOLATED)
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
            ids = _ids(connection.execute(_RUNNING))
            return requeue(connection, ids, now, outcome="interrupted", reason=_KILLED)

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
            for profile in connection.scalars(_QUEUED_PROFILES).all():
                values = {"profile": profile, "recipe": storable(recipe(profile))}
                changed += connection.execute(_APPLY_RECIPE, values).rowcount
        return changed


def _ids(result: sa.CursorResult[Any]) -> list[int]:
    return [int(row[0]) for row in result]


def _claim(row: Row[Any], now: float) -> Claim:
    return Claim(
        job_id=row.id,
        generation=row.generation,
        attempt=row.attempts + 1,
        max_attempts=row.max_attempts,
        path=path_of(row.path_raw),
        folder=path_of(row.folder_raw),
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
