"""One recording: its text, its sound, its files, and what happened to it."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dropscribe.escapes import readable
from dropscribe.files import FileSignature, close
from dropscribe.ledger.control import LEAST_PRIORITY, MOST_PRIORITY, Verb
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import JobDetail, JobState
from dropscribe.media.protocol import Excerpt
from dropscribe.service.publishing.stored_transcript import transcript_of
from dropscribe.transcript.naming import FORMATS
from dropscribe.transcript.render import Options, render
from dropscribe.transcript.renderers.content import Content
from dropscribe.transcript.types import MediaFacts
from dropscribe.views.jobs import progress_text
from dropscribe.views.recordings import open_transcribed, place_of
from dropscribe.views.status import jobs_in_progress, said_by
from dropscribe.views.timeline import timeline
from dropscribe.views.waiting import folder_waits, waits_for
from dropscribe.web.pages.answer import Answer
from dropscribe.web.pages.paragraphs import paragraphs_of
from dropscribe.web.pages.partial import partial_text
from dropscribe.web.site import Site, site_of
from dropscribe.web.sound.answers import DecodedSound, OriginalSound, wav_size
from dropscribe.web.sound.ranges import RATE_HZ, bytes_of

#: Types of the formats of transcripts; others are plain text.
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "json": "application/json",
        "html": "text/html; charset=utf-8",
        "vtt": "text/vtt; charset=utf-8",
        "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    }
)
#: Extension of a download, where it is not the name of the format.
_EXTENSIONS: Mapping[str, str] = MappingProxyType({"labels": "labels.txt"})
#: Types of recordings that browsers play, and in which they find a second exactly, by container and codec.
_PLAYABLE: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("wav", "pcm_s16le"): "audio/wav",
        ("flac", "flac"): "audio/flac",
        ("mov,mp4,m4a,3gp,3g2,mj2", "aac"): "audio/mp4",
        ("ogg", "opus"): "audio/ogg; codecs=opus",
        ("ogg", "vorbis"): "audio/ogg; codecs=vorbis",
        ("matroska,webm", "opus"): "audio/webm; codecs=opus",
    }
)


def page(request: Request) -> Response:
    """The page of a job."""
    return show(request)


def show(request: Request, answer: Answer | None = None) -> Response:
    """The page of a job, with what came of an action."""
    site = site_of(request)
    ledger = site.ledger()
    detail = _detail(request, ledger)
    job = detail.summary
    actions = ledger.actions(job_id=job.id)
    said = said_by(site.location)
    progress = jobs_in_progress(said).get(job.id)
    transcript = transcript_of(detail)
    content = None if transcript is None else Content(transcript, _options(site, detail))
    texts = None if detail.result is None else [s.text for s in detail.result.segments]
    there = _signature(site, detail) is not None
    correctable = is_correctable(detail)
    unfinished = job.state in {JobState.QUEUED, JobState.RUNNING}
    page = site.stream(
        request,
        "recording.html",
        job=job,
        answer=answer,
        unfinished=unfinished,
        correctable=correctable,
        actions=_possible(detail),
        detail=detail,
        content=content,
        said_nothing=texts is not None and not any(texts),
        text_removed=detail.whereabouts.text_removed_at is not None
        or detail.whereabouts.purged_at is not None,
        priorities=(LEAST_PRIORITY, MOST_PRIORITY),
        # Called behind the beginning of the page: they take most of the time.
        paragraphs=lambda: (
            None
            if content is None
            else paragraphs_of(content, f"/recordings/{job.id}/edit" if correctable else None)
        ),
        speakers=lambda: _speakers(detail, content) if correctable and content is not None else [],
        progress=None if progress is None else progress_text(progress),
        share=_share(progress),
        wait=waits_for(job, folder_waits(said, ledger.pauses())),
        partial=partial_text(ledger, site, detail) if job.state.value == "running" else None,
        events=timeline(detail, actions),
        stages=_stages(detail),
        formats=FORMATS if transcript is not None else (),
        there=there,
        playable=_playable(detail.result.media) if there and detail.result is not None else None,
        versions=[v for v in detail.versions if v.job_id != job.id],
    )
    if "hx-request" in request.headers and not unfinished:
        # It ended while its progress was shown: the whole page is another one now.
        page.headers["HX-Refresh"] = "true"
    return page


def sound(request: Request) -> Response:
    """The recording as WAV, of the times of its transcript; any range of it."""
    site = site_of(request)
    detail = _detail(request, site.ledger())
    signature = _signature(site, detail)
    if detail.result is None or signature is None:
        raise HTTPException(404)
    media = detail.result.media
    samples = media.duration_ms * RATE_HZ // 1000
    part = bytes_of(_range(request, _etag(detail, "wav")), wav_size(samples))
    if part is None:
        return _nothing_of(wav_size(samples))
    chosen = next((track.number for track in media.tracks if track.chosen), None)
    excerpt = Excerpt(
        *place_of(detail, site.settings),
        signature,
        0,
        samples,
        "mix" if sum(track.chosen for track in media.tracks) > 1 else chosen or "auto",
        from_start=bool(media.losses or media.warnings),
    )
    return DecodedSound(site.sounds, excerpt, part, _etag(detail, "wav"))


def original(request: Request) -> Response:
    """The recording as it is: to be played, or with `?save` to be kept."""
    site = site_of(request)
    detail = _detail(request, site.ledger())
    descriptor = open_transcribed(detail, site.settings)
    if descriptor is None:
        raise HTTPException(404)
    try:
        etag = _etag(detail, "original")
        part = bytes_of(_range(request, etag), detail.size)
        if part is None:
            close(descriptor)
            return _nothing_of(detail.size)
        name = readable(detail.summary.recording.name)
        kind = (detail.result and _playable(detail.result.media)) or mimetypes.guess_type(name)[0]
        if kind is None or not kind.startswith(("audio/", "video/")):
            kind = "application/octet-stream"
        more = {"Content-Disposition": _attachment(name)} if "save" in request.query_params else {}
        return OriginalSound(descriptor, part, kind, etag, more)
    except BaseException:
        close(descriptor)
        raise


def download(request: Request) -> Response:
    """A transcript in one of the formats, rendered from the ledger."""
    site = site_of(request)
    name = request.path_params["format"]
    detail = _detail(request, site.ledger())
    transcript = transcript_of(detail)
    if name not in FORMATS or transcript is None:
        raise HTTPException(404)
    data = render(transcript, name, _options(site, detail))
    file = f"{readable(detail.summary.recording.stem)}.{_EXTENSIONS.get(name, name)}"
    headers = {"Content-Disposition": _attachment(file)}
    return Response(data, 200, headers, _TYPES.get(name, "text/plain; charset=utf-8"))


def content_of(request: Request) -> tuple[JobDetail, Content | None]:
    """A job and its transcript. Raises HTTPException if there is no such job."""
    site = site_of(request)
    detail = _detail(request, site.ledger())
    transcript = transcript_of(detail)
    return detail, None if transcript is None else Content(transcript, _options(site, detail))


def is_correctable(detail: JobDetail) -> bool:
    """True for the newest transcript of a recording that is still there."""
    job = detail.summary
    newer = any(v.job_id > job.id and v.state is JobState.DONE for v in detail.versions)
    return job.state is JobState.DONE and detail.whereabouts.departure is None and not newer


def _speakers(detail: JobDetail, content: Content) -> list[tuple[int, str, str]]:
    """Number, label and name ("": not known) of each speaker."""
    names = {} if detail.result is None else {s.number: s.name or "" for s in detail.result.speakers}
    return [(number, label, names[number]) for number, label in content.labels.items() if number in names]


def _possible(detail: JobDetail) -> tuple[Verb, ...]:
    """What can be asked for this job in its state."""
    state = detail.summary.state
    if state in {JobState.QUEUED, JobState.RUNNING}:
        return (Verb.CANCEL, Verb.PRIORITY)
    return (Verb.REDO,) if state is JobState.DONE else (Verb.RETRY,)


def _detail(request: Request, ledger: Ledger) -> JobDetail:
    number = request.path_params["job"]
    detail = ledger.job(number) if 0 < number < 1 << 62 else None
    if detail is None:
        raise HTTPException(404)
    return detail


def _options(site: Site, detail: JobDetail) -> Options:
    """Options of the profile of a job, as far as it is known."""
    return Options() if site.settings is None else Options.of(site.settings.profile(detail.summary.profile))


def _signature(site: Site, detail: JobDetail) -> FileSignature | None:
    """Signature of the recording; None if it is no longer what was transcribed, or cannot be read."""
    descriptor = open_transcribed(detail, site.settings)
    if descriptor is None:
        return None
    try:
        return FileSignature.of(os.fstat(descriptor))
    finally:
        close(descriptor)


def _playable(media: MediaFacts) -> str | None:
    """Type of a recording that a browser plays with the times of its transcript; None for others."""
    if media.losses or media.warnings or len(media.tracks) > 1:
        return None
    return _PLAYABLE.get((media.container, media.codec))


def _share(progress: Mapping[str, object] | None) -> float | None:
    if progress is None:
        return None
    position, whole = progress["position_ms"], progress["duration_ms"]
    return position / whole if isinstance(position, int) and isinstance(whole, int) and whole else None


def _stages(detail: JobDetail) -> list[tuple[str, float]]:
    return [] if detail.result is None else [(n, s) for n, s in detail.result.timings.seconds if s >= 0.0005]


def _etag(detail: JobDetail, kind: str) -> str:
    return f'"{detail.sha256[:32]}-{kind}"'


def _range(request: Request, etag: str) -> str | None:
    """`Range`, unless it is of an earlier content."""
    expected = request.headers.get("if-range")
    return request.headers.get("range") if expected is None or expected == etag else None


def _nothing_of(size: int) -> Response:
    return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})


def _attachment(name: str) -> str:
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%;<>/' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
