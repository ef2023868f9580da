"""Totals of ended jobs: read them, compare them with the jobs, make them anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dropscribe.ledger.columns import Places, storable
from dropscribe.ledger.histograms import Durations
from dropscribe.ledger.questions import HourTotals, JobTotals, Part, TotalsFilter
from dropscribe.ledger.records import REWRITTEN
from dropscribe.ledger.sql.dialect import Database, Statement, sql
from dropscribe.ledger.sql.history.totals_schema import COUNTS, FILL, SUMS

_DIFFERENT = (
    "SELECT (SELECT count(*) FROM (SELECT * FROM {table} WHERE jobs <> 0 EXCEPT {sums}) AS wrong) "
    "+ (SELECT count(*) FROM ({sums} EXCEPT SELECT * FROM {table}) AS missing)"
)

#: What each part is called, in SQL, of a row of totals. 1 January 1970 was a Thursday.
_PARTS = {
    Part.DAY: "@date(day * 86400)",
    Part.WEEK: "@date((day - (day + 3) % 7) * 86400)",
    Part.MONTH: "@month(day * 86400)",
    Part.FOLDER: "folder",
    Part.PROFILE: "profile",
    Part.MODEL: "model",
    Part.DEVICE: "device",
    Part.REASON: "code",
}
_JOBS = (
    "SELECT {key}, state, sum(jobs) AS jobs, sum(audio_ms) AS audio_ms, sum(speech_ms) AS speech_ms, "
    "sum(characters) AS characters, sum(recognised_ms) AS recognised_ms, sum(processing_ms) AS processing_ms "
    "FROM job_totals WHERE {where} AND code <> '{rewritten}' GROUP BY {group}, state HAVING sum(jobs) > 0 ORDER BY {group}"
).replace("{rewritten}", REWRITTEN)
_STAGES = (
    "SELECT {key}, stage, sum(microseconds) AS microseconds, {counts} FROM stage_totals "
    "WHERE {where} GROUP BY {group}, stage HAVING sum(jobs) > 0"
).replace("{counts}", ", ".join(f"sum({name})" for name in COUNTS))


_HOURS = sql(
    "SELECT @whole(finished_at / 3600) AS hour, sum(@flag(state = 'done')) AS done, sum(@flag(state = 'failed')) AS failed, "
    "sum(CASE WHEN state = 'done' THEN coalesce(audio_ms, 0) ELSE 0 END) AS audio_ms "
    "FROM jobs WHERE admitted_at >= :since AND finished_at IS NOT NULL AND coalesce(reason_code, '') <> '{rewritten}' "
    "GROUP BY 1 ORDER BY 1".replace("{rewritten}", REWRITTEN)
)


class Totals:
    """The tables of totals, which triggers keep."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def read(self, by: Sequence[Part], wanted: TotalsFilter, stage: str | None) -> list[JobTotals]:
        """See `Ledger.totals`."""
        where, values = _conditions(wanted, self._db.places)
        of_stage = where if stage is None else f"{where} AND stage = :stage"
        with self._db.read("read totals") as connection:
            jobs = connection.execute(_filled(_JOBS, by, where), values).all()
            # Durations are not kept by device and reason.
            known = not {Part.DEVICE, Part.REASON} & set(by)
            stages = (
                connection.execute(_filled(_STAGES, by, of_stage), values | {"stage": stage}).all()
                if known
                else []
            )
        states: dict[tuple[str, ...], dict[str, Any]] = defaultdict(dict)
        for row in jobs:
            states[tuple(row[: len(by)])][row.state] = row
        # Without a part there is one in its place.
        width = max(1, len(by))
        durations: dict[tuple[str, ...], dict[str, Durations]] = defaultdict(dict)
        for row in stages:
            name, microseconds, *counts = row[width:]
            buckets = {bucket: count for bucket, count in enumerate(counts) if count}
            durations[tuple(row[: len(by)])][name] = Durations(buckets, microseconds / 1e6)
        return [
            _totals(self._shown(key, by), of_state, durations.get(key, {}))
            for key, of_state in states.items()
        ]

    def _shown(self, key: tuple[str, ...], by: Sequence[Part]) -> tuple[str, ...]:
        shown = self._db.places.shown
        return tuple(shown(text) if part is Part.FOLDER else text for part, text in zip(by, key, strict=True))

    def hours(self, since: float) -> list[HourTotals]:
        """See `Ledger.hours`."""
        with self._db.read("read totals") as connection:
            rows = connection.execute(_HOURS, {"since": since}).all()
        return [HourTotals(r.hour, r.done, r.failed, r.audio_ms / 1000) for r in rows]

    def wrong(self) -> dict[str, int]:
        """See `Ledger.wrong_totals`."""
        with self._db.read("compare totals with jobs") as connection:
            counted = {
                table: connection.scalars(
                    sql(_DIFFERENT.replace("{table}", table).replace("{sums}", sums))
                ).one()
                for table, sums in SUMS.items()
            }
        return {table: int(count) for table, count in counted.items() if count}

    def renew(self) -> None:
        """See `Ledger.renew_totals`."""
        with self._db.write("renew totals") as connection:
            for statement in FILL:
                connection.execute(sql(statement))


def _filled(statement: str, by: Sequence[Part], where: str) -> Statement:
    key = ", ".join(f"{_PARTS[part]} AS part_{i}" for i, part in enumerate(by)) or "'' AS part_0"
    group = ", ".join(f"part_{i}" for i in range(max(1, len(by))))
    for name, text in (("{key}", key), ("{where}", where), ("{group}", group)):
        statement = statement.replace(name, text)
    return sql(statement)


def _conditions(wanted: TotalsFilter, places: Places) -> tuple[str, dict[str, object]]:
    conditions, values = ["true"], dict[str, object]()
    for name, value, condition in (
        ("first", wanted.first_day, "day >= :first"),
        ("last", wanted.last_day, "day <= :last"),
        ("folder", None if wanted.folder is None else places.label(wanted.folder), "folder = :folder"),
        ("profile", None if wanted.profile is None else storable(wanted.profile), "profile = :profile"),
        ("model", None if wanted.model is None else storable(wanted.model), "model = :model"),
    ):
        if value is not None:
            conditions.append(condition)
            values[name] = value
    return " AND ".join(conditions), values


def _totals(key: tuple[str, ...], of_state: dict[str, Any], stages: dict[str, Durations]) -> JobTotals:
    counts = {state: int(row.jobs) for state, row in of_state.items()}
    done = of_state.get("done")
    totals = JobTotals(
        key, counts.get("done", 0), counts.get("failed", 0), counts.get("cancelled", 0), stages=stages
    )
    if done is None:
        return totals
    return replace(
        totals,
        audio_s=done.audio_ms / 1000,
        speech_s=done.speech_ms / 1000,
        characters=int(done.characters),
        recognised_s=done.recognised_ms / 1000,
        processing_s=done.processing_ms / 1000,
    )
