"""Ends of a job without a transcript: back to the queue, failed, cancelled."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import Connection

from dropscribe.errors import StaleLeaseError
from dropscribe.ledger.columns import raw, storable
from dropscribe.ledger.records import JobState, Killed
from dropscribe.ledger.sql.dialect import Database, sql
from dropscribe.ledger.sql.jobs.interruptions import reset_lone_deaths
from dropscribe.ledger.sql.jobs.transitions import BY_REQUEST, GONE, transition
from dropscribe.ledger.sql.outbox.events import EventWriter

# After the last attempt the job fails even when the caller would try again: no job is tried for ever.
_RELEASE = sql(
    transition(
        JobState.QUEUED,
        "UPDATE jobs SET state = CASE WHEN {spent} THEN 'failed' ELSE 'queued' END, "
        "finished_at = CASE WHEN {spent} THEN :now END, "
        "attempts = attempts + 1 - begun - :refund, lone_deaths = lone_deaths + :alone, "
        "others_done = CASE WHEN :alone = 1 AND lone_deaths = 0 THEN 0 ELSE others_done END, lease_until = NULL, claimed_by = NULL, not_before = :not_before, "
        "unpublished = unpublished + :unpublished, isolate = :isolate, reason_code = :code, reason = :reason, remedy = :remedy "
        "WHERE {legal} AND id = :id AND generation = :generation RETURNING state",
    ).replace("{spent}", "(:refund = 0 AND attempts + 1 - begun >= max_attempts)")
)
_FAIL = sql(
    transition(
        JobState.FAILED,
        "UPDATE jobs SET state = 'failed', finished_at = :now, attempts = attempts + 1 - begun, lease_until = NULL, "
        "claimed_by = NULL, reason_code = :code, reason = :reason, remedy = :remedy "
        "WHERE {legal} AND id = :id AND generation = :generation RETURNING state",
    )
)
_CANCEL = sql(
    transition(
        JobState.CANCELLED,
        "UPDATE jobs SET state = 'cancelled', finished_at = :now, lease_until = NULL, claimed_by = NULL, "
        "reason_code = :code, reason = :reason, remedy = NULL WHERE {legal} AND id = :id "
        "AND (CAST(:generation AS INTEGER) IS NULL OR (generation = :generation AND state = 'running')) RETURNING state",
    )
)
_CANCEL_GONE = sql(
    transition(
        JobState.CANCELLED,
        "UPDATE jobs SET state = 'cancelled', finished_at = :now, lease_until = NULL, claimed_by = NULL, "
        "reason_code = :code, reason = :reason, remedy = NULL "
        "WHERE {legal} AND recording_id IN (SELECT id FROM recordings WHERE path_raw = :path_raw) RETURNING id",
    )
)
_CLOSE_ATTEMPT = sql(
    "UPDATE attempts SET ended_at = :now, outcome = :outcome, code = :code, reason = :reason "
    "WHERE job_id = :id AND outcome IS NULL"
)
# While a disk is full an attempt is given back every half minute. They are kept as one row, the newest, so that the history
# does not grow.
_SAME_BEFORE = (
    "FROM attempts b WHERE b.job_id = :id AND b.generation < :generation AND b.outcome = 'released' "
    "AND b.code = :code "
    "AND b.number = (SELECT number FROM attempts WHERE job_id = :id AND generation = :generation)"
)
_GATHER = sql(
    "UPDATE attempts SET times = attempts.times + before.times, started_at = before.started_at "
    "FROM (SELECT sum(b.times) AS times, min(b.started_at) AS started_at {same_before}) AS before "
    "WHERE job_id = :id AND generation = :generation AND before.times IS NOT NULL".replace(
        "{same_before}", _SAME_BEFORE
    )
)
_DROP_GATHERED = sql(
    "DELETE FROM attempts WHERE job_id = :id AND generation IN (SELECT b.generation {same_before})".replace(
        "{same_before}", _SAME_BEFORE
    )
)
_CURRENT = sql("SELECT state, generation FROM jobs WHERE id = :id")


class Endings:
    """Ends of jobs without a transcript."""

    def __init__(self, db: Database, events: EventWriter) -> None:
        self._db = db
        self._events = events

    def release(
        self,
        job_id: int,
        generation: int,
        now: float,
        *,
        not_before: float,
        refund: bool,
        isolate: bool,
        code: str,
        reason: str,
        remedy: str = "",
        killed: Killed | None = None,
        unpublished: bool = False,
    ) -> JobState:
        """See `Ledger.release`."""
        values = {
            "id": job_id, "generation": generation, "now": now, "not_before": not_before,
            "refund": int(refund), "isolate": int(isolate), "code": code, "reason": storable(reason),
            "remedy": storable(remedy) or None, "alone": int(killed is Killed.ALONE), "unpublished": int(unpublished),
        }  # fmt: skip
        with self._db.write("release a job") as connection:
            state = connection.scalar(_RELEASE, values)
            if state is None:
                raise _stale(connection, job_id, generation)
            if killed is Killed.AMONG_OTHERS:
                reset_lone_deaths(connection)
            outcome = "released" if state == JobState.QUEUED else "failed"
            connection.execute(_CLOSE_ATTEMPT, values | {"outcome": outcome})
            if refund:
                connection.execute(_GATHER, values)
                connection.execute(_DROP_GATHERED, values)
            if state == JobState.FAILED:
                self._events.jobs_failed(connection, [job_id], now)
        return JobState(state)

    def fail(self, job_id: int, generation: int, now: float, *, code: str, reason: str, remedy: str) -> None:
        """See `Ledger.fail`."""
        values = {
            "id": job_id, "generation": generation, "now": now,
            "code": code, "reason": storable(reason), "remedy": storable(remedy),
        }  # fmt: skip
        with self._db.write("fail a job") as connection:
            if connection.scalar(_FAIL, values) is None:
                raise _stale(connection, job_id, generation)
            connection.execute(_CLOSE_ATTEMPT, values | {"outcome": "failed"})
            self._events.jobs_failed(connection, [job_id], now)

    def cancel(
        self, job_id: int, now: float, reason: str, *, generation: int | None = None, code: str | None = None
    ) -> None:
        """See `Ledger.cancel`."""
        code = code or (BY_REQUEST if generation is None else GONE)
        values = {
            "id": job_id, "generation": generation, "now": now, "code": code, "reason": storable(reason),
        }  # fmt: skip
        with self._db.write("cancel a job") as connection:
            if connection.scalar(_CANCEL, values) is None:
                raise _stale(connection, job_id, generation)
            connection.execute(_CLOSE_ATTEMPT, values | {"outcome": "cancelled"})

    def cancel_gone(self, path: Path, now: float, reason: str) -> list[int]:
        """See `Ledger.cancel_gone`."""
        values = {"path_raw": raw(path), "now": now, "code": GONE, "reason": storable(reason)}
        with self._db.write("cancel the jobs of a removed recording") as connection:
            jobs = sorted(int(job) for job in connection.scalars(_CANCEL_GONE, values))
            for job in jobs:
                connection.execute(_CLOSE_ATTEMPT, values | {"id": job, "outcome": "cancelled"})
            return jobs


def _stale(connection: Connection, job_id: int, generation: int | None) -> StaleLeaseError:
    """The error for a job that could not be changed, with its current state."""
    found = connection.execute(_CURRENT, {"id": job_id}).one_or_none()
    if found is None:
        reason = f"there is no job {job_id}"
    elif generation is None:
        reason = f"job {job_id} is {found.state} already"
    else:
        reason = f"job {job_id} is {found.state} in generation {found.generation}, not ours of {generation}"
    return StaleLeaseError(reason, operation="end a job", remedy="nothing to do: its newer state stands")
