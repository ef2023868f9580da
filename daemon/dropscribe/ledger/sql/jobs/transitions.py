"""The states of a job and the allowed transitions.

Every statement that changes `jobs.state` is made by `transition`, so that a transition not listed here finds no row
to change.

```
            ┌────────── release, recover ──────────┐
            ▼                                      │
admit ──▶ queued ──────────── claim ─────────▶ running ──▶ done | failed
            │                                      │
            └──────────▶ cancelled ◀───────────────┘

failed, cancelled ──── retry, by a person ───▶ queued
```
"""

from __future__ import annotations

from dropscribe.ledger.records import JobState

#: Allowed next states of each state. A job whose lease has expired is queued before it is claimed again.
LEGAL: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED}),
    JobState.RUNNING: frozenset(JobState) - {JobState.RUNNING},
    JobState.DONE: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
#: Further next states that only a person may ask for. They are no part of `LEGAL`: a late call of a worker must not bring a
#: job back that has ended.
RETRIED: dict[JobState, frozenset[JobState]] = {
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.CANCELLED: frozenset({JobState.QUEUED}),
}

#: Reason codes of jobs that were cancelled because the file was removed or changed. When the same content is at that
#: path again, it is transcribed.
GONE = "recording_gone"
CHANGED = "content_changed"
#: Reason code of jobs that a person cancelled: the same content is not transcribed again.
BY_REQUEST = "cancelled"


#: Reason code of jobs that earlier versions failed because of the database itself. `Claims.restore_refused` queues them
#: again: the one transition out of a final state.
REFUSED_BY_LEDGER = "ledger"


def sources(target: JobState, *, retried: bool = False) -> tuple[JobState, ...]:
    """The states from which a job may go to `target`, or, if `retried`, from which a person may bring it there."""
    edges = RETRIED if retried else LEGAL
    return tuple(state for state, targets in edges.items() if target in targets)


def transition(target: JobState, statement: str, *, retried: bool = False) -> str:
    """Fill `{legal}` in the WHERE of an UPDATE of `jobs`, so that it finds only jobs that may go to `target`."""
    states = ", ".join(f"'{state.value}'" for state in sources(target, retried=retried))
    if "{legal}" not in statement:
        raise ValueError(f"a transition to {target} that does not ask whether it is legal")
    # The plus keeps SQLite from using the index on states, because the other conditions select fewer jobs.
    return statement.replace("{legal}", f"@changing(state) IN ({states})")
