"""Carry out what people ask of the queue: the same for a request through the socket and for a command without a daemon.

Everything is written to the ledger first. What a running daemon does with it comes after, so a crash between loses nothing,
and repeating a request changes nothing.
"""

from __future__ import annotations

import os
import pwd
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dropscribe.config import Settings
from dropscribe.errors import UsageError
from dropscribe.escapes import one_line, readable
from dropscribe.ledger.control import LEAST_PRIORITY, MOST_PRIORITY, Change, Pause, Selection, Verb
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import JobState
from dropscribe.service.control.corrections import correct, rename_speaker
from dropscribe.service.control.redoing import redo
from dropscribe.service.control.requests import HELD, LISTED, SCHEMA, Request, batches, never, refused

#: Longest name of a visitor of the page, characters.
LONGEST_VISITOR = 100
#: The states of jobs that an action is for, where none are named.
_USUAL: dict[Verb, frozenset[JobState]] = {
    Verb.RETRY: frozenset({JobState.FAILED}),
    Verb.CANCEL: frozenset({JobState.QUEUED, JobState.RUNNING}),
    Verb.PRIORITY: frozenset({JobState.QUEUED}),
}


def person(uid: int) -> str:
    """Name and number of a user, for the history."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return f"user {uid}"


def person_behind(request: Request, user: str) -> str:
    """Who asks, for the history: a user, and the visitor of the page for whom that user's process asks."""
    return f"{one_line(request.visitor[:LONGEST_VISITOR])} on the page of {user}" if request.visitor else user


def this_person() -> str:
    """The user of this process."""
    return person(os.getuid())


def execute(
    request: Request, ledger: Ledger, settings: Settings | None, *,
    who: str, now: float, stopped: Callable[[], bool] = never,
) -> dict[str, Any]:  # fmt: skip
    """Carry out a request; returns the answer, dropscribe/control/1 with instants in epoch seconds.

    `settings`: those of the daemon, or of the configuration; None if there is none. `stopped` is asked between batches of jobs.
    Raises UsageError for a request that makes no sense, DropscribeError if it was stopped, StorageError as the ledger does.
    """
    if request.verb in {Verb.PAUSE, Verb.RESUME, Verb.DRAIN}:
        return _of_folder(request, ledger, settings, who, now)
    if request.verb in {Verb.REDO, Verb.CORRECT, Verb.RENAME_SPEAKER}:
        if settings is None:
            raise refused("no settings are known", "name the configuration with --config")
        if request.verb is Verb.CORRECT:
            return correct(request, ledger, settings, who=who, now=now)
        if request.verb is Verb.RENAME_SPEAKER:
            return rename_speaker(request, ledger, settings, who=who, now=now)
        return redo(request, ledger, settings, who=who, now=now, stopped=stopped)
    return _of_jobs(request, ledger, who, now, stopped)


def _of_folder(
    request: Request, ledger: Ledger, settings: Settings | None, who: str, now: float
) -> dict[str, Any]:
    folder = None if request.folder is None else Path(os.path.normpath(request.folder))
    if folder is not None and request.verb is not Verb.DRAIN:
        watched = [] if settings is None else [f.path for f in settings.folders]
        paused = [p.folder for p in ledger.pauses()]
        if settings is not None and folder not in watched and folder not in paused:
            known = ", ".join(map(readable, watched)) or "none"
            raise UsageError(
                "it is no watched folder",
                operation=request.verb.value,
                path=folder,
                remedy=f"watched are: {known}",
            )
    before = ledger.pauses()
    if request.verb is Verb.RESUME:
        found = ledger.resume_folder(folder, now, who)
        if folder is None and any(p.draining for p in before):
            found = ledger.resume_folder(None, now, who, draining=True) or found
        made = "working"
    else:
        draining = request.verb is Verb.DRAIN
        found = ledger.pause(None if draining else folder, now, who, draining=draining)
        made = "draining" if draining else "paused"
    left = [p for p in ledger.pauses() if p.folder in {None, folder}] if request.verb is Verb.RESUME else []
    return {
        "schema": SCHEMA,
        "verb": request.verb.value,
        "who": who,
        "folder": None if folder is None else readable(folder),
        "found": "working" if found is None else _word(found),
        "found_who": None if found is None else found.who,
        "found_since": None if found is None else found.since,
        "made": _word(left[0]) if left else made,
        "still": [_pause(p) for p in ledger.pauses()],
    }


