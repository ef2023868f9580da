"""Notes beside recordings of failed and held jobs: what they are to say, and which are on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from dropscribe.ledger.columns import path_of, raw
from dropscribe.ledger.records import FAILED_NOTE, JobState, NotedRecording, OutputIntent, OwnedOutput
from dropscribe.ledger.sql.dialect import Database
from dropscribe.ledger.sql.jobs.outputs import insert_intents, output_of

# The newest job decides: that of the newest content, profile and recipe.
_NEWEST = sa.text(
    "SELECT r.path_raw, r.folder_raw, j.id, j.generation, j.profile, j.state, j.reason_code, j.reason, j.remedy "
    "FROM recordings r JOIN jobs j ON j.id = (SELECT max(n.id) FROM jobs n WHERE n.recording_id = r.id) "
    "WHERE r.latest = 1 AND r.path_raw IN :paths"
).bindparams(sa.bindparam("paths", expanding=True))
_NOTES = sa.text(
    "SELECT job_id, recording_raw, path_raw, format, sha256, published, bytes FROM outputs "
    "WHERE recording_raw IN :paths AND format = :format ORDER BY id DESC"
).bindparams(sa.bindparam("paths", expanding=True), sa.bindparam("format", value=FAILED_NOTE))
_DUE = sa.text(
    "SELECT recording_raw FROM outputs WHERE format = :format UNION "
    "SELECT r.path_raw FROM jobs j JOIN recordings r ON r.id = j.recording_id "
    "WHERE r.latest = 1 AND ((j.state = 'failed' AND j.finished_at >= :since) "
    "OR (j.state = 'queued' AND j.reason_code = 'storage'))"
).bindparams(sa.bindparam("format", value=FAILED_NOTE))
_THIS = "format = :format AND recording_raw = :recording_raw AND path_raw = :path_raw AND sha256 = :sha256"
_FORGET = sa.text("DELETE FROM outputs WHERE " + _THIS)  # noqa: S608 - both parts stand here
_WRITTEN = sa.text("UPDATE outputs SET published = 1 WHERE " + _THIS)  # noqa: S608


class Notes:
    """Notes of failed and held jobs."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def due(self, since: float) -> list[Path]:
        """See `Ledger.notes_due`."""
        with self._db.read("find notes of failed jobs") as connection:
            due = map(path_of, connection.scalars(_DUE, {"since": since}))
            kept, places = self._db.kept(), self._db.places
            return [path for path in due if path.is_absolute() and places.storage_of(path) in kept]

    def of(self, recordings: Sequence[Path]) -> list[NotedRecording]:
        """See `Ledger.notes_of`."""
        if not recordings:
            return []
        paths = {"paths": [raw(path) for path in recordings]}
        with self._db.read("read notes of failed jobs") as connection:
            newest = {row.path_raw: row for row in connection.execute(_NEWEST, paths)}
            notes: dict[bytes, list[OwnedOutput]] = {}
            for row in connection.execute(_NOTES, paths):
                notes.setdefault(row.recording_raw, []).append(output_of(row))
        return [
            _noted(newest[path], tuple(notes.get(path, ())))
            for path in map(raw, recordings)
            if path in newest
        ]

    def intend(self, noted: NotedRecording, file: OutputIntent, now: float) -> None:
        """See `Ledger.intend_note`."""
        with self._db.write("record a note") as connection:
            connection.execute(_FORGET, _key(noted.path, file.path, file.sha256))
            insert_intents(connection, (noted.job_id, noted.generation), raw(noted.path), [file], now)

    def settle(self, written: Sequence[OwnedOutput], gone: Sequence[OwnedOutput]) -> None:
        """See `Ledger.settle_notes`."""
        with self._db.write("record notes") as connection:
            for statement, files in ((_WRITTEN, written), (_FORGET, gone)):
                for one in files:
                    connection.execute(statement, _key(one.recording, one.path, one.sha256))


def _key(recording: Path, path: Path | str, sha256: str) -> dict[str, object]:
    return {"format": FAILED_NOTE, "recording_raw": raw(recording), "path_raw": raw(path), "sha256": sha256}


def _noted(row: Row[Any], notes: tuple[OwnedOutput, ...]) -> NotedRecording:
    return NotedRecording(
        path=path_of(row.path_raw), folder=path_of(row.folder_raw), profile=row.profile, job_id=row.id,
        generation=row.generation, state=JobState(row.state), reason_code=row.reason_code, reason=row.reason or "",
        remedy=row.remedy or "", notes=notes,
    )  # fmt: skip
