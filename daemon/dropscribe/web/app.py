"""The application: which address is answered by what, and errors as pages or JSON documents."""

from __future__ import annotations

import asyncio

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from dropscribe import logs
from dropscribe.errors import DropscribeError, LedgerError, StorageError, UsageError
from dropscribe.views.errors import error_document
from dropscribe.web.openai import transcriptions
from dropscribe.web.pages import actions, api, corrections, history, live, recording, upload
from dropscribe.web.program_errors import error_answer, for_program, is_openai
from dropscribe.web.security import COOKIE, TRANSCRIPTIONS, UPLOAD, WRONG_TOKEN_S, Guard
from dropscribe.web.site import Site, site_of

#: Statuses of errors that no page expects.
_STATUSES: tuple[tuple[type[DropscribeError], int], ...] = (
    (LedgerError, 503),
    (StorageError, 503),
    (UsageError, 400),
)


def build(site: Site) -> Starlette:
    """The application of one site."""
    app = Starlette(
        routes=[
            Route("/", history.page),
            Route("/recordings/{job:int}", recording.page),
            Route("/recordings/{job:int}/sound.wav", recording.sound),
            Route("/recordings/{job:int}/original", recording.original),
            Route("/recordings/{job:int}/files/{format:str}", recording.download),
            Route("/recordings/{job:int}/edit", corrections.edit),
            Route("/recordings/{job:int}/correct", corrections.correct, methods=["POST"]),
            Route("/recordings/{job:int}/rename-speaker", corrections.rename_speaker, methods=["POST"]),
            Route("/recordings/{job:int}/{verb:str}", actions.of_job, methods=["POST"]),
            Route("/status", live.page),
            Route("/status/{verb:str}", actions.of_folder, methods=["POST"]),
            Route("/metrics", live.metrics),
            Route("/api/v1/jobs", api.jobs),
            Route("/api/v1/jobs/{job:int}", api.job),
            Route("/api/v1/jobs/{job:int}/transcript/{format:str}", recording.download),
            Route("/api/v1/jobs/{job:int}/sound.wav", recording.sound),
            Route("/api/v1/jobs/{job:int}/original", recording.original),
            Route("/api/v1/jobs/{job:int}/correct", api.correct, methods=["POST"]),
            Route("/api/v1/jobs/{job:int}/rename-speaker", api.rename_speaker, methods=["POST"]),
            Route("/api/v1/jobs/{job:int}/{verb:str}", api.act_on_job, methods=["POST"]),
            Route("/api/v1/search", api.search),
            Route("/api/v1/status", api.status),
            Route("/api/v1/stats", api.stats),
            Route("/api/v1/openapi.json", api.openapi),
            Route(UPLOAD, upload.offset),
            Route(UPLOAD, upload.receive, methods=["PUT"]),
            Route("/upload", upload.page),
            Route("/api/v1/{verb:str}", api.act_on_folder, methods=["POST"]),
            Route(TRANSCRIPTIONS, transcriptions.create, methods=["POST"]),
            Route("/v1/models", transcriptions.models),
            Route("/login", login, methods=["GET", "POST"]),
            Route("/static/{name:str}", static),
        ],
        middleware=[Middleware(Guard, rules=site.rules)],
        exception_handlers={DropscribeError: _of_product, HTTPException: _of_http, Exception: _unexpected},
    )
    app.state.site = site
    return app


def static(request: Request) -> Response:
    """A file of the page. There are no others than those in the table."""
    file = site_of(request).static.get(request.path_params["name"])
    if file is None:
        raise HTTPException(404)
    # The address has the version of the content, so a new content has a new address.
    return Response(file.content, 200, {"Cache-Control": "public, max-age=31536000, immutable"}, file.kind)


async def login(request: Request) -> Response:
    """The form for the token, and what it sends."""
    site = site_of(request)
    if not site.rules.token:
        return RedirectResponse("/", 303)
    if request.method == "GET":
        return site.render(request, "login.html", wrong=False)
    given = (await request.form(max_fields=5, max_files=0)).get("token", "")
    if not isinstance(given, str) or not site.rules.is_token(given.strip()):
        await asyncio.sleep(WRONG_TOKEN_S)
        return site.render(request, "login.html", status=403, wrong=True)
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        COOKIE, site.rules.session(), max_age=90 * 86_400, httponly=True, samesite="strict",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return answer


def _of_product(request: Request, error: Exception) -> Response:
    assert isinstance(error, DropscribeError)
    status = next((number for kind, number in _STATUSES if isinstance(error, kind)), 500)
    if error.operation == "open database":
        status = 503  # there is none yet, which is no fault of the request
    if is_openai(request.url.path):
        return error_answer(request.url.path, status, error.code, error.reason, error.remedy)
    if for_program(request.url.path):
        return JSONResponse(error_document(error), status)
    return site_of(request).render(
        request, "error.html", status=status, reason=f"{error.operation}: {error.reason}", remedy=error.remedy
    )


def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reasons = {404: "there is no such page", 405: "this cannot be done here"}
    reason = reasons.get(error.status_code, error.detail)
    if for_program(request.url.path):
        return error_answer(request.url.path, error.status_code, "http", reason)
    return site_of(request).render(request, "error.html", status=error.status_code, reason=reason, remedy="")


def _unexpected(request: Request, error: Exception) -> Response:
    logs.problem(
        logs.get("web"), logs.Action.WEB, f"{request.method} {request.url.path}: {type(error).__name__}"
    )
    if for_program(request.url.path):
        return error_answer(request.url.path, 500, "unexpected", "something went wrong here")
    return site_of(request).render(
        request, "error.html", status=500, reason="something went wrong here", remedy="the log has more"
    )
