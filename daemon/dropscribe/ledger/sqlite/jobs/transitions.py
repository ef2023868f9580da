"""States of a job and the changes that are allowed: the one place that knows.

Every statement that changes `jobs.state` goes through `transition`, so that a change not listed
here finds no row to change.

```
            ┌────────── release, recover ──────────┐
            ▼                                      │
admit ──▶ queued ──────────── claim ─────────▶ running ──▶ done | failed
            │                                      │
            └──────────▶ cancelled ◀───────────────┘
```
"""

from __future__ import annotations

from dropscribe.ledger.records import JobState

#: From each state, where a job may go. One whose lease has expired goes back to the queue before it is claimed again.
LEGAL: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED}),
    JobState.RUNNING: frozenset(JobState) - {JobState.RUNNING},
    JobState.DONE: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

#: Reason codes of jobs that were cancelled because the file was not there as admitted, not because a person
#: said so. When the same content stands at that path again, it is transcribed after all.
GONE = "recording_gone"
CHANGED = "content_changed"
#: A person cancelled it: the same content is left alone.
BY_REQUEST = "cancelled"


#: Code of jobs that failed because of the ledger itself, as versions before wrote them. Such a row says nothing of its
#: recording and does not stand: the one change out of a final state, made by `Claims.restore_refused`.
REFUSED_BY_LEDGER = "ledger"


def sources(target: JobState) -> tuple[JobState, ...]:
    """The states from which a job may become `target`."""
    return tuple(state for state, targets in LEGAL.items() if target in targets)


def transition(target: JobState, statement: str) -> str:
    """An UPDATE of `jobs` with `{legal}` in its WHERE replaced: it finds only jobs that may become `target`."""
    states = ", ".join(f"'{state.value}'" for state in sources(target))
    if "{legal}" not in statement:
        raise ValueError(f"a transition to {target} that does not ask whether it is legal")
    # The plus keeps SQLite from walking all jobs in those states by their index: the other conditions name a few.
    return statement.replace("{legal}", f"+state IN ({states})")
