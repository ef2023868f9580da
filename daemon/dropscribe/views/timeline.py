"""What happened to a job, in order of time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dropscribe import durations
from dropscribe.views.fields import utc

if TYPE_CHECKING:
    from dropscribe.ledger.control import Action
    from dropscribe.ledger.records import AttemptSummary, JobDetail


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job at an instant, epoch seconds. `kind` is stable, `text` for people."""

    at: float
    kind: str  #: seen, admitted, try, try_ended, action, ended, version
    text: str


def timeline(detail: JobDetail, actions: Sequence[Action] = ()) -> list[Event]:
    """The events of a job and what people asked of it, the earliest first; those of one instant in their natural order."""
    return sorted(_events(detail, actions), key=lambda event: event.at)


def timeline_document(events: Sequence[Event]) -> list[dict[str, Any]]:
    """[{at, kind, text}]."""
    return [{"at": utc(e.at), "kind": e.kind, "text": e.text} for e in events]


def _events(detail: JobDetail, actions: Sequence[Action]) -> Iterator[Event]:
    job = detail.summary
    if detail.settle_s:
        yield Event(job.admitted_at - detail.settle_s, "seen", "seen for the first time")
    others = [v for v in detail.versions if v.job_id != job.id]
    before = f", version {job.version} of its transcript" if others and job.version > 1 else ""
    yield Event(job.admitted_at, "admitted", f"admitted{before}")
    for attempt in detail.attempts:
        yield Event(attempt.started_at, "try", f"try {attempt.number} begins ({attempt.worker})")
        if attempt.ended_at is not None:
            yield Event(attempt.ended_at, "try_ended", _ended(attempt))
    for action in reversed(actions):
        change = action.found if action.found == action.made else f"{action.found} → {action.made}"
        yield Event(action.at, "action", f"{action.who} asked: {action.verb} ({change})")
    if job.finished_at is not None:
        total = "" if job.total_s is None else f", {durations.spent(job.total_s)} after it was first seen"
        yield Event(job.finished_at, "ended", f"{job.state.value}{total}")
    for other in others:
        if other.job_id > job.id:
            what = "in place of" if other.supersedes == job.id else "besides"
            yield Event(
                other.admitted_at,
                "version",
                f"job {other.job_id} makes version {other.version} {what} this one",
            )


def _ended(attempt: AttemptSummary) -> str:
    often = f", {attempt.times} times" if attempt.times > 1 else ""
    why = f": {attempt.reason}" if attempt.reason else ""
    return f"try {attempt.number} {attempt.outcome}{often}{why}"
