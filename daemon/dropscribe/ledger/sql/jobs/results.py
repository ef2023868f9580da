"""Store the results of finished jobs and read them back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy.engine import Connection, Row

from dropscribe.errors import UnusableLedgerError
from dropscribe.ledger.columns import (
    PACKED_COLUMNS,
    SEGMENT_COLUMNS,
    SegmentRows,
    dumped,
    segment_rows,
    segment_values,
    storable,
    unpacked,
)
from dropscribe.ledger.control import Verb
from dropscribe.ledger.records import REWRITTEN, Finish, JobState, StoredResult
from dropscribe.ledger.sql.bulk import execute_tuples, insert_rows, update_rows
from dropscribe.ledger.sql.dialect import Database, sql
from dropscribe.ledger.sql.jobs.interruptions import note_others_done
from dropscribe.ledger.sql.jobs.outputs import mark_published
from dropscribe.ledger.sql.jobs.transitions import transition
from dropscribe.ledger.sql.outbox.events import EventWriter
from dropscribe.ledger.sql.schema import job_speakers
from dropscribe.ledger.sql.sqlite.faults import REPAIR
from dropscribe.transcript.packed_segments import characters_of
from dropscribe.transcript.types import (
    NO_TAGS,
    STAGES,
    EngineFacts,
    MediaFacts,
    Segment,
    Speaker,
    Tags,
    Timings,
    Tokens,
)

_HELD = sql(
    "SELECT id, generation, attempts + 1 - begun AS attempt, state, media IS NOT NULL AS kept FROM jobs "
    "WHERE state IN ('running', 'done') AND id IN @ids(:ids)"
)
_IS_REWRITTEN = (
    "EXISTS (SELECT 1 FROM actions a WHERE a.job_id = jobs.id AND a.action = '{verb}') OR EXISTS "
    "(SELECT 1 FROM jobs o WHERE o.id = :reference AND o.id <> jobs.id AND o.recording_id = jobs.recording_id)"
).replace("{verb}", Verb.CORRECT)
_DONE = sql(
    transition(
        JobState.DONE,
        "UPDATE jobs SET state = 'done', finished_at = :now, attempts = attempts + 1 - begun, lease_until = NULL, claimed_by = NULL, "
        "reason_code = CASE WHEN {rewritten} THEN '{code}' END, reason = NULL, remedy = NULL, reference_job_id = :reference, "
        "audio_ms = :audio_ms, speech_ms = :speech_ms, characters = :characters, truncated = :truncated, "
        "model = :model, device = :device, media = :media, engine = :engine, timings = :timings "
        "WHERE {legal} AND id = :id AND generation = :generation",
    )
    .replace("{rewritten}", _IS_REWRITTEN)
    .replace("{code}", REWRITTEN)
)
_KEEP = sql(
    "UPDATE jobs SET audio_ms = :audio_ms, speech_ms = :speech_ms, characters = :characters, truncated = :truncated, "
    "model = :model, device = :device, media = :media, engine = :engine, timings = :timings "
    "WHERE state = 'running' AND media IS NULL AND id = :id AND generation = :generation "
    "RETURNING attempts + 1 - begun"
)
_NEW_STAGE = sql(
    "INSERT INTO stage_timings (job_id, attempt, stage, seconds) VALUES (:job_id, :attempt, :stage, :seconds)"
)
# A result that was kept has some of them already.
_STAGE = sql(
    "INSERT INTO stage_timings (job_id, attempt, stage, seconds) "
    "SELECT job_id, attempt, stage, seconds FROM @rows(:rows, job_id, attempt, stage text, seconds double precision) "
    "@named(given) WHERE true ON CONFLICT (job_id, stage) DO UPDATE SET attempt = excluded.attempt, seconds = excluded.seconds"
)
# Parameters in the order of `SEGMENT_COLUMNS`.
_INSERT_SEGMENTS = sql(
    "INSERT INTO segments (job_id, idx, start_ms, end_ms, text, tokens, marks, speakers, tags) "
    "VALUES (:job_id, :idx, :start_ms, :end_ms, :text, :tokens, :marks, :speakers, :tags)"
)
_PACKED = {
    **dict.fromkeys(("idx", "start_ms", "end_ms"), "r.{0}"),
    **dict.fromkeys(("text", "tokens"), "CAST(substr(d.data, r.{0}_at, r.{0}_size) AS TEXT)"),
    **dict.fromkeys(
        ("marks", "speakers"), "CASE WHEN r.{0}_size THEN substr(d.data, r.{0}_at, r.{0}_size) END"
    ),
    "tags": "CASE WHEN r.{0}_size THEN CAST(substr(d.data, r.{0}_at, r.{0}_size) AS TEXT) END",
}
# Of SQLite. One step of its machine for all rows, without the interpreter.
_INSERT_PACKED = sql(
    f"INSERT INTO segments (job_id, {', '.join(SEGMENT_COLUMNS)}) "  # noqa: S608 - all of it is ours
    f"SELECT :job_id, {', '.join(_PACKED[column].format(column) for column in SEGMENT_COLUMNS)} "
    f"FROM (SELECT :data AS data) d @cross() @rows(:numbers, {', '.join(PACKED_COLUMNS)}) r"
)
_CLOSE_ATTEMPT = sql(
    "UPDATE attempts SET ended_at = :now, outcome = 'done', code = NULL, reason = NULL "
    "WHERE (job_id, generation) IN @rows(:held, job_id, generation)"
)
# A job that is done by reference has no segments; a reference to it is replaced by its own.
_ORIGIN = sql("SELECT coalesce(reference_job_id, id) FROM jobs WHERE id = :id")
_RESULT = sql(
    "SELECT id, media, engine, timings, speech_ms, coalesce(reference_job_id, id) AS origin "
    "FROM jobs WHERE id = :id AND media IS NOT NULL"
)
_TEXT_REMOVED = sql(
    "SELECT o.text_removed_at IS NOT NULL FROM jobs j JOIN jobs o ON o.id = coalesce(j.reference_job_id, j.id) "
    "WHERE j.id = :id"
)
_STAGES = sql("SELECT stage, seconds FROM stage_timings WHERE job_id = :id")
_SEGMENTS = sql(
    "SELECT idx, start_ms, end_ms, text, tokens, marks, speakers, tags FROM segments WHERE job_id = :id ORDER BY idx"
)
_SPEAKERS = sql("SELECT number, name, kind, embedding FROM job_speakers WHERE job_id = :id ORDER BY number")


class Results:
    """Results of jobs."""

    def __init__(self, db: Database, events: EventWriter) -> None:
        self._db = db
        self._events = events

    def finish(self, finished: Sequence[Finish], now: float) -> list[int]:
        """See `Ledger.finish`."""
        if not finished:
            return []
        refused = []
        with self._db.write("finish jobs") as connection:
            ids = json.dumps([f.job_id for f in finished])
            held = {row.id: row for row in connection.execute(_HELD, {"ids": ids})}
            done: list[tuple[Finish, int]] = []
            kept: set[int] = set()
            for f in finished:
                row = held.pop(f.job_id, None)
                if row is None or row.generation != f.generation:
                    refused.append(f.job_id)
                elif row.state == JobState.RUNNING:
                    done.append((f, row.attempt))
                    if row.kept:
                        kept.add(f.job_id)
            if done:
                self._store(connection, done, kept, now)
        return refused

    def keep(self, recognised: Sequence[Finish], now: float) -> None:
        """See `Ledger.keep`."""
        if not recognised:
            return
        with self._db.write("keep results") as connection:
            kept: list[tuple[Finish, int]] = []
            for f in recognised:
                attempt = connection.scalar(_KEEP, job_row(f, None, now))
                if attempt is not None:
                    kept.append((f, int(attempt)))
            _store_stages(connection, kept, set())
            self._store_segments(connection, [f for f, _ in kept])

    def stored_result(self, job_id: int) -> StoredResult | None:
        """See `Ledger.stored_result`."""
        with self._db.read("read a result") as connection:
            if connection.scalar(_TEXT_REMOVED, {"id": job_id}):
                return None
            return load_result(connection, job_id)

    def _store(
        self, connection: Connection, done: list[tuple[Finish, int]], kept: set[int], now: float
    ) -> None:
        rows = [job_row(f, _origin(connection, f.reference), now) for f, _ in done]
        # Before the jobs are done: a stage of a done job is added to the totals by itself, which takes longer.
        _store_stages(connection, done, kept)
        update_rows(connection, _DONE, rows)
        held = [(f.job_id, f.generation) for f, _ in done]
        connection.execute(_CLOSE_ATTEMPT, {"held": json.dumps(held), "now": now})
        self._store_segments(connection, [f for f, _ in done if f.reference is None and f.job_id not in kept])
        mark_published(connection, held, now)
        if any(f.reference is None for f, _ in done):
            note_others_done(connection)
        self._events.jobs_done(connection, [f.job_id for f, _ in done], now)

    def _store_segments(self, connection: Connection, of: Sequence[Finish]) -> None:
        packed = [(f.job_id, f.segment_rows or segment_rows(f.segments)) for f in of]
        if self._db.unpacks_segments:
            names = ("job_id", *SegmentRows._fields)
            execute_tuples(connection, _INSERT_PACKED, names, [(job, *rows) for job, rows in packed])
        else:
            each = [(job, *row) for job, rows in packed for row in unpacked(rows)]
            execute_tuples(connection, _INSERT_SEGMENTS, ("job_id", *SEGMENT_COLUMNS), each)
        speakers = [speaker_row(f.job_id, s) for f in of for s in f.speakers]
        insert_rows(connection, job_speakers, speakers)


def _store_stages(connection: Connection, of: Sequence[tuple[Finish, int]], again: set[int]) -> None:
    """`again`: jobs that may have stages already."""
    new: list[tuple[int, int, str, float]] = []
    renewed: list[tuple[int, int, str, float]] = []
    for f, attempt in of:
        rows = renewed if f.job_id in again else new
        rows += [(f.job_id, attempt, stage, value) for stage, value in dict(f.timings.seconds).items()]
    execute_tuples(connection, _NEW_STAGE, ("job_id", "attempt", "stage", "seconds"), new)
    if renewed:
        connection.execute(_STAGE, {"rows": json.dumps(renewed)})


def load_result(connection: Connection, job_id: int) -> StoredResult | None:
    """As `Results.stored_result`, within a transaction."""
    row = connection.execute(_RESULT, {"id": job_id}).one_or_none()
    if row is None:
        return None
    seconds = {str(stage): float(value) for stage, value in connection.execute(_STAGES, {"id": job_id})}
    try:
        said = connection.execute(_SEGMENTS, {"id": row.origin}).all()
        return _result(row, seconds, said, connection.execute(_SPEAKERS, {"id": row.origin}).all())
    except (ValueError, TypeError, KeyError) as e:
        raise _damaged(job_id, e) from e


def media_of(job_id: int, stored: str) -> MediaFacts:
    """Facts about the recording of a finished job, from the column `media`."""
    try:
        return MediaFacts.of_record(json.loads(stored))
    except (ValueError, TypeError, KeyError) as e:
        raise _damaged(job_id, e) from e


def _damaged(job_id: int, error: Exception) -> UnusableLedgerError:
    # We write nothing that we cannot read.
    return UnusableLedgerError(
        f"it is damaged (the result of job {job_id} cannot be read: {error})",
        operation="read a result",
        remedy=REPAIR,
    )


def _result(
    row: Row[Any], seconds: dict[str, float], said: Sequence[Row[Any]], speakers: Sequence[Row[Any]]
) -> StoredResult:
    order = [s for s in STAGES if s in seconds] + sorted(seconds.keys() - set(STAGES))
    rest = json.loads(row.timings)
    media = json.loads(row.media)
    engine = json.loads(row.engine)
    return StoredResult(
        job_id=row.id,
        media=MediaFacts.of_record(media),
        engine=EngineFacts.of_record(engine),
        timings=Timings(
            seconds=tuple((stage, seconds[stage]) for stage in order),
            batch_sizes=tuple(rest["batch_sizes"]),
            padding_waste=rest["padding_waste"],
            speech_ms=row.speech_ms,
            wall_s=rest["wall_s"],
        ),
        segments=tuple(map(_segment, said)),
        speakers=tuple(Speaker(s.number, s.name, s.kind, s.embedding or b"") for s in speakers),
    )


def _segment(row: Row[Any]) -> Segment:
    tokens = Tokens.of(json.loads(row.tokens))
    tags = NO_TAGS if row.tags is None else Tags.of_record(json.loads(row.tags))
    return Segment(
        row.idx, row.start_ms, row.end_ms, row.text, tokens, row.marks or b"", row.speakers or b"", tags
    )


def _origin(connection: Connection, reference: int | None) -> int | None:
    if reference is None:
        return None
    return int(connection.execute(_ORIGIN, {"id": reference}).scalar_one())


def job_row(f: Finish, reference: int | None, now: float) -> dict[str, Any]:
    """The columns of `jobs` that hold a result."""
    return {
        "id": f.job_id,
        "generation": f.generation,
        "now": now,
        "reference": reference,
        "audio_ms": f.media.duration_ms,
        "speech_ms": f.timings.speech_ms,
        "characters": characters_of(f.segments),
        "truncated": None if f.media.truncated is None else storable(f.media.truncated),
        "model": storable(f.engine.model),
        "device": storable(f.engine.device),
        "media": dumped(f.media.record()),
        "engine": _engine(f.engine),
        "timings": dumped({
            "batch_sizes": f.timings.batch_sizes,
            "padding_waste": f.timings.padding_waste,
            "wall_s": f.timings.wall_s,
        }),
    }  # fmt: skip


@lru_cache(maxsize=16)
def _engine(facts: EngineFacts) -> str:
    """JSON of the facts, which thousands of jobs share."""
    return dumped(facts.record())


def segment_row(job: int, s: Segment) -> dict[str, Any]:
    """A row of `segments`."""
    return {"job_id": job, **dict(zip(SEGMENT_COLUMNS, segment_values(s), strict=True))}


def speaker_row(job: int, s: Speaker) -> dict[str, Any]:
    """A row of `job_speakers`."""
    return {
        "job_id": job,
        "number": s.number,
        "name": None if s.name is None else storable(s.name),
        "kind": s.kind,
        "embedding": s.embedding or None,
    }
