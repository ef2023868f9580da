"""/api/v1: the documents of the command line for programs, and the same actions. Described by `openapi.py`."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dropscribe import escapes
from dropscribe.errors import UsageError
from dropscribe.ledger.control import Verb
from dropscribe.ledger.questions import Cursor, JobFilter, Part, TotalsFilter, named_folder
from dropscribe.ledger.records import JobState
from dropscribe.service.control.redoing import redone
from dropscribe.views.control import control_document
from dropscribe.views.jobs import jobs_document, redo_document, search_document, show_document
from dropscribe.views.stats import DAY_S, stats_document
from dropscribe.views.status import document as status_document
from dropscribe.views.status import held_problems, jobs_in_progress, problems, queue_of, read_process, said_by
from dropscribe.views.waiting import folder_waits, waits_for
from dropscribe.web.pages.actions import OF_FOLDER, OF_JOB, carry_out, folder_request, job_request
from dropscribe.web.pages.corrections import request_of
from dropscribe.web.pages.openapi import description
from dropscribe.web.site import Site, site_of

#: Jobs and hits of an answer: usually, and at most.
USUAL, MOST = 50, 500


def jobs(request: Request) -> Response:
    """dropscribe/jobs/1."""
    site, given = site_of(request), request.query_params
    state = given.get("state")
    if state not in {None, "held", *(s.value for s in JobState)}:
        raise _wrong("state", "write queued, running, done, failed, cancelled or held")
    wanted = JobFilter(
        state=None if state in {None, "held"} else JobState(state),
        held=state == "held",
        folder=named_folder(Path(given["folder"]), Path("/")) if "folder" in given else None,
        profile=given.get("profile"),
        since=_instant(request, "since"),
        until=_instant(request, "until"),
        speaker=given.get("speaker"),
        path=given.get("path"),
        text=given.get("text"),
        shortest_s=_number(request, "at_least_s"),
        longest_s=_number(request, "at_most_s"),
        reason=given.get("reason"),
        host=given.get("host"),
    )
    after = None
    if "after" in given:
        try:
            after = Cursor.parse(given["after"])
        except ValueError as e:
            raise _wrong("after", "give 'next' of an earlier answer") from e
    ledger = site.ledger()
    page = ledger.find_jobs(wanted, limit=_limit(request), after=after)
    said = said_by(site.location)
    return _json(
        jobs_document(site.location, page, jobs_in_progress(said), folder_waits(said, ledger.pauses()))
    )


def job(request: Request) -> Response:
    """dropscribe/job/1."""
    site, number = site_of(request), request.path_params["job"]
    ledger = site.ledger()
    detail = ledger.job(number) if 0 < number < 1 << 62 else None
    if detail is None:
        raise HTTPException(404, "there is no such job")
    said = said_by(site.location)
    wait = waits_for(detail.summary, folder_waits(said, ledger.pauses()))
    return _json(
        show_document(detail, jobs_in_progress(said).get(number), wait, ledger.actions(job_id=number))
    )


async def act_on_job(request: Request) -> Response:
    """dropscribe/control/1, or dropscribe/redo/1 for a redo. Status 409 if the job was not changed."""
    verb = _verb(request, OF_JOB)
    given = await _body(request)
    asked = job_request(verb, request.path_params["job"], given.get("priority", ""))
    answer = await run_in_threadpool(carry_out, request, asked)
    if verb is Verb.REDO:
        return _new_version(site_of(request), answer)
    unchanged = not answer["jobs"] or any(not one["changed"] for one in answer["jobs"])
    return _json(control_document(answer), 409 if unchanged else 200)


async def correct(request: Request) -> Response:
    """dropscribe/redo/1 of corrected sentences. Status 409 if the job was not corrected."""
    edits = (await _body(request)).get("edits", [])
    return await _corrected(request, {"verb": Verb.CORRECT.value, "edits": edits})


async def rename_speaker(request: Request) -> Response:
    """dropscribe/redo/1 of a speaker with another name. Status 409 if the files are not written again."""
    given = await _body(request)
    of = {name: given.get(name) for name in ("speaker", "name")}
    return await _corrected(request, {"verb": Verb.RENAME_SPEAKER.value, **of})


async def _corrected(request: Request, document: dict[str, Any]) -> Response:
    asked = request_of(request.path_params["job"], document)
    return _new_version(site_of(request), await run_in_threadpool(carry_out, request, asked))


def _new_version(site: Site, answer: dict[str, Any]) -> Response:
    total, refused = answer["total"], answer["refused"]
    document = redo_document(site.location, redone(answer), dry_run=False, total=total, refused=refused)
    return _json(document, 200 if total > refused else 409)


async def act_on_folder(request: Request) -> Response:
    """dropscribe/control/1."""
    verb = _verb(request, OF_FOLDER)
    folder = (await _body(request)).get("folder") or ""
    if not isinstance(folder, str):
        raise _wrong("folder", "write its path")
    answer = await run_in_threadpool(carry_out, request, folder_request(site_of(request), verb, folder))
    return _json(control_document(answer))


def search(request: Request) -> Response:
    """dropscribe/search/1."""
    query = request.query_params.get("q", "")[:1000]
    places = _whole(request, "places", 5, 100)
    return _json(search_document(query, site_of(request).ledger().search(query, _limit(request, 20), places)))


def status(request: Request) -> Response:
    """dropscribe/daemon/1."""
    site, now = site_of(request), time.time()
    process, queue = read_process(site.location), queue_of(site.ledger(), now)
    return _json(
        status_document(site.location, process, queue, [*problems(process, now), *held_problems(queue)])
    )


def stats(request: Request) -> Response:
    """dropscribe/stats/1."""
    site, given = site_of(request), request.query_params
    names = given.getlist("by") or [Part.DAY.value]
    if not set(names) <= {part.value for part in Part} or len(names) > len(Part):
        raise _wrong("by", f"write one of {', '.join(Part)}")
    parts = [Part(name) for name in names]
    first, last = (
        None if at is None else int(at // DAY_S)
        for at in (_instant(request, "since"), _instant(request, "until"))
    )
    if first is None and Part.DAY in parts:
        first = int(time.time() // DAY_S) - 30
    folder = named_folder(Path(given["folder"]), Path("/")) if "folder" in given else None
    wanted = TotalsFilter(first, last, folder, given.get("profile"), given.get("model"))
    ledger = site.ledger()
    whole = next(iter(ledger.totals((), wanted)), None)
    return _json(stats_document(site.location, parts, wanted, ledger.totals(parts, wanted), whole))


def openapi(request: Request) -> Response:
    """The description of all this, OpenAPI 3.1."""
    return _json(description(with_token=bool(site_of(request).rules.token)))


def _json(document: Any, status: int = 200) -> Response:
    return Response(escapes.dumps(document).encode(), status, media_type="application/json")


def _verb(request: Request, known: frozenset[Verb]) -> Verb:
    text = request.path_params["verb"]
    if text not in {verb.value for verb in known}:
        raise HTTPException(404)
    return Verb(text)


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object that was sent, {} if nothing was. Raises UsageError."""
    data = await request.body()
    if not data.strip():
        return {}
    with suppress(ValueError, RecursionError):
        found = json.loads(data)
        if isinstance(found, dict):
            return found
    raise _wrong("the body", "send a JSON object")


def _limit(request: Request, usual: int = USUAL) -> int:
    return _whole(request, "limit", usual, MOST)


def _whole(request: Request, name: str, usual: int, most: int) -> int:
    text = request.query_params.get(name, str(usual))
    if not (text.isdecimal() and len(text) < 10 and 1 <= int(text) <= most):
        raise _wrong(name, f"write a whole number from 1 to {most}")
    return int(text)


def _number(request: Request, name: str) -> float | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    with suppress(ValueError):
        value = float(text)
        if 0 <= value < 1e9:
            return value
    raise _wrong(name, "write a number of seconds")


def _instant(request: Request, name: str) -> float | None:
    """Epoch seconds of an ISO 8601 date or time, local unless it has an offset."""
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError) as e:
        raise _wrong(name, "write 2026-03-01 or 2026-03-01T12:00:00Z") from e


def _wrong(name: str, remedy: str) -> UsageError:
    return UsageError(f"{name} cannot be read", operation="answer", remedy=remedy)