def _word(pause: Pause) -> str:
    return "draining" if pause.draining else "paused"


def _pause(pause: Pause) -> dict[str, Any]:
    folder = None if pause.folder is None else readable(pause.folder)
    return {"folder": folder, "who": pause.who, "since": pause.since, "draining": pause.draining}


def _of_jobs(
    request: Request, ledger: Ledger, who: str, now: float, stopped: Callable[[], bool]
) -> dict[str, Any]:
    if request.verb is Verb.PRIORITY and (
        request.priority is None or not LEAST_PRIORITY <= request.priority <= MOST_PRIORITY
    ):
        raise refused(
            "it names no priority", f"write a whole number from {LEAST_PRIORITY} to {MOST_PRIORITY}"
        )
    changes: list[Change] = []
    for some in batches(_selected(request, ledger), stopped):
        if request.verb is Verb.RETRY:
            changes += ledger.retry(some, now, who)
        elif request.verb is Verb.CANCEL:
            changes += ledger.cancel_jobs(some, now, who)
        elif request.verb is Verb.PRIORITY and request.priority is not None:
            changes += ledger.prioritise(some, request.priority, now, who)
        else:
            raise refused(f"there is no {request.verb} of jobs", "see 'dropscribe jobs --help'")
    totals = Counter((c.found, c.made, c.changed, c.reason) for c in changes)
    return {
        "schema": SCHEMA,
        "verb": request.verb.value,
        "who": who,
        "jobs": [_change(c) for c in changes[:LISTED]],
        "totals": [
            {"found": found, "made": made, "changed": changed, "reason": reason or None, "jobs": count}
            for (found, made, changed, reason), count in totals.most_common(LISTED)
        ],
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "job": change.job_id,
        "recording": None if change.recording is None else readable(change.recording),
        "found": change.found or None,
        "made": change.made or None,
        "changed": change.changed,
        "reason": change.reason or None,
    }


def _selected(request: Request, ledger: Ledger) -> Sequence[int]:
    """Numbers of the jobs meant: those named by number, whatever their state, and those that meet the conditions."""
    if not (request.jobs or request.paths or request.everything or request.match):
        raise UsageError(
            "it names no job",
            operation=request.verb.value,
            remedy="name jobs, recordings or folders, or give --path TEXT, or --all (with --state STATE)",
        )
    jobs = list(request.jobs)
    if request.paths or request.everything or request.match:
        jobs += ledger.select(
            Selection(
                paths=[Path(p) for p in request.paths],
                states=_states(request),
                held=request.state == HELD,
                match=request.match,
                profile=request.profile,
                reason_code=request.reason_code,
            )
        )
    return list(dict.fromkeys(jobs))


def _states(request: Request) -> frozenset[JobState]:
    if request.state is None:
        # Who names a recording means the job that is there.
        named = (
            frozenset({JobState.CANCELLED}) if request.paths and request.verb is Verb.RETRY else frozenset()
        )
        return _USUAL[request.verb] | named
    if request.state == HELD:
        return frozenset({JobState.QUEUED})
    try:
        return frozenset({JobState(request.state)})
    except ValueError as e:
        known = ", ".join([s.value for s in JobState] + [HELD])
        raise UsageError(
            f"there is no state '{request.state}'", operation=request.verb.value, remedy=f"there are: {known}"
        ) from e
