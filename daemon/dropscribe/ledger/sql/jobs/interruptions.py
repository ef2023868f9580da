"""Return interrupted jobs to the queue: uncounted, and isolated when decoding had begun.

A job is interrupted when its daemon was killed, or stopped for longer than the lease.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy.engine import Connection

from dropscribe.ledger.lone_trials import is_last, wait_after
from dropscribe.ledger.records import JobState, Recovered
from dropscribe.ledger.sql.dialect import sql
from dropscribe.ledger.sql.jobs.transitions import transition
from dropscribe.ledger.sql.outbox.events import EventWriter

#: Reason code of jobs that failed because the daemon was killed at each of many lone trials.
WORKER_LOST = "worker_lost"
WORKER_LOST_REASON = "the daemon was killed each time it worked on this recording alone, {deaths} times"
WORKER_LOST_REMEDY = (
    "look at the log around those times; convert the recording, or drop a copy of it to try again"
)

_BEGUN = sql(
    "SELECT id, isolate, lone_deaths, others_done FROM jobs "
    "WHERE begun = 1 AND media IS NULL AND id IN @ids(:ids)"
)
# When the clock was set back, a delay that is over must not begin again. A job that has its result did not kill the daemon.
_REQUEUE = sql(
    transition(
        JobState.QUEUED,
        "UPDATE jobs SET state = 'queued', attempts = attempts - begun, lease_until = NULL, claimed_by = NULL, "
        "not_before = @least(not_before, :now) "
        "WHERE {legal} AND (begun = 0 OR media IS NOT NULL) AND id IN @ids(:ids) RETURNING id",
    )
)
_DROP_ATTEMPTS = sql("DELETE FROM attempts WHERE outcome IS NULL AND job_id IN @ids(:ids)")
_CLOSE_ATTEMPTS = sql(
    "UPDATE attempts SET ended_at = :now, outcome = :outcome, reason = :reason "
    "WHERE outcome IS NULL AND job_id IN @ids(:ids)"
)
_ISOLATE = sql(
    transition(
        JobState.QUEUED,
        "UPDATE jobs SET state = 'queued', attempts = attempts - 1, lease_until = NULL, claimed_by = NULL, isolate = 1, "
        "lone_deaths = :deaths, others_done = CASE WHEN :deaths > 1 THEN others_done ELSE 0 END, not_before = :not_before, reason_code = :outcome, "
        "reason = :reason || '; it is tried again alone', remedy = NULL WHERE {legal} AND id = :id",
    )
)
_FAIL = sql(
    transition(
        JobState.FAILED,
        "UPDATE jobs SET state = 'failed', finished_at = :now, lease_until = NULL, claimed_by = NULL, "
        "lone_deaths = :deaths, reason_code = :code, reason = :reason, remedy = :remedy WHERE {legal} AND id = :id",
    )
)
_RESET_LONE_DEATHS = sql(
    "UPDATE jobs SET lone_deaths = 0, others_done = 0 WHERE state = 'queued' AND isolate = 1 AND lone_deaths > 0"
)
_OTHERS_DONE = sql(
    "UPDATE jobs SET others_done = 1 WHERE state = 'queued' AND isolate = 1 AND lone_deaths > 0"
)
_WAITING = sql("SELECT id, lone_deaths FROM jobs WHERE state = 'queued' AND isolate = 1 AND lone_deaths > 0")
_WAIT = sql("UPDATE jobs SET not_before = :not_before WHERE id = :id")


def requeue(
    connection: Connection,
    ids: Sequence[int],
    now: float,
    *,
    outcome: str,
    reason: str,
    events: EventWriter,
) -> Recovered:
    """Return running jobs to the queue whose worker is gone. `outcome` and `reason` are those of the attempts begun.

    Jobs that fail by it are among the `events`.
    """
    if not ids:
        return Recovered(0, 0, 0)
    values = {"ids": json.dumps(list(ids)), "now": now, "outcome": outcome, "reason": reason}
    begun = connection.execute(_BEGUN, values).all()
    unbegun = [int(row[0]) for row in connection.execute(_REQUEUE, values)]
    if unbegun:
        drop_attempts(connection, unbegun)
    connection.execute(_CLOSE_ATTEMPTS, values)
    if any(not job.isolate for job in begun):
        reset_lone_deaths(connection)
    failed: list[int] = []
    for job in begun:
        deaths = job.lone_deaths + 1 if job.isolate else 0
        if deaths and is_last(deaths, others_done=bool(job.others_done)):
            failed.append(job.id)
            why = WORKER_LOST_REASON.replace("{deaths}", str(deaths))
            connection.execute(
                _FAIL,
                {"id": job.id, "now": now, "deaths": deaths, "code": WORKER_LOST, "reason": why,
                 "remedy": WORKER_LOST_REMEDY},
            )  # fmt: skip
        else:
            not_before = now + wait_after(deaths) if deaths else now
            connection.execute(_ISOLATE, values | {"id": job.id, "deaths": deaths, "not_before": not_before})
    events.jobs_failed(connection, failed, now)
    return Recovered(len(unbegun), len(begun) - len(failed), len(failed))


def drop_attempts(connection: Connection, ids: Sequence[int]) -> None:
    """Remove the open attempts of these jobs from the history, as if the jobs had never been claimed."""
    connection.execute(_DROP_ATTEMPTS, {"ids": json.dumps(list(ids))})


def reset_lone_deaths(connection: Connection) -> None:
    """Reset the lone deaths of queued jobs, because a daemon or decoder was killed while it worked on other recordings."""
    connection.execute(_RESET_LONE_DEATHS)


def note_others_done(connection: Connection) -> None:
    """Note for queued jobs with lone deaths that another recording was finished since: see `lone_trials.is_last`."""
    connection.execute(_OTHERS_DONE)


def defer_lone_trials(connection: Connection, now: float) -> None:
    """Postpone each isolated job with lone deaths, counted from `now` and longer after each death."""
    for job in connection.execute(_WAITING).all():
        connection.execute(_WAIT, {"id": job.id, "not_before": now + wait_after(job.lone_deaths)})
