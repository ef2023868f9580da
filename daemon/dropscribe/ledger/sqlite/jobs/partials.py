"""Partial texts on record: files that stand only while a job is being worked on, and must not outlive it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from dropscribe.ledger.records import PARTIAL, OwnedOutput
from dropscribe.ledger.sqlite.db import Database
from dropscribe.ledger.sqlite.paths import path_of, raw, readable
from dropscribe.ledger.sqlite.schema import outputs

_HELD = sa.text(
    "SELECT r.path_raw FROM jobs j JOIN recordings r ON r.id = j.recording_id "
    "WHERE j.id = :job AND j.generation = :generation AND j.state = 'running'"
)
# What stands there now stays on record until what is about to replace it has done so.
_SUPERSEDED = (
    sa.delete(outputs)
    .where(outputs.c.format == PARTIAL)
    .where(outputs.c.path_raw == sa.bindparam("of_path"))
    .where(outputs.c.recording_raw == sa.bindparam("of_recording"))
    .where(outputs.c.sha256.not_in(sa.bindparam("standing", expanding=True)))
)
_ALL = sa.select(
    outputs.c.job_id,
    outputs.c.recording_raw,
    outputs.c.path_raw,
    outputs.c.format,
    outputs.c.sha256,
    outputs.c.bytes,
).where(outputs.c.format == PARTIAL)
_FORGET = (
    sa.delete(outputs)
    .where(outputs.c.format == PARTIAL)
    .where(outputs.c.path_raw == sa.bindparam("of_path"))
    .where(outputs.c.recording_raw == sa.bindparam("of_recording"))
    .where(outputs.c.sha256 == sa.bindparam("of_sha256"))
)


class Partials:
    """The partial texts of jobs. Thread-safe, also between processes."""

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
        """Record the partial text (of `size` bytes) about to be written at `path` for a claimed job: (job, generation).

        `standing`: hashes of ours that may stand there now; others of this path are forgotten. False when the job
        is not claimed under that generation any more: nothing may be written then.
        """
        with self._db.write("record a partial text") as connection:
            found = connection.execute(_HELD, {"job": job[0], "generation": job[1]}).scalar_one_or_none()
            if found is None:
                return False
            where = {"of_path": raw(path), "of_recording": found, "standing": list(standing)}
            connection.execute(_SUPERSEDED, where)
            row = {
                "job_id": job[0], "generation": job[1], "recording_raw": found, "format": PARTIAL,
                "path_raw": raw(path), "path": readable(path), "sha256": sha256, "bytes": size, "published": 0, "at": now,
            }  # fmt: skip
            connection.execute(sa.insert(outputs), row)
        return True

    def all(self) -> list[OwnedOutput]:
        """Every partial text that may be on a disk."""
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
                for r in connection.execute(_ALL)
            ]

    def forget(self, gone: Sequence[OwnedOutput]) -> None:
        """These bytes are no longer on disk at their paths; others there stay on record."""
        if gone:
            with self._db.write("forget partial texts") as connection:
                connection.execute(
                    _FORGET,
                    [
                        {"of_recording": raw(o.recording), "of_path": raw(o.path), "of_sha256": o.sha256}
                        for o in gone
                    ],
                )
