"""`POST /v1/audio/transcriptions` as OpenAI's API has it: the recording goes into a watched folder, and the daemon works.

The request waits for the transcript without holding a thread. One that takes longer is answered with 202 and its job; the
recording stays and is transcribed, whether anybody waits or not.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from dropscribe import escapes
from dropscribe.config import Folder, Settings
from dropscribe.errors import DropscribeError
from dropscribe.escapes import readable
from dropscribe.files import close
from dropscribe.ledger.control import Selection
from dropscribe.ledger.records import JobDetail, JobState
from dropscribe.service.publishing.stored_transcript import transcript_of
from dropscribe.transcript.render import RENDERERS, Options
from dropscribe.transcript.renderers.content import Content
from dropscribe.web.openai.form import Begin, Data, Form, FormError
from dropscribe.web.openai.shapes import WishError, Wishes, document, name_for
from dropscribe.web.pages.upload import (
    PIECE,
    Sending,
    arrived,
    demand_uploads,
    finish,
    open_unfinished,
    sending_of,
    write,
)
from dropscribe.web.program_errors import error_answer
from dropscribe.web.site import Site, site_of

#: Shortest and longest time between two looks at the job, seconds.
SOONEST_S, LATEST_S = 0.1, 1.0
#: Largest field of the form, bytes.
MOST_FIELD = 16 << 10
_ENDED = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})
#: Types of the answers that are files.
_TYPES: Mapping[str, str] = MappingProxyType(
    {"srt": "text/plain; charset=utf-8", "vtt": "text/vtt; charset=utf-8"}
)

#: Waits for some seconds, and what time it is.
sleep = asyncio.sleep
clock = time.monotonic


class _Recording:
    """A recording that arrives: hidden in its folder until it is whole. Close it, which removes it unless it was kept."""

    def __init__(self, site: Site, folder: Folder, filename: str, most: int) -> None:
        """`most`: bytes of the whole request. Raises HTTPException for a recording that is not taken."""
        self.sending: Sending = sending_of(
            site,
            {"folder": readable(folder.path), "name": name_for(filename), "size": str(most), "key": "openai"},
        )
        arrived(site, self.sending)
        self._most = site.rules.upload_bytes
        self._held = bytearray()
        self._at = 0
        self._directory, self._descriptor = open_unfinished(self.sending)

    async def add(self, content: bytes) -> None:
        """Take the next piece. Raises HTTPException."""
        self._held += content
        if self._at + len(self._held) > self._most:
            raise HTTPException(413, f"a recording may have {self._most >> 20} MiB at most")
        if len(self._held) >= PIECE:
            self._at = await run_in_threadpool(write, self._descriptor, self._held, self._at)

    def keep(self) -> Path:
        """Give it its name; returns its path. Raises HTTPException."""
        self._at = write(self._descriptor, self._held, self._at)
        if not self._at:
            raise HTTPException(400, "the file is empty (record or copy it again)")
        finish(self.sending, self._directory, self._descriptor)
        return self.sending.folder.path / self.sending.name

    def close(self) -> None:
        """Remove it unless it was kept."""
        with contextlib.suppress(OSError):
            os.unlink(self.sending.temporary, dir_fd=self._directory)
        close(self._descriptor)
        close(self._directory)


async def create(request: Request) -> Response:
    """Transcribe a recording; 202 with the job if that takes longer than `openai_wait_s`."""
    site = site_of(request)
    settings, folder = _settings_of(site)
    try:
        path, wishes = await _receive(request, site, folder)
    except (FormError, WishError) as e:
        return error_answer(request.url.path, 400, "invalid_request", str(e))
    job = await _ended(request, site, path, settings.web.openai_wait_s)
    if job is None:
        return await run_in_threadpool(_pending, site, path)
    return await run_in_threadpool(_answer, request, site, settings, job, wishes)


def models(request: Request) -> Response:
    """The recogniser of the folder; whatever a request names as its model, this one is used."""
    settings, folder = _settings_of(site_of(request))
    name = settings.model_set(settings.profile(folder.profile)).asr
    return JSONResponse(
        {"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "dropscribe"}]}
    )


def _settings_of(site: Site) -> tuple[Settings, Folder]:
    """Settings, and the folder for recordings of this API. Raises HTTPException if there is none."""
    demand_uploads(site)
    settings = site.settings
    if settings is not None:
        for folder in settings.folders:
            if folder.path == settings.web.openai_folder:
                return settings, folder
    raise HTTPException(403, "recordings cannot be sent here (set [web] openai_folder)")


async def _receive(request: Request, site: Site, folder: Folder) -> tuple[Path, Wishes]:
    """Where the recording of a request is now, and how it is to be answered. Raises HTTPException, FormError, WishError.

    Fields before the file are read before it, so that a request that makes no sense is refused before much arrives.
    """
    form = Form(request.headers.get("content-type", ""))
    length = request.headers.get("content-length")
    if length is None:
        raise HTTPException(411, "the length of the request is not known (send Content-Length)")
    most = min(int(length), site.rules.upload_bytes)  # the guard has read it
    fields: dict[str, list[bytearray]] = {}
    recording: _Recording | None = None
    to: bytearray | None = None
    try:
        async for piece in request.stream():
            for event in form.feed(piece):
                if isinstance(event, Begin):
                    to = None
                    if event.name != "file":
                        to = bytearray()
                        fields.setdefault(event.name, []).append(to)
                    elif recording is not None:
                        raise FormError("the form has more than one file (send one recording a request)")
                    else:
                        Wishes.of(_texts(fields))
                        recording = await run_in_threadpool(
                            _Recording, site, folder, event.filename or "", most
                        )
                elif to is not None:
                    to += event.content
                    if len(to) > MOST_FIELD:
                        raise FormError("a field of the form is too long")
                elif isinstance(event, Data) and recording is not None:
                    await recording.add(event.content)
        form.end()
        if recording is None:
            raise FormError("the form has no file (send the recording as 'file')")
        wishes = Wishes.of(_texts(fields))
        return await run_in_threadpool(recording.keep), wishes
    finally:
        if recording is not None:
            recording.close()


def _texts(fields: Mapping[str, Sequence[bytearray]]) -> dict[str, list[str]]:
    return {name: [v.decode("utf-8", "replace").strip() for v in values] for name, values in fields.items()}


async def _ended(request: Request, site: Site, path: Path, longest_s: float) -> int | None:
    """The job of a recording once it has ended; None if that takes too long, or the client has gone."""
    until, pause = clock() + longest_s, SOONEST_S
    while True:
        found = await run_in_threadpool(_jobs, site, path, _ENDED)
        if found:
            return found[-1]
        if clock() >= until or await request.is_disconnected():
            return None
        await sleep(pause)
        pause = min(1.5 * pause, LATEST_S)


def _jobs(site: Site, path: Path, states: frozenset[JobState] = frozenset()) -> list[int]:
    """Jobs of a recording; none while the ledger cannot be read: its daemon may be starting."""
    with contextlib.suppress(DropscribeError):
        return site.ledger().select(Selection(paths=[path], states=states))
    return []


def _pending(site: Site, path: Path) -> Response:
    """202: where to ask for the job; null while the daemon has not seen the recording."""
    job = next(iter(_jobs(site, path)), None)
    where = f"/api/v1/jobs?path={quote(path.name)}" if job is None else f"/api/v1/jobs/{job}"
    answer = {"object": "transcription.pending", "job": job, "recording": readable(path), "location": where}
    return JSONResponse(answer, 202, {"Location": where, "Retry-After": "5"})


def _answer(request: Request, site: Site, settings: Settings, job: int, wishes: Wishes) -> Response:
    detail = site.ledger().job(job)
    transcript = None if detail is None else transcript_of(detail)
    if detail is None or detail.summary.state is not JobState.DONE or transcript is None:
        return _failed(request, detail)
    content = Content(transcript, Options.of(settings.profile(detail.summary.profile)))
    named = {"X-Dropscribe-Job": str(job)}
    if wishes.format == "text":
        return PlainTextResponse(f"{content.text}\n".encode("utf-8", "backslashreplace"), 200, named)
    if wishes.format in _TYPES:
        return Response(RENDERERS[wishes.format](content), 200, named, _TYPES[wishes.format])
    text = escapes.dumps(document(content, wishes))
    return Response(text.encode(), 200, named, "application/json")


def _failed(request: Request, detail: JobDetail | None) -> Response:
    """Why there is no transcript: of a status at which clients do not send the recording again."""
    if detail is None:
        return error_answer(request.url.path, 400, "removed", "the job was removed")
    job = detail.summary
    reason = job.reason or f"there is no text; the job is {job.state.value}"
    return error_answer(request.url.path, 400, job.reason_code or job.state.value, reason, job.remedy or "")
