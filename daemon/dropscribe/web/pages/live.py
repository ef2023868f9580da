"""What is going on: the daemon, its queue, what it works on, what failed, and how much was done lately."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from dropscribe.errors import StorageError
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.questions import Part, TotalsFilter
from dropscribe.views.jobs import progress_text
from dropscribe.views.stats import DAY_S
from dropscribe.views.status import held_problems, problems, queue_of, read_process
from dropscribe.views.waiting import folder_waits
from dropscribe.web.pages.answer import Answer
from dropscribe.web.pages.charts import HEIGHT, WIDTH, Span, chart_of
from dropscribe.web.site import Site, site_of

#: Recordings in progress that are listed, and days of the chart.
LISTED, DAYS = 30, 30
#: Age of an answer that is given to others, too, seconds.
NOW_S, CHARTS_S = 1.0, 30.0
_HOUR_S = 3600
#: Largest file of metrics, bytes.
_MOST_BYTES = 4 << 20
_SAMPLE = re.compile(r'^dropscribe_gpu_(\w+)\{gpu="(\w+)"\} ([-+.\deE]+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as the daemon sees it; None: not known. `busy`: a share."""

    name: str
    used_bytes: float | None
    total_bytes: float | None
    busy: float | None


def page(request: Request) -> Response:
    """The status page; with `part=now` without charts, for a script that renews the rest."""
    return show(request)


def show(request: Request, answer: Answer | None = None) -> Response:
    """The status page, with what came of an action."""
    site = site_of(request)
    whole = request.query_params.get("part") != "now"
    if answer is not None:
        site.forget()
    # Many tabs ask at the same time, and all may have the same answer.
    values = site.recent("now", NOW_S, lambda: _now(site)) | {"day": None, "month": None}
    if whole:
        values |= site.recent("charts", CHARTS_S, lambda: _charts(site))
    return site.render(
        request, "live.html", answer=answer, whole=whole, chart_width=WIDTH, chart_height=HEIGHT, **values
    )


def _charts(site: Site) -> dict[str, Any]:
    now = time.time()
    return {"day": chart_of(_hours(site.ledger(), now)), "month": chart_of(_days(site.ledger(), now))}


def _now(site: Site) -> dict[str, Any]:
    """Values of the template but for the charts."""
    now = time.time()
    ledger = site.ledger()
    process, queue = read_process(site.location), queue_of(ledger, now)
    said = process.said or {}
    return {
        "running": process.running,
        "said": said,
        "wrong": [*problems(process, now), *held_problems(queue)],
        "queue": queue,
        "backlog": ledger.backlog(),
        "waits": folder_waits(process.said, queue.pauses),
        "paused_all": any(p.folder is None for p in queue.pauses),
        "paused": {p.folder for p in queue.pauses},
        "watched": site.folders,
        "progress": [_progress(one) for one in said.get("in_progress", [])[:LISTED]],
        "more": max(0, said.get("in_flight", 0) - LISTED),
        "load": said.get("load"),
        "gpus": gpus_of(_metrics(site) or ""),
    }


def metrics(request: Request) -> Response:
    """The metrics that the daemon writes, as they are."""
    text = _metrics(site_of(request))
    if text is None:
        raise StorageError(
            "the daemon writes none here",
            operation="read metrics",
            path=None,
            remedy="set [service] metrics_file, and see that the daemon runs",
        )
    return PlainTextResponse(text, 200, {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def gpus_of(text: str) -> list[Gpu]:
    """The GPUs in the text of the metrics."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for name, gpu, value in _SAMPLE.findall(text):
        with suppress(ValueError):
            found[gpu][name] = float(value)
    return [
        Gpu(gpu, v.get("memory_used_bytes"), v.get("memory_total_bytes"), v.get("busy_ratio"))
        for gpu, v in sorted(found.items())
    ]


def _metrics(site: Site) -> str | None:
    settings = site.settings
    file = None if settings is None else settings.service.metrics_file
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            return opened.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return None


def _progress(one: Mapping[str, Any]) -> tuple[Mapping[str, Any], str, float | None]:
    position, whole = one["position_ms"], one["duration_ms"]
    return one, progress_text(one), position / whole if position is not None and whole else None


def _hours(ledger: Ledger, now: float) -> Sequence[Span]:
    """The last 24 hours by the local clock, the present one last."""
    last = int(now // _HOUR_S)
    found = {t.hour: t for t in ledger.hours((last - 23) * _HOUR_S)}
    spans = []
    for hour in range(last - 23, last + 1):
        label = datetime.fromtimestamp(hour * _HOUR_S, UTC).astimezone().strftime("%H:%M")
        one = found.get(hour)
        spans.append(
            Span(label, 0, 0, 0.0) if one is None else Span(label, one.done, one.failed, one.audio_s)
        )
    return spans


def _days(ledger: Ledger, now: float) -> Sequence[Span]:
    """The last days, UTC, today last."""
    today = datetime.fromtimestamp(now, UTC).date()
    first = today - timedelta(days=DAYS - 1)
    wanted = TotalsFilter(first_day=int(now // DAY_S) - DAYS + 1)
    found = {t.key[0]: t for t in ledger.totals([Part.DAY], wanted)}
    labels = [(first + timedelta(days=i)).isoformat() for i in range(DAYS)]
    return [
        Span(label, one.done, one.failed, one.audio_s)
        if (one := found.get(label))
        else Span(label, 0, 0, 0.0)
        for label in labels
    ]
