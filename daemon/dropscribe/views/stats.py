"""Statistics of ended jobs as a JSON document and as rows of a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dropscribe import durations
from dropscribe.transcript.types import STAGES
from dropscribe.views.fields import rounded

if TYPE_CHECKING:
    from dropscribe.ledger.histograms import Durations
    from dropscribe.ledger.interface import DatabaseLocation
    from dropscribe.ledger.questions import JobTotals, Part, TotalsFilter

STATS_SCHEMA = "dropscribe/stats/1"
#: The stage whose quantiles stand in the table: from admission to claim.
WAITING = "waiting"
DAY_S = 86_400


def stats_document(
    database: DatabaseLocation,
    by: Sequence[Part],
    wanted: TotalsFilter,
    groups: Sequence[JobTotals],
    whole: JobTotals | None,
) -> dict[str, Any]:
    """dropscribe/stats/1: database, by, since, until (days, UTC), groups, total (each as `_group`; total null if empty)."""
    return {
        "schema": STATS_SCHEMA,
        "database": database.name,
        "by": [part.value for part in by],
        "since": _day(wanted.first_day),
        "until": _day(wanted.last_day),
        "groups": [_group(totals, by) for totals in groups],
        "total": None if whole is None else _group(whole, ()),
    }


def _group(totals: JobTotals, by: Sequence[Part]) -> dict[str, Any]:
    """Its key {part: text or null}, done, failed, cancelled, failed_share, audio_s, speech_s, characters, recognised_s,
    processing_s, rtfx, stages {stage: {jobs, mean_s, p50_s, p95_s}}.
    """
    return {
        "key": {part.value: value or None for part, value in zip(by, totals.key, strict=False)},
        "done": totals.done,
        "failed": totals.failed,
        "cancelled": totals.cancelled,
        "failed_share": rounded(totals.failed_share),
        "audio_s": rounded(totals.audio_s),
        "speech_s": rounded(totals.speech_s),
        "characters": totals.characters,
        "recognised_s": rounded(totals.recognised_s),
        "processing_s": rounded(totals.processing_s),
        "rtfx": rounded(totals.rtfx),
        "stages": {
            stage: {
                "jobs": found.count,
                "mean_s": _precise(found.mean_s),
                "p50_s": _precise(found.quantile_s(0.5)),
                "p95_s": _precise(found.quantile_s(0.95)),
            }
            for stage, found in in_order(totals.stages.items())
        },
    }


def in_order(stages: Iterable[tuple[str, Durations]]) -> list[tuple[str, Durations]]:
    """Stages in the order of a job, unknown ones last."""
    places = {stage: i for i, stage in enumerate(STAGES)}
    return sorted(stages, key=lambda item: (places.get(item[0], len(places)), item[0]))


def name_of(totals: JobTotals, by: Sequence[Part]) -> str:
    """The group in a word for people: `2026-11-28, /srv/meetings`; "all" if it is not divided."""
    return ", ".join(value or "-" for value in totals.key[: len(by)]) or "all"


def row_of(totals: JobTotals, by: Sequence[Part]) -> tuple[str, ...]:
    """The cells of a table: group, done, failed, hours of audio, RTFx, waiting p50 and p95."""
    waiting = totals.stages.get(WAITING)
    return (
        name_of(totals, by),
        str(totals.done),
        percent(totals.failed_share),
        hours(totals.audio_s),
        durations.speed(totals.recognised_s, totals.processing_s) or "-",
        "-" if waiting is None else brief(waiting.quantile_s(0.5)),
        "-" if waiting is None else brief(waiting.quantile_s(0.95)),
    )


def hours(seconds: float) -> str:
    """Audio in hours: `0.25`, `12.5`, `1234`."""
    value = seconds / 3600
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def percent(share: float | None) -> str:
    """A share in per cent; "-" for None."""
    return "-" if share is None else f"{share * 100:.1f} %"


def brief(seconds: float | None) -> str:
    """A duration in two figures or so: `3 ms`, `0.25 s`, `12 s`, `4.5 min`, `2.1 h`; "-" for None."""
    if seconds is None:
        return "-"
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.1f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _day(day: int | None) -> str | None:
    return None if day is None else datetime.fromtimestamp(day * DAY_S, UTC).date().isoformat()


def _precise(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
