"""What people ask of the daemon here: as the command line does, with the same answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dropscribe.errors import DropscribeError
from dropscribe.escapes import readable
from dropscribe.ledger.control import Verb
from dropscribe.service.control import requests
from dropscribe.service.control.client import ask
from dropscribe.web.pages import live, recording
from dropscribe.web.pages.answer import Answer
from dropscribe.web.site import Site, site_of

#: Verbs of one job, and of folders.
OF_JOB = frozenset({Verb.RETRY, Verb.CANCEL, Verb.REDO, Verb.PRIORITY})
OF_FOLDER = frozenset({Verb.PAUSE, Verb.RESUME})


async def of_job(request: Request) -> Response:
    """Carry out an action on one job and show it; the new job of a redo."""
    verb = _verb(request, OF_JOB)
    form = await request.form(max_fields=10, max_files=0)
    answer = await run_in_threadpool(_job, request, verb, form.get("priority"))
    if answer.job is not None:
        return RedirectResponse(f"/recordings/{answer.job}", 303)
    return await run_in_threadpool(recording.show, request, answer)


async def of_folder(request: Request) -> Response:
    """Pause or resume one folder, or all, and show the status."""
    verb = _verb(request, OF_FOLDER)
    folder = (await request.form(max_fields=10, max_files=0)).get("folder")
    answer = await run_in_threadpool(_folder, request, verb, folder if isinstance(folder, str) else "")
    return await run_in_threadpool(live.show, request, answer)


def carry_out(request: Request, asked: requests.Request) -> dict[str, Any]:
    """The daemon's answer to what a visitor asks, dropscribe/control/1. Raises DropscribeError."""
    site = site_of(request)
    visitor = site.rules.visitor(request.headers, request.client.host if request.client else "")
    return ask(
        site.location,
        replace(asked, database=str(site.location), visitor=visitor or "unknown"),
        site.settings,
    )


def job_request(verb: Verb, job: int, priority: object) -> requests.Request:
    """A request about one job. Raises UsageError for one that makes no sense."""
    document: dict[str, object] = {"schema": requests.SCHEMA, "verb": verb.value, "jobs": [job]}
    if verb is Verb.PRIORITY:
        text = str(priority).strip()
        document["priority"] = int(text) if text.lstrip("-").isdecimal() and len(text) < 10 else None
    return requests.parse(document)


def folder_request(site: Site, verb: Verb, folder: str) -> requests.Request:
    """A request about the folder of this readable name, or all for ""."""
    known = next((str(f) for f in site.folders if readable(f) == folder), folder)
    return requests.parse({"schema": requests.SCHEMA, "verb": verb.value, "folder": known or None})


def _job(request: Request, verb: Verb, priority: object) -> Answer:
    try:
        answer = carry_out(request, job_request(verb, request.path_params["job"], priority))
    except DropscribeError as e:
        return Answer(f"{e.reason} ({e.remedy})", failed=True)
    return answer_of(answer)


def answer_of(answer: Mapping[str, Any]) -> Answer:
    """An answer about one job in a line for people."""
    if "redone" in answer:
        if not answer["redone"]:
            return Answer("there is nothing to do again", failed=True)
        one = answer["redone"][0]
        return Answer(str(one["reason"]), failed=bool(one["reason"]), job=one["new_job_id"])
    if not answer["jobs"]:
        return Answer("there is no such job", failed=True)
    one = answer["jobs"][0]
    return Answer(one["reason"], failed=True) if one["reason"] else Answer(f"{one['found']} → {one['made']}")


def _folder(request: Request, verb: Verb, folder: str) -> Answer:
    try:
        answer = carry_out(request, folder_request(site_of(request), verb, folder))
    except DropscribeError as e:
        return Answer(f"{e.reason} ({e.remedy})", failed=True)
    return Answer(f"{answer['found']} → {answer['made']}")


def _verb(request: Request, known: frozenset[Verb]) -> Verb:
    text = request.path_params["verb"]
    if text not in {verb.value for verb in known}:
        raise HTTPException(404)
    return Verb(text)
