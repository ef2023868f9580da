"""Record the files of jobs with the hash of their content before they are written, so that ours are known.

A partial text is a file that exists only while its job is claimed. It is never published, and is none of the job's outputs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from dropscribe.escapes import readable
from dropscribe.ledger.columns import host_of, path_of, raw
from dropscribe.ledger.records import PARTIAL, OutputIntent, OwnedOutput
from dropscribe.ledger.sql.bulk import execute_rows, execute_tuples
from dropscribe.ledger.sql.dialect import Database, sql
from dropscribe.ledger.sql.schema import jobs, outputs

#: (job, generation)
Held = tuple[int, int]
#: Values of `_ROW`.
_Row = tuple[Any, ...]

_HELD = sql(
    "SELECT j.id, j.generation, r.path_raw, "
    "EXISTS (SELECT 1 FROM outputs o WHERE o.recording_raw = r.path_raw AND o.published = 0) AS unpublished "
    "FROM jobs j JOIN recordings r ON r.id = j.recording_id "
    "WHERE j.id IN @ids(:jobs) AND j.state = 'running' AND r.latest = 1"
)
# Other hashes for the same path stay until the job is done: the file of an attempt that was killed between writing and
# finishing has one of them, and must be known as ours. What attempts before the last one recorded and is not on disk now
# will never be; without removing it, a full disk would add a row every half minute.
_REPLACE = sa.text(
    "DELETE FROM outputs WHERE path_raw = :path_raw AND recording_raw = :recording_raw AND published = 0 "
    "AND (sha256 = :sha256 OR (job_id = :job_id AND generation < :generation - 1 AND sha256 <> :standing))"
)
_ROW = (
    "job_id",
    "generation",
    "recording_raw",
    "format",
    "path_raw",
    "path",
    "sha256",
    "published",
    "at",
    "bytes",
)
_INSERT = sa.text(
    f"INSERT INTO outputs ({', '.join(_ROW)}) VALUES ({', '.join(f':{name}' for name in _ROW)})"  # noqa: S608 - all of it is ours
)
_COLUMNS = (
    outputs.c.job_id,
    outputs.c.recording_raw,
    outputs.c.path_raw,
    outputs.c.format,
    outputs.c.sha256,
    outputs.c.published,
    outputs.c.bytes,
)
_OWNED = (
    sa.select(*_COLUMNS)
    .where(outputs.c.path_raw.in_(sa.bindparam("paths", expanding=True)))
    .order_by(outputs.c.id.desc())
)
# Only the last published file of each path can be on disk.
_OF_RECORDING = sa.text(
    "SELECT job_id, recording_raw, path_raw, format, sha256, published, bytes FROM outputs o "
    "WHERE recording_raw IN :recordings AND format NOT IN ('partial', 'failed') AND (published = 0 OR id = (SELECT max(n.id) FROM outputs n "
    "WHERE n.recording_raw = o.recording_raw AND n.path_raw = o.path_raw AND n.published = 1)) "
    "ORDER BY id DESC"
).bindparams(sa.bindparam("recordings", expanding=True))
_OF_JOB = sa.text(
    "SELECT job_id, recording_raw, path_raw, format, sha256, published, bytes FROM outputs "
    "WHERE job_id = :job AND format NOT IN ('partial', 'failed') ORDER BY id"
)
_PUBLISH = sql(
    "UPDATE outputs SET published = 1, at = :now "
    "WHERE (job_id, generation) IN @rows(:held, job_id, generation) AND format NOT IN ('partial', 'failed')"
)
_FORGET = sql(
    "DELETE FROM outputs WHERE published = 0 AND id IN ("
    "SELECT o.id FROM outputs n JOIN outputs o ON o.path_raw = n.path_raw "
    "AND o.recording_raw = n.recording_raw AND o.id < n.id "
    "WHERE (n.job_id, n.generation) IN @rows(:held, job_id, generation) AND n.format NOT IN ('partial', 'failed'))"
)
_HELD_BY = sa.text(
    "SELECT r.path_raw FROM jobs j JOIN recordings r ON r.id = j.recording_id "
    "WHERE j.id = :job AND j.generation = :generation AND j.state = 'running'"
)
# The record of a file that may be there now is kept until its replacement is written.
_SUPERSEDED_PARTIALS = (
    sa.delete(outputs)
    .where(outputs.c.format == PARTIAL)
    .where(outputs.c.path_raw == sa.bindparam("of_path"))
    .where(outputs.c.recording_raw == sa.bindparam("of_recording"))
    .where(outputs.c.sha256.not_in(sa.bindparam("standing", expanding=True)))
)
_UNPUBLISHED = sa.select(*_COLUMNS).where(outputs.c.published == 0)
_PARTIALS = sa.select(
    outputs.c.job_id,
    outputs.c.recording_raw,
    outputs.c.path_raw,
    outputs.c.format,
    outputs.c.sha256,
    outputs.c.bytes,
    sa.select(jobs.c.claimed_by)
    .where(jobs.c.id == outputs.c.job_id, jobs.c.state == "running")
    .scalar_subquery()
    .label("worker"),
).where(outputs.c.format == PARTIAL)
_FORGET_PARTIAL = (
    sa.delete(outputs)
    .where(outputs.c.format == PARTIAL)
    .where(outputs.c.path_raw == sa.bindparam("of_path"))
    .where(outputs.c.recording_raw == sa.bindparam("of_recording"))
    .where(outputs.c.sha256 == sa.bindparam("of_sha256"))
)


class Outputs:
    """Files of jobs, except partial texts."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def intend(self, intents: Sequence[tuple[int, int, Sequence[OutputIntent]]], now: float) -> list[int]:
        """See `Ledger.intend`."""
        refused: list[int] = []
        if not intents:
            return refused
        with self._db.write("record planned files") as connection:
            found = connection.execute(_HELD, {"jobs": json.dumps([job for job, _, _ in intents])})
            held = {(row.id, row.generation): row for row in found}
            rows: list[_Row] = []
            again: list[dict[str, object]] = []
            for job, generation, files in intents:
                row = held.get((job, generation))
                if row is None:
                    refused.append(job)
                    continue
                made = _rows((job, generation), row.path_raw, files, now)
                rows += made
                if row.unpublished:
                    again += [
                        {**dict(zip(_ROW, one, strict=True)), "standing": file.standing}
                        for one, file in zip(made, files, strict=True)
                    ]
            execute_rows(connection, _REPLACE, again)
            execute_tuples(connection, _INSERT, _ROW, rows)
        return refused

    def owned(self, paths: Sequence[Path]) -> dict[Path, tuple[OwnedOutput, ...]]:
        """See `Ledger.owned`."""
        found: dict[Path, list[OwnedOutput]] = {}
        if paths:
            with self._db.read("query owners of files") as connection:
                for row in connection.execute(_OWNED, {"paths": [raw(p) for p in paths]}):
                    found.setdefault(path_of(row.path_raw), []).append(output_of(row))
        return {path: tuple(files) for path, files in found.items()}

    def unpublished(self) -> list[OwnedOutput]:
        """See `Ledger.unpublished`."""
        with self._db.read("read unpublished files") as connection:
            return [output_of(row) for row in connection.execute(_UNPUBLISHED)]

    def outputs_of_each(self, recordings: Sequence[Path]) -> dict[Path, list[OwnedOutput]]:
        """See `Ledger.outputs_of_each`."""
        found: dict[Path, list[OwnedOutput]] = {}
        if recordings:
            with self._db.read("read the files of recordings") as connection:
                for row in connection.execute(_OF_RECORDING, {"recordings": [raw(r) for r in recordings]}):
                    found.setdefault(path_of(row.recording_raw), []).append(output_of(row))
        return found


