"""Choose the jobs that are to be done again, and queue them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dropscribe.config import Settings
from dropscribe.errors import UsageError
from dropscribe.escapes import readable
from dropscribe.ledger.control import Verb
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import JobState, Redo, Redone
from dropscribe.service.control.requests import LISTED, SCHEMA, Request, batches

#: Most recordings that a search selects.
MOST_FOUND = 100_000


def redo(
    request: Request, ledger: Ledger, settings: Settings, *, who: str, now: float, stopped: Callable[[], bool]
) -> dict[str, Any]:
    """Queue jobs again; returns the answer. Raises UsageError for a request that names no job, or nothing that exists.

    `stopped` is asked between batches of jobs; raises DropscribeError then.
    """
    if not (request.jobs or request.paths or request.search is not None or request.model_changed):
        raise UsageError(
            "it names no job",
            operation="redo",
            remedy="name jobs, recordings or folders, or give --search or --model-changed",
        )
    if request.profile is not None and request.profile not in settings.profiles:
        raise UsageError(
            f"there is no profile '{request.profile}'",
            operation="redo",
            remedy=f"there are: {', '.join(settings.profiles)}",
        )
    # What people corrected is not recognised anew unless that is asked for.
    kept = frozenset() if request.recognise else ledger.jobs_with_corrections()
    chosen = [
        one
        for job, of_job, recipe in _chosen(request, ledger)
        if (one := _redo(request, settings, job, request.profile or of_job, recipe if job in kept else None))
        and not (request.model_changed and one.recipe == recipe)
    ]
    answers: list[Redone] = []
    for some in batches(chosen, stopped):
        answers += _foreseen(ledger, some) if request.dry_run else ledger.redo(some, now, who)
    return answer_of(Verb.REDO, who, answers)


def answer_of(verb: Verb, who: str, answers: Sequence[Redone]) -> dict[str, Any]:
    """The answer to a request that makes new versions."""
    return {
        "schema": SCHEMA,
        "verb": verb.value,
        "who": who,
        "redone": [_record(one) for one in answers[:LISTED]],
        "total": len(answers),
        "refused": sum(bool(one.reason) for one in answers),
    }


def redone(answer: dict[str, Any]) -> list[Redone]:
    """The records in an answer of `redo`, at most `LISTED`."""
    return [
        Redone(**one | {"recording": None if one["recording"] is None else Path(one["recording"])})
        for one in answer["redone"]
    ]


def _record(one: Redone) -> dict[str, Any]:
    return asdict(one) | {"recording": None if one.recording is None else readable(one.recording)}


def _chosen(request: Request, ledger: Ledger) -> Iterator[tuple[int, str, str]]:
    """(job, its profile, its recipe) of all that was named or found, each once. Raises UsageError."""
    seen: set[int] = set()

    def new(jobs: Iterable[tuple[int, str, str]]) -> Iterator[tuple[int, str, str]]:
        for one in jobs:
            if one[0] not in seen:
                seen.add(one[0])
                yield one

    for number in request.jobs:
        detail = ledger.job(number)
        if detail is None:
            raise UsageError(
                f"there is no job {number}", operation="redo", remedy="'dropscribe jobs' lists them"
            )
        yield from new([(detail.summary.id, detail.summary.profile, detail.recipe)])
    for path in map(Path, request.paths):
        found = ledger.finished_jobs(path)
        if not found:
            raise UsageError(
                "no finished job of this recording or folder is on record",
                operation="redo",
                path=path,
                remedy="'dropscribe jobs --folder DIR' lists them",
            )
        yield from new((job.job_id, job.profile, job.recipe) for job in found)
    if request.search is not None:
        hits = ledger.search(request.search, MOST_FOUND, 1)
        recordings = {p for hit in hits for p in (hit.recording, *(copy.recording for copy in hit.copies))}
        found = [job for job in ledger.finished_jobs() if job.path in recordings]
        yield from new((job.job_id, job.profile, job.recipe) for job in found)
    elif not request.jobs and not request.paths:
        yield from new((job.job_id, job.profile, job.recipe) for job in ledger.finished_jobs())


def _redo(request: Request, settings: Settings, job_id: int, profile: str, recipe: str | None) -> Redo:
    """`recipe`: that of the job, under which its result is used; None: that of the settings."""
    of_profile = settings.profile(profile)
    return Redo(
        job_id,
        profile,
        settings.recipe(profile) if recipe is None else recipe,
        of_profile.duplicates == "reference",
        of_profile.max_attempts,
        request.keep_old,
        request.recognise,
    )


def _foreseen(ledger: Ledger, requests: Sequence[Redo]) -> list[Redone]:
    """What `Ledger.redo` would answer, as far as that is known without queueing."""
    answers = []
    for one in requests:
        detail = ledger.job(one.job_id)
        if detail is None or detail.summary.state in {JobState.QUEUED, JobState.RUNNING}:
            answers.append(Redone(one.job_id, reason="it is not finished yet"))
            continue
        stored = detail.result is not None and detail.recipe == one.recipe and not one.recognise
        answers.append(
            Redone(
                one.job_id,
                None,
                detail.summary.recording,
                from_tokens=stored,
                version=detail.summary.version + 1,
            )
        )
    return answers
