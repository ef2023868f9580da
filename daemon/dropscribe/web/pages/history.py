"""The list of recordings: search, filters, pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from dropscribe.escapes import readable
from dropscribe.ledger.questions import Cursor, JobFilter, Part, TotalsFilter, named_folder
from dropscribe.ledger.records import Hit, JobState, JobSummary
from dropscribe.views.status import jobs_in_progress, said_by
from dropscribe.views.waiting import folder_waits, waits_for
from dropscribe.web.site import Site, site_of

#: Recordings on a page, and places shown of each.
PAGE, PLACES = 50, 3
#: State in the form that is no `JobState`.
HELD = "held"
#: Longest text taken from a form, characters.
_LONGEST = 500
#: Fields of the form.
FIELDS = ("q", "state", "folder", "host", "speaker", "path", "from", "to", "least", "most")


@dataclass(frozen=True, slots=True)
class Snippet:
    """A place in a transcript: (text, is marked) in order, and when it was said."""

    parts: tuple[tuple[str, bool], ...]
    at_ms: int
    more: bool


def page(request: Request) -> Response:
    """The page, or its list alone for a script that renews it."""
    site = site_of(request)
    ledger = site.ledger()
    given = {name: request.query_params.get(name, "").strip()[:_LONGEST] for name in FIELDS}
    folders = _folders(site)
    wanted = filter_of(given, folders)
    found = ledger.find_jobs(wanted, limit=PAGE, after=cursor_of(request.query_params.get("after")))
    hits = ledger.search_in(wanted.text, _origins(found.jobs), PLACES) if wanted.text else []
    said = said_by(site.location)
    running, waits = jobs_in_progress(said), folder_waits(said, ledger.pauses())
    kept = {name: value for name, value in given.items() if value}
    return site.render(
        request,
        "history.html",
        jobs=found.jobs,
        snippets=snippets_of(found.jobs, hits),
        running=running,
        waits={job.id: waits_for(job, waits) for job in found.jobs},
        given=given,
        filtered=bool(kept),
        narrowed=any(value for name, value in kept.items() if name != "q"),
        folders=[readable(folder) for folder in folders],
        voices=[voice.name for voice in ledger.enrolled_voices()],
        states=[*(state.value for state in JobState), HELD],
        several_hosts=bool(site.location.server),
        counts={state.value: count for state, count in ledger.counts().items()},
        older=None if found.next is None else "?" + urlencode({**kept, "after": str(found.next)}),
        newest="?" + urlencode(kept) if "after" in request.query_params else None,
    )


def filter_of(given: Mapping[str, str], folders: Sequence[Path]) -> JobFilter:
    """The filter that a form describes; what cannot be read is left out. Dates are local, the last one inclusive."""
    state = given.get("state", "")
    folder = given.get("folder", "")
    last = _day(given.get("to", ""))
    return JobFilter(
        state=JobState(state) if state in set(JobState) else None,
        held=state == HELD,
        folder=_folder(folder, folders) if folder else None,
        since=_instant(_day(given.get("from", ""))),
        until=_instant(None if last is None else last + timedelta(days=1)),
        speaker=given.get("speaker") or None,
        path=given.get("path") or None,
        text=given.get("q") or None,
        shortest_s=_minutes(given.get("least", "")),
        longest_s=_minutes(given.get("most", "")),
        host=given.get("host") or None,
    )


def cursor_of(text: str | None) -> Cursor | None:
    """A position in the list; None for the start, or what is none."""
    with suppress(ValueError):
        return None if not text else Cursor.parse(text[:100])
    return None


def snippets_of(jobs: Sequence[JobSummary], hits: Sequence[Hit]) -> dict[int, list[Snippet]]:
    """Places by job; a job done by the result of another one has those of that."""
    of_origin: dict[int, list[Snippet]] = {}
    for hit in hits:
        of_origin.setdefault(hit.job_id, []).append(snippet_of(hit))
    return {job.id: of_origin.get(job.reference or job.id, []) for job in jobs}


def snippet_of(hit: Hit) -> Snippet:
    """The text of a hit, divided where its matches begin and end."""
    parts, at = [], 0
    for match in hit.matches:
        if match.first < at:
            continue
        parts += [(hit.snippet[at : match.first], False), (hit.snippet[match.first : match.last], True)]
        at = match.last
    parts.append((hit.snippet[at:], False))
    return Snippet(tuple(part for part in parts if part[0]), hit.matches[0].start_ms, hit.more)


def _origins(jobs: Sequence[JobSummary]) -> list[int]:
    done = (job.reference or job.id for job in jobs if job.audio_s is not None)
    return list(dict.fromkeys(done))


def _folders(site: Site) -> list[Path]:
    """Watched folders, now and earlier."""
    earlier = (Path(t.key[0]) for t in site.ledger().totals([Part.FOLDER], TotalsFilter()) if t.key[0])
    return list(dict.fromkeys([*site.folders, *earlier]))


def _folder(given: str, folders: Sequence[Path]) -> Path:
    # The form has the folder in characters that can be shown; its bytes may be others.
    known = next((folder for folder in folders if readable(folder) == given), None)
    return known or named_folder(Path(given), Path("/"))


def _day(text: str) -> date | None:
    with suppress(ValueError):
        return date.fromisoformat(text)
    return None


def _instant(day: date | None) -> float | None:
    with suppress(ValueError, OverflowError):
        return None if day is None else datetime(day.year, day.month, day.day).astimezone().timestamp()
    return None


def _minutes(text: str) -> float | None:
    with suppress(ValueError):
        minutes = float(text)
        return minutes * 60 if 0 <= minutes < 1e6 else None
    return None