class PartialOutputs:
    """Partial texts of jobs."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def intend(
        self,
        job: tuple[int, int],
        path: Path,
        sha256: str,
        standing: Sequence[str],
        now: float,
        *,
        size: int | None = None,
    ) -> bool:
        """See `Ledger.intend_partial`."""
        with self._db.write("record a partial text") as connection:
            found = connection.execute(_HELD_BY, {"job": job[0], "generation": job[1]}).scalar_one_or_none()
            if found is None:
                return False
            where = {"of_path": raw(path), "of_recording": found, "standing": list(standing)}
            connection.execute(_SUPERSEDED_PARTIALS, where)
            row = {
                "job_id": job[0], "generation": job[1], "recording_raw": found, "format": PARTIAL,
                "path_raw": raw(path), "path": readable(path), "sha256": sha256, "bytes": size, "published": 0, "at": now,
            }  # fmt: skip
            connection.execute(sa.insert(outputs), row)
        return True

    def all(self, *, left: bool = False) -> list[OwnedOutput]:
        """See `Ledger.partials`."""
        with self._db.read("read the partial texts") as connection:
            return [
                OwnedOutput(
                    r.job_id,
                    path_of(r.recording_raw),
                    path_of(r.path_raw),
                    r.format,
                    r.sha256,
                    False,
                    r.bytes,
                )
                for r in connection.execute(_PARTIALS)
                if not (left and r.worker is not None and host_of(r.worker) != self._db.places.host)
            ]

    def forget(self, gone: Sequence[OwnedOutput]) -> None:
        """See `Ledger.forget_partials`."""
        if gone:
            with self._db.write("forget partial texts") as connection:
                connection.execute(
                    _FORGET_PARTIAL,
                    [
                        {"of_recording": raw(o.recording), "of_path": raw(o.path), "of_sha256": o.sha256}
                        for o in gone
                    ],
                )


def of_job(connection: Connection, job: int) -> tuple[OwnedOutput, ...]:
    """The files of one job, in the order they were recorded."""
    return tuple(output_of(row) for row in connection.execute(_OF_JOB, {"job": job}))


def mark_published(connection: Connection, done: Sequence[Held], now: float) -> None:
    """Mark the files of these jobs as published; remove what was recorded for the same paths before and never published."""
    held = json.dumps(list(done))
    connection.execute(_PUBLISH, {"held": held, "now": now})
    connection.execute(_FORGET, {"held": held})


def insert_intents(
    connection: Connection, held: Held, recording_raw: bytes, files: Sequence[OutputIntent], now: float
) -> None:
    """Record files of a job about to be written."""
    execute_tuples(connection, _INSERT, _ROW, _rows(held, recording_raw, files, now))


def _rows(held: Held, recording_raw: bytes, files: Sequence[OutputIntent], now: float) -> list[_Row]:
    return [
        (*held, recording_raw, f.format, raw(f.path), readable(f.path), f.sha256, 0, now, f.size)
        for f in files
    ]


def output_of(row: Row[*tuple[Any, ...]]) -> OwnedOutput:
    return OwnedOutput(
        job_id=row.job_id,
        recording=path_of(row.recording_raw),
        path=path_of(row.path_raw),
        format=row.format,
        sha256=row.sha256,
        published=bool(row.published),
        size=row.bytes,
    )
