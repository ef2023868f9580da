"""Carry out what people correct in a transcript: its sentences, and the names of its speakers. Each makes a new version."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dropscribe.config import Settings
from dropscribe.errors import UsageError
from dropscribe.ledger.control import Verb
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import JobDetail, JobState, Redo, Redone
from dropscribe.service.control.redoing import answer_of
from dropscribe.service.control.requests import Request
from dropscribe.service.publishing.stored_transcript import transcript_of
from dropscribe.transcript.renderers.content import Content, Options
from dropscribe.transcript.written.corrections import corrected

#: Longest name of a person, characters.
LONGEST_NAME = 100
#: Longest sentence, characters, and most of them in one request.
LONGEST, MOST = 10_000, 200


def correct(request: Request, ledger: Ledger, settings: Settings, *, who: str, now: float) -> dict[str, Any]:
    """Write sentences of a transcript as people give them, in a new version; returns the answer, as of a redo.

    All or none are written. Raises UsageError for sentences that are not there, or others by now.
    """
    detail = _job(request, ledger)
    if not request.edits or len(request.edits) > MOST or any(len(e.text) > LONGEST for e in request.edits):
        raise _wrong(
            Verb.CORRECT,
            "it has no sentences, or too many or too long ones",
            f"correct up to {MOST} at a time",
        )
    profile = settings.profile(detail.summary.profile)
    transcript = transcript_of(detail)
    if transcript is None or detail.summary.state is not JobState.DONE:
        reason = "it is not done" if detail.summary.state is not JobState.DONE else "its text was removed"
        return answer_of(
            Verb.CORRECT, who, [Redone(detail.summary.id, None, detail.summary.recording, reason=reason)]
        )
    content = Content(transcript, Options.of(profile))
    numbers = {(s.start_ms, s.text): i for i, s in enumerate(content.sentences)}
    edits: dict[int, str] = {}
    for one in request.edits:
        number = numbers.get((one.start_ms, one.said))
        if number is None:
            raise _wrong(Verb.CORRECT, "the transcript has other sentences by now", "load the page again")
        text = "".join(c for c in " ".join(one.text.split()) if c.isprintable())
        if text != one.said:
            edits[number] = text
    if not edits:
        raise _wrong(Verb.CORRECT, "nothing was changed", "change a sentence")
    segments = transcript.segments
    # From the last one on: the numbers of those before stay what they are.
    for number in sorted(edits, reverse=True):
        segments = corrected(
            content.transcript.segments, content.runs, content.sentences, number, edits[number]
        )
        content = Content(replace(transcript, segments=segments), content.options)
    return answer_of(
        Verb.CORRECT, who, [ledger.revise(detail.summary.id, segments, profile.max_attempts, now, who)]
    )


def rename_speaker(
    request: Request, ledger: Ledger, settings: Settings, *, who: str, now: float
) -> dict[str, Any]:
    """Name a speaker of a transcript, or remove the name, and queue its files to be written; returns the answer, as of a redo."""
    detail = _job(request, ledger)
    job, number = detail.summary, request.speaker
    name = name_of_person(request.name or "", "rename a speaker") if (request.name or "").strip() else None
    speakers = () if detail.result is None else detail.result.speakers
    if number is None or number not in [s.number for s in speakers]:
        known = ", ".join(f"{s.number}{f' ({s.name})' if s.name else ''}" for s in speakers)
        raise _wrong(
            Verb.RENAME_SPEAKER,
            f"job {job.id} has no speaker {number}",
            f"it has: {known}"
            if known
            else "'dropscribe jobs show' shows a job; speakers = \"auto\" in its profile finds speakers",
        )
    ledger.name_speaker(job.id, number, name)
    # Under the recipe of the job itself: nothing is to be recognised, whatever is in force by now.
    again = Redo(
        job.id, job.profile, detail.recipe, share_result=False,
        max_attempts=settings.profile(job.profile).max_attempts,
    )  # fmt: skip
    return answer_of(Verb.RENAME_SPEAKER, who, ledger.redo([again], now, who, Verb.RENAME_SPEAKER))


def name_of_person(given: str, operation: str) -> str:
    """The name with single spaces. Raises UsageError for one that is empty, too long or cannot be printed."""
    name = " ".join(given.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise UsageError(
            "the name is empty, too long or not printable",
            operation=operation,
            remedy=f"give a name of 1 to {LONGEST_NAME} characters",
        )
    return name


def _job(request: Request, ledger: Ledger) -> JobDetail:
    number = request.jobs[0] if len(request.jobs) == 1 else None
    detail = None if number is None else ledger.job(number)
    if detail is None:
        raise _wrong(
            request.verb, "it names no job" if number is None else f"there is no job {number}",
            "'dropscribe jobs' lists them",
        )  # fmt: skip
    return detail


def _wrong(verb: Verb, reason: str, remedy: str) -> UsageError:
    return UsageError(reason, operation=verb.value, remedy=remedy)
