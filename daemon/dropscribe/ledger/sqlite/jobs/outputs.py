"""Which files are ours: every file is recorded, with the hash of its bytes, before it is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from dropscribe.ledger.records import OutputIntent, OwnedOutput
from dropscribe.ledger.sqlite.db import Database
from dropscribe.ledger.sqlite.paths import path_of, raw, readable
from dropscribe.ledger.sqlite.schema import outputs

#: (job, generation)
Held = tuple[int, int]

_HELD = sa.text(
    "SELECT j.id, j.generation, r.path_raw FROM jobs j JOIN recordings r ON r.id = j.recording_id "
    "WHERE j.id IN :jobs AND j.state = 'running' AND r.latest = 1"
).bindparams(sa.bindparam("jobs", expanding=True))
# The same bytes at the same path need no second row. Other hashes stay until the job is done: one of them is on
# disk if the last attempt died between writing and finishing, and must be known as ours. What a try before the last one
# meant, and is not on disk now, never will be: on a full disk every half minute would leave such a row.
_REPLACE = sa.text(
    "DELETE FROM outputs WHERE path_raw = :path_raw AND recording_raw = :recording_raw AND published = 0 "
    "AND (sha256 = :sha256 OR (job_id = :job_id AND generation < :generation - 1 AND sha256 <> :standing))"
)
_INSERT = sa.text(
    "INSERT INTO outputs (job_id, generation, recording_raw, format, path_raw, path, sha256, published, at, bytes) "
    "VALUES (:job_id, :generation, :recording_raw, :format, :path_raw, :path, :sha256, :published, :at, :bytes)"
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
# A partial text (see `Partials`) is no transcript: it is never published, and none of a recording's files here.
# Of what was published only the newest of each path can be on disk.
_OF_RECORDING = sa.text(
    "SELECT job_id, recording_raw, path_raw, format, sha256, published, bytes FROM outputs o "
    "WHERE recording_raw = :recording_raw AND format <> 'partial' AND (published = 0 OR id = (SELECT max(n.id) FROM outputs n "
    "WHERE n.recording_raw = :recording_raw AND n.path_raw = o.path_raw AND n.published = 1)) "
    "ORDER BY id DESC"
)
_OF_JOB = sa.text(
    "SELECT job_id, recording_raw, path_raw, format, sha256, published, bytes FROM outputs "
    "WHERE job_id = :job AND format <> 'partial' ORDER BY id"
)
_PUBLISH = sa.text(
    "UPDATE outputs SET published = 1, at = :now "
    "WHERE job_id = :job AND generation = :generation AND format <> 'partial'"
)
_FORGET = sa.text(
    "DELETE FROM outputs WHERE published = 0 AND id IN ("
    "SELECT o.id FROM outputs n JOIN outputs o ON o.path_raw = n.path_raw "
    "AND o.recording_raw = n.recording_raw AND o.id < n.id "
    "WHERE n.job_id = :job AND n.generation = :generation AND n.format <> 'partial')"
)


class Outputs:
    """The files of jobs. Thread-safe, also between processes."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def intend(self, intents: Sequence[tuple[int, int, Sequence[OutputIntent]]], now: float) -> list[int]:
        """Record what is about to be written, for many (job, generation, files) in one transaction.

        Returns the jobs refused, because they are not claimed under that generation any more, or because other
        content stands at their path by now: nothing may be written for those. A further intent for the same path does
        not replace what else is recorded of it before the job is done, since the file of an attempt that died may be
        there; only what tries before the last one meant is forgotten, where something else is known to stand there.
        """
        refused: list[int] = []
        if not intents:
            return refused
        with self._db.write("record what will be written") as connection:
            found = connection.execute(_HELD, {"jobs": [job for job, _, _ in intents]})
            held = {(row.id, row.generation): row.path_raw for row in found}
            rows: list[dict[str, object]] = []
            for job, generation, files in intents:
                recording_raw = held.get((job, generation))
                if recording_raw is None:
                    refused.append(job)
                else:
                    rows += _rows((job, generation), recording_raw, files, now)
            if rows:
                connection.execute(_REPLACE, rows)
                connection.execute(_INSERT, rows)
        return refused

    def owned(self, paths: Sequence[Path]) -> dict[Path, tuple[OwnedOutput, ...]]:
        """What we wrote or meant to write at each of these paths, newest first; no key where there is nothing."""
        found: dict[Path, list[OwnedOutput]] = {}
        if paths:
            with self._db.read("read whose files these are") as connection:
                for row in connection.execute(_OWNED, {"paths": [raw(p) for p in paths]}):
                    found.setdefault(path_of(row.path_raw), []).append(_output(row))
        return {path: tuple(files) for path, files in found.items()}

    def outputs_of(self, recording: Path) -> list[OwnedOutput]:
        """The files that may stand for the recording at this path, of whatever content, newest first.

        These are what was published last at each path, and what was meant and perhaps written since.
        """
        with self._db.read("read the files of a recording") as connection:
            rows = connection.execute(_OF_RECORDING, {"recording_raw": raw(recording)})
            return [_output(row) for row in rows]


def of_job(connection: Connection, job: int) -> tuple[OwnedOutput, ...]:
    """The files of one job, in the order they were meant."""
    return tuple(_output(row) for row in connection.execute(_OF_JOB, {"job": job}))


def mark_published(connection: Connection, done: Sequence[Held], now: float) -> None:
    """The files of these jobs are on disk; what was meant for the same paths before, and is not, is forgotten."""
    rows = [{"job": job, "generation": generation, "now": now} for job, generation in done]
    connection.execute(_PUBLISH, rows)
    connection.execute(_FORGET, rows)


def _rows(
    held: Held, recording_raw: bytes, files: Sequence[OutputIntent], now: float
) -> list[dict[str, object]]:
    return [
        {
            "job_id": held[0],
            "generation": held[1],
            "recording_raw": recording_raw,
            "format": f.format,
            "path_raw": raw(f.path),
            "path": readable(f.path),
            "sha256": f.sha256,
            "published": 0,
            "at": now,
            "bytes": f.size,
            "standing": f.standing,
        }
        for f in files
    ]


def _output(row: Row[*tuple[Any, ...]]) -> OwnedOutput:
    return OwnedOutput(
        job_id=row.job_id,
        recording=path_of(row.recording_raw),
        path=path_of(row.path_raw),
        format=row.format,
        sha256=row.sha256,
        published=bool(row.published),
        size=row.bytes,
    )
