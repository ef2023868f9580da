"""What is told of a job that has ended."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Connection, Row

from dropscribe.escapes import readable
from dropscribe.ledger.columns import path_of
from dropscribe.ledger.sql.dialect import sql

_ENDED = sql(
    "SELECT j.id, j.state, j.profile, j.attempts, j.version, j.audio_ms, j.speech_ms, j.characters, j.model, j.device, "
    "j.reason_code, j.reason, j.remedy, j.admitted_at, j.finished_at, j.reference_job_id, r.path_raw, r.folder_raw "
    "FROM jobs j JOIN recordings r ON r.id = j.recording_id "
    "WHERE j.id IN @ids(:ids) ORDER BY j.id"
)
_FILES = sql(
    "SELECT job_id, path_raw FROM outputs WHERE published = 1 AND format NOT IN ('partial', 'failed') "
    "AND job_id IN @ids(:ids) ORDER BY id"
)


def facts_of_jobs(connection: Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Facts by job, as JSON can hold them; instants (`*_at`) are epoch seconds."""
    values = {"ids": json.dumps(list(ids))}
    rows = connection.execute(_ENDED, values).all()
    files: defaultdict[int, list[str]] = defaultdict(list)
    if any(row.state == "done" for row in rows):
        for job, path_raw in connection.execute(_FILES, values):
            files[int(job)].append(readable(path_of(path_raw)))
    return {row.id: _facts(row, files[row.id]) for row in rows}


def _facts(row: Row[Any], files: list[str]) -> dict[str, Any]:
    facts = {
        "job": row.id,
        "recording": readable(path_of(row.path_raw)),
        "folder": readable(path_of(row.folder_raw)),
        "profile": row.profile,
        "state": row.state,
        "version": row.version,
        "attempts": row.attempts,
        "admitted_at": row.admitted_at,
        "finished_at": row.finished_at,
    }
    if row.state == "done":
        return facts | {
            "audio_ms": row.audio_ms,
            "speech_ms": row.speech_ms,
            "characters": row.characters,
            "model": row.model,
            "device": row.device,
            "same_as_job": row.reference_job_id,
            "files": files,
        }
    return facts | {"code": row.reason_code, "reason": row.reason, "remedy": row.remedy}
