"""Correct a transcript: the sentences of a paragraph, and the names of speakers. Each makes a new version of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dropscribe.errors import DropscribeError
from dropscribe.ledger.control import Verb
from dropscribe.ledger.records import JobDetail
from dropscribe.service.control import requests
from dropscribe.service.control.requests import Edit
from dropscribe.web.pages import recording
from dropscribe.web.pages.actions import answer_of, carry_out
from dropscribe.web.pages.answer import Answer
from dropscribe.web.site import site_of

#: Most fields of a form; a sentence has three.
_FIELDS = 1_500


@dataclass(frozen=True, slots=True)
class _Line:
    """A sentence in the form: as it is, and as it is to be."""

    start_ms: int
    said: str
    text: str


def edit(request: Request) -> Response:
    """The form for the sentences of the paragraph that has one at `at`, ms."""
    detail, content = recording.content_of(request)
    at = _whole(request.query_params.get("at", ""))
    if content is None or at is None or not recording.is_correctable(detail):
        raise HTTPException(404)
    paragraphs = [p for p in content.paragraphs if any(s.start_ms == at for s in p.sentences)]
    lines = [_Line(s.start_ms, s.text, s.text) for p in paragraphs[:1] for s in p.sentences]
    return _form(request, detail, lines)


async def correct(request: Request) -> Response:
    """Store the sentences of the form that were changed, and show the new version; or the form again, and why not."""
    form = await request.form(max_fields=_FIELDS, max_files=0)
    lines = _lines({name: value for name, value in form.items() if isinstance(value, str)})
    changed = [Edit(one.start_ms, one.said, one.text) for one in lines if one.text != one.said]
    if not changed:
        return RedirectResponse(f"/recordings/{request.path_params['job']}", 303)
    answer = await run_in_threadpool(_ask, request, {"verb": Verb.CORRECT.value, "edits": _records(changed)})
    if answer.job is not None:
        return RedirectResponse(f"/recordings/{answer.job}#t={changed[0].start_ms / 1000:.3f}", 303)
    return await run_in_threadpool(_again, request, lines, answer)


async def rename_speaker(request: Request) -> Response:
    """Name a speaker, and show the new version."""
    form = await request.form(max_fields=10, max_files=0)
    number = _whole(form.get("number"))
    document = {
        "verb": Verb.RENAME_SPEAKER.value,
        "speaker": number,
        "name": str(form.get("name") or "") or None,
    }
    answer = await run_in_threadpool(_ask, request, document)
    if answer.job is not None:
        return RedirectResponse(f"/recordings/{answer.job}", 303)
    return await run_in_threadpool(recording.show, request, answer)


def request_of(job: int, document: Mapping[str, Any]) -> requests.Request:
    """A request about one job. Raises UsageError for one that makes no sense."""
    return requests.parse({"schema": requests.SCHEMA, "jobs": [job], **document})


def _ask(request: Request, document: Mapping[str, Any]) -> Answer:
    try:
        answer = carry_out(request, request_of(request.path_params["job"], document))
    except DropscribeError as e:
        return Answer(f"{e.reason} ({e.remedy})", failed=True)
    return answer_of(answer)


def _again(request: Request, lines: Sequence[_Line], answer: Answer) -> Response:
    """The form with what was written in it: nothing of that is lost."""
    detail, _ = recording.content_of(request)
    return _form(request, detail, lines, answer)


def _form(
    request: Request, detail: JobDetail, lines: Sequence[_Line], answer: Answer | None = None
) -> Response:
    return site_of(request).render(
        request,
        "edit.html",
        job=detail.summary,
        lines=[(line, _rows(line.text)) for line in lines],
        answer=answer,
    )


def _rows(text: str) -> int:
    return max(2, math.ceil(len(text.encode()) / 100))


def _lines(form: Mapping[str, str]) -> list[_Line]:
    """What was sent, as far as it is whole."""
    found = []
    for name, text in form.items():
        if not name.startswith("text-"):
            continue
        number = name.removeprefix("text-")
        start, said = _whole(form.get(f"start-{number}")), form.get(f"said-{number}")
        if start is not None and said is not None:
            found.append(_Line(start, said, " ".join(text.split())))
    return found


def _records(edits: Sequence[Edit]) -> list[dict[str, Any]]:
    return [asdict(one) for one in edits]


def _whole(text: object) -> int | None:
    if isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 12:
        return int(text)
    return None
