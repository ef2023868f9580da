"""Conditions on jobs, as several commands take them."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dropscribe.errors import UsageError

if TYPE_CHECKING:
    from dropscribe.ledger.questions import Cursor, JobFilter
    from dropscribe.ledger.records import JobState

#: Queued jobs that wait for something outside; see `JobSummary.held`.
HELD_STATE = "held"
_AGO_S = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_LENGTH_S = {"s": 1.0, "m": 60.0, "h": 3600.0}

State = Annotated[
    str | None,
    typer.Option(
        "--state",
        metavar="STATE",
        help="Only jobs in this state: queued, held, running, done, failed or cancelled.",
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option("--folder", metavar="DIR", readable=False, help="Only recordings below this folder."),
]
Profile = Annotated[
    str | None, typer.Option("--profile", metavar="NAME", help="Only jobs under this profile.")
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Only jobs admitted since: 30m, 12h, 7d, 2w ago, or 2026-03-01[T08:00] (local time).",
    ),
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Only jobs admitted before, as for --since.")
]
Speaker = Annotated[
    str | None,
    typer.Option("--speaker", metavar="NAME", help="Only transcripts with a speaker of this name."),
]
PathPart = Annotated[
    str | None,
    typer.Option("--path", metavar="TEXT", help="Only recordings whose path contains this, in any case."),
]
Words = Annotated[
    str | None,
    typer.Option(
        "--text", metavar="WORDS", help="Only transcripts that contain all of these; in quotes: a phrase."
    ),
]
AtLeast = Annotated[
    str | None,
    typer.Option(
        "--at-least", metavar="LENGTH", help="Only recordings of at least this length: 90s, 10m, 1.5h."
    ),
]
AtMost = Annotated[
    str | None,
    typer.Option(
        "--at-most", metavar="LENGTH", help="Only recordings of at most this length: 90s, 10m, 1.5h."
    ),
]
Reason = Annotated[
    str | None,
    typer.Option(
        "--reason", metavar="TEXT", help="Only jobs with this reason code, else with this in their reason."
    ),
]
Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="NAME",
        help="Only jobs that this host has taken, or that wait in its own folders; '' is the host without a name.",
    ),
]


def job_filter(
    operation: str,
    now: float,
    *,
    state: str | None = None,
    folder: Path | None = None,
    profile: str | None = None,
    since: str | None = None,
    until: str | None = None,
    speaker: str | None = None,
    path: str | None = None,
    text: str | None = None,
    at_least: str | None = None,
    at_most: str | None = None,
    reason: str | None = None,
    host: str | None = None,
) -> JobFilter:
    """The filter that these options describe. Raises UsageError for one that cannot be read."""
    from dropscribe.ledger.questions import JobFilter, named_folder

    held = state is not None and state.lower() == HELD_STATE
    return JobFilter(
        state=None if state is None or held else _state(state, operation),
        held=held,
        folder=None if folder is None else named_folder(folder, Path.cwd()),
        profile=profile,
        since=None if since is None else instant(since, now, operation),
        until=None if until is None else instant(until, now, operation),
        speaker=speaker,
        path=path,
        text=text,
        shortest_s=None if at_least is None else _length(at_least, operation),
        longest_s=None if at_most is None else _length(at_most, operation),
        reason=reason,
        host=host,
    )


def instant(text: str, now: float, operation: str = "list jobs") -> float:
    """Parse `30m`, `12h`, `7d`, `2w` before `now`, or an ISO 8601 date or time (local unless it has an offset).

    Returns epoch seconds. Raises UsageError for anything else.
    """
    span = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", text.strip())
    if span:
        return now - float(span[1]) * _AGO_S[span[2]]
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError) as e:
        raise UsageError(
            f"'{text}' is no time", operation=operation, remedy="write 30m, 12h, 7d, 2w, or 2026-03-01"
        ) from e


def cursor(text: str) -> Cursor:
    """The value of `--after`. Raises UsageError for one that no list has given."""
    from dropscribe.ledger.questions import Cursor

    try:
        return Cursor.parse(text)
    except ValueError as e:
        raise UsageError(
            f"'{text}' is no position in a list",
            operation="list jobs",
            remedy="give the one that was printed below the list, or 'next' of --json",
        ) from e


def _length(text: str, operation: str) -> float:
    """Parse `90s`, `10m` or `1.5h`; returns seconds."""
    span = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if span is None:
        raise UsageError(f"'{text}' is no length", operation=operation, remedy="write 90s, 10m or 1.5h")
    return float(span[1]) * _LENGTH_S[span[2]]


def _state(text: str, operation: str) -> JobState:
    from dropscribe.ledger.records import JobState

    try:
        return JobState(text.lower())
    except ValueError as e:
        known = ", ".join([s.value for s in JobState] + [HELD_STATE])
        raise UsageError(
            f"there is no state '{text}'", operation=operation, remedy=f"there are: {known}"
        ) from e
