"""Admit recordings: a new one becomes a job, a known one keeps its job."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dropscribe.escapes import readable
from dropscribe.ledger.columns import Places, below, inode_of, mtime_of, raw, signed, storable
from dropscribe.ledger.records import Admission, Admitted, JobState, KnownRecording, SkippedFile
from dropscribe.ledger.sql.bulk import insert_rows
from dropscribe.ledger.sql.dialect import Database, sql
from dropscribe.ledger.sql.jobs.transitions import CHANGED, GONE, transition
from dropscribe.ledger.sql.schema import jobs, recordings, skips

#: Rows of the history in memory at a time.
KNOWN_AT_ONCE = 2000
_SUPERSEDED = "content changed before it was transcribed"

# A cancelled job counts as the job of its content only when a person cancelled it: a file that was removed and is back, or
# that was changed back, is to be transcribed.
_STANDS = f"(j.state <> 'cancelled' OR j.reason_code NOT IN ('{GONE}', '{CHANGED}'))"

_LATEST = sql(
    "SELECT id, path_raw, sha256 FROM recordings WHERE latest = 1 AND path_raw IN :paths"
).bindparams(sa.bindparam("paths", expanding=True))
_STANDING = sql(
    "SELECT j.id, j.recording_id, j.profile, j.recipe FROM jobs j "
    "WHERE j.recording_id IN @ids(:recordings) AND {stands} ORDER BY j.id".replace("{stands}", _STANDS)
)
_NEXT_IDS = sql("SELECT coalesce((SELECT max(id) FROM recordings), 0) + 1, @last_number(jobs) + 1")
_SUPERSEDE = sql("UPDATE recordings SET latest = 0 WHERE id = :id")
# A recording that was moved away or deleted is back.
_REFRESH = sql(
    "UPDATE recordings SET size = :size, mtime_ns = :mtime_ns, inode = :inode, "
    "departed_raw = CASE WHEN departure IN ('moving', 'deleting') THEN departed_raw END, "
    "departed_at = CASE WHEN departure IN ('moving', 'deleting') THEN departed_at END, "
    "departure = CASE WHEN departure IN ('moving', 'deleting') THEN departure END WHERE id = :recording"
)
_RENAMED = sql(
    "SELECT id, path_raw, sha256 FROM recordings WHERE latest = 1 AND departure IS NULL "
    "AND id IN @ids(:recordings)"
)
# An older rename may not be followed yet: then the files still have the first name.
_RENAME = sql(
    "UPDATE recordings SET outputs_of_raw = coalesce(outputs_of_raw, path_raw), path_raw = :path_raw, path = :path, "
    "folder_raw = :folder_raw, folder = :folder, size = :size, mtime_ns = :mtime_ns, inode = :inode WHERE id = :recording"
)
_RENAME_JOBS = sql("UPDATE jobs SET folder_raw = :folder_raw WHERE recording_id = :recording")
_RENAME_OUTPUTS = sql(
    "UPDATE outputs SET recording_raw = :path_raw WHERE job_id IN (SELECT id FROM jobs WHERE recording_id = :recording)"
)
# Under its old name it was reported as removed.
_REVIVE = sql(
    transition(
        JobState.QUEUED,
        "UPDATE jobs SET state = 'queued', finished_at = NULL, not_before = 0, reason_code = NULL, reason = NULL "
        "WHERE {legal} AND reason_code = '{gone}' AND purged_at IS NULL AND recording_id = :recording "
        "AND profile = :profile AND recipe = :recipe "
        "AND id = (SELECT max(n.id) FROM jobs n WHERE n.recording_id = :recording) RETURNING id".replace(
            "{gone}", GONE
        ),
        retried=True,
    )
)
_PURGED = sql(
    "SELECT j.recording_id, j.id FROM jobs j WHERE j.purged_at IS NOT NULL "
    "AND j.recording_id IN @ids(:recordings) ORDER BY j.id"
)
_CANCEL_SUPERSEDED = sql(
    transition(
        JobState.CANCELLED,
        "UPDATE jobs SET state = 'cancelled', finished_at = :now, lease_until = NULL, claimed_by = NULL, "
        "reason_code = :code, reason = :reason, remedy = NULL WHERE {legal} AND recording_id = :recording RETURNING id",
    )
)
# Claimed ones too: nothing of them could be published any more.
_CANCEL_OLDER = sql(
    transition(
        JobState.CANCELLED,
        "UPDATE jobs SET state = 'cancelled', finished_at = :now, lease_until = NULL, claimed_by = NULL, "
        "reason_code = :code, reason = :reason, remedy = NULL WHERE {legal} AND recording_id IN "
        "(SELECT o.id FROM recordings n JOIN recordings o ON o.path_raw = n.path_raw "
        "WHERE n.id = :latest AND o.id < n.id) RETURNING id",
    )
)
_CLOSE_ATTEMPT = sql(
    "UPDATE attempts SET ended_at = :now, outcome = 'cancelled', code = :code, reason = :reason "
    "WHERE job_id = :id AND outcome IS NULL"
)
_KNOWN = sql(
    "SELECT r.path_raw, r.size, r.mtime_ns, r.inode, EXISTS (SELECT 1 FROM jobs j WHERE j.recording_id = r.id "
    "AND j.state IN ('queued', 'running')) FROM recordings r "
    "WHERE r.latest = 1 AND @within(r.path_raw, :first, :last) "
    "AND EXISTS (SELECT 1 FROM jobs j WHERE j.recording_id = r.id AND {stands})".replace("{stands}", _STANDS)
)
_SKIP = sql(
    "INSERT INTO skips (path_raw, path, folder, code, reason, first_seen, last_seen) "
    "VALUES (:path_raw, :path, :folder, :code, :reason, :now, :now) "
    "ON CONFLICT (@digest(path_raw), code) DO UPDATE SET "
    "reason = excluded.reason, folder = excluded.folder, last_seen = excluded.last_seen"
)
_SKIPPED = sa.select(skips.c.path_raw, skips.c.code, skips.c.folder, skips.c.reason).where(
    skips.c.path_raw.in_(sa.bindparam("paths", expanding=True))
)


def identity(admission: Admission) -> str | None:
    """Key of jobs that share a result: content and recipe; None when the result is not shared.

    The recipe names all that shapes the text. A profile has further options, which shape the files: these are rendered
    anew from the result.
    """
    if not admission.share_result:
        return None
    return identity_of(admission.sha256, admission.recipe)


def identity_of(sha256: str, recipe: str) -> str:
    """Key of jobs of this content and recipe that share a result."""
    return storable(f"{sha256}|{recipe}")


@dataclass(slots=True)
class _Batch:
    """The rows that one call of `admit` writes, and the record they are made from."""

    next_recording: int
    next_job: int
    #: Path → its latest recording and the hash of its content.
    latest: dict[bytes, tuple[int, str]]
    #: (recording, profile, recipe) → its job.
    standing: dict[tuple[int, str, str], int]
    new_recordings: list[dict[str, object]]
    new_jobs: list[dict[str, object]]
    superseded: list[int]
    refreshed: list[dict[str, object]]
    #: Recordings that were renamed, by number: path and hash on record. Each is used once.
    renamable: dict[int, tuple[bytes, str]]
    #: Recording → a job of it that was purged, which stands for all.
    purged: dict[int, int]
    renamed: list[dict[str, object]]
    #: Recordings at whose path another one is now, by a rename.
    displaced: list[int]
    places: Places
    #: Watched folder → its columns.
    folders: dict[Path, tuple[bytes, str]]

    def take(self, admission: Admission, now: float) -> Admitted:
        path_raw = raw(admission.path)
        known = self.latest.get(path_raw)
        was_renamed = False
        if known is not None and known[1] == admission.sha256:
            recording = known[0]
            self.refreshed.append({
                "recording": recording, "size": admission.size,
                "mtime_ns": signed(admission.mtime_ns), "inode": signed(admission.inode),
            })  # fmt: skip
        elif (renamed := self._rename(admission, path_raw, None if known is None else known[0])) is not None:
            recording, was_renamed = renamed, True
        else:
            recording = self._add_recording(admission, path_raw, now, None if known is None else known[0])
        profile, recipe = storable(admission.profile), storable(admission.recipe)
        job = self.purged.get(recording, self.standing.get((recording, profile, recipe)))
        if job is None and self.places.storage_of(admission.folder) != self.places.host_storage:
            # Another host may have other settings.
            job = max((j for (r, _, _), j in self.standing.items() if r == recording), default=None)
        if job is not None:
            return Admitted(job, created=False, renamed=was_renamed)
        job = self.next_job
        self.next_job += 1
        self.standing[recording, profile, recipe] = job
        self.new_jobs.append({
            "id": job, "recording_id": recording, "profile": profile, "recipe": recipe,
            "identity": identity(admission), "state": JobState.QUEUED.value, "attempts": 0,
            "max_attempts": admission.max_attempts, "generation": 0, "not_before": 0.0, "isolate": 0,
            "settle_s": admission.settle_s, "admitted_at": now, "folder_raw": self._folder(admission.folder)[0],
            "priority": admission.priority,
        })  # fmt: skip
        return Admitted(job, created=True, renamed=was_renamed)

    def _rename(self, admission: Admission, path_raw: bytes, older: int | None) -> int | None:
        """Give the recording that was renamed its new path; None if there is none, or another path has it by now."""
        recording = admission.renamed_from
        found = None if recording is None else self.renamable.get(recording)
        if recording is None or found is None or found[1] != admission.sha256 or recording in self.superseded:
            return None
        del self.renamable[recording]
        if self.latest.get(found[0], (None,))[0] == recording:
            del self.latest[found[0]]
        if older is not None:
            self.superseded.append(older)
            self.displaced.append(older)
        self.latest[path_raw] = (recording, admission.sha256)
        self.renamed.append({
            "recording": recording, "path_raw": path_raw, "path": readable(admission.path),
            "folder_raw": raw(admission.folder), "folder": self.places.label(admission.folder), "size": admission.size,
            "mtime_ns": signed(admission.mtime_ns), "inode": signed(admission.inode),
        })  # fmt: skip
        return recording

    def _add_recording(self, admission: Admission, path_raw: bytes, now: float, older: int | None) -> int:
        recording = self.next_recording
        self.next_recording += 1
        if older is not None:
            self.superseded.append(older)
        self.latest[path_raw] = (recording, admission.sha256)
        folder_raw, folder = self._folder(admission.folder)
        self.new_recordings.append({
            "id": recording, "path_raw": path_raw, "path": readable(admission.path),
            "folder_raw": folder_raw, "folder": folder,
            "size": admission.size, "mtime_ns": signed(admission.mtime_ns), "inode": signed(admission.inode),
            "sha256": admission.sha256, "admitted_at": now, "latest": 1,
        })  # fmt: skip
        return recording

    def _folder(self, folder: Path) -> tuple[bytes, str]:
        """A watched folder as its columns have it."""
        if folder not in self.folders:
            self.folders[folder] = raw(folder), self.places.label(folder)
        return self.folders[folder]


class Admissions:
    """Admissions and skips."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def admit(self, admissions: Sequence[Admission], now: float) -> list[Admitted]:
        """See `Ledger.admit`."""
        if not admissions:
            return []
        with self._db.write("admit recordings") as connection:
            batch = self._batch(connection, admissions)
            answers = [batch.take(admission, now) for admission in admissions]
            self._store(connection, batch, now)
        return answers

    def known(self, folder: Path) -> Iterator[KnownRecording]:
        """See `Ledger.known`. Rows are read as the caller iterates."""
        first, last = below(folder)
        with self._db.read("read known recordings") as connection:
            rows = connection.execute(
                _KNOWN, {"first": first, "last": last}, execution_options={"yield_per": KNOWN_AT_ONCE}
            )
            for some in rows.partitions():
                for path_raw, size, mtime_ns, inode, unfinished in some:
                    yield KnownRecording(
                        os.fsdecode(path_raw), size, mtime_of(mtime_ns), inode_of(inode), bool(unfinished)
                    )

    def skip(self, skipped: Sequence[SkippedFile], now: float) -> None:
        """See `Ledger.skip`."""
        on_record = self._skipped([s.path for s in skipped if s.at_start])
        rows = [
            {"path_raw": key[0], "path": readable(s.path), "folder": key[2], "code": s.code, "reason": key[3], "now": now}
            for s in skipped
            if (key := (raw(s.path), s.code, readable(s.folder), storable(s.reason))) not in on_record
            or not s.at_start
        ]  # fmt: skip
        if rows:
            with self._db.write("record skipped files") as connection:
                connection.execute(_SKIP, rows)

    def _skipped(self, paths: Sequence[Path]) -> set[tuple[bytes, str, str, str]]:
        """Path, code, folder and reason of the rows about these files."""
        if not paths:
            return set()
        with self._db.read("read skipped files") as connection:
            found = connection.execute(_SKIPPED, {"paths": [raw(path) for path in paths]})
            return {(row.path_raw, row.code, row.folder, row.reason) for row in found}

    def _batch(self, connection: Connection, admissions: Sequence[Admission]) -> _Batch:
        next_recording, next_job = connection.execute(_NEXT_IDS).one()
        found = connection.execute(_LATEST, {"paths": list({raw(a.path) for a in admissions})})
        latest = {row.path_raw: (int(row.id), str(row.sha256)) for row in found}
        named = _json(a.renamed_from for a in admissions if a.renamed_from is not None)
        renamable = {
            int(row.id): (bytes(row.path_raw), str(row.sha256))
            for row in connection.execute(_RENAMED, {"recordings": named})
        }
        for a in admissions:
            self._revive(connection, a, renamable)
        ids = _json([*(recording for recording, _ in latest.values()), *renamable])
        purged = {
            int(recording): int(job) for recording, job in connection.execute(_PURGED, {"recordings": ids})
        }
        standing = {
            (int(row.recording_id), str(row.profile), str(row.recipe)): int(row.id)
            for row in connection.execute(_STANDING, {"recordings": ids})
        }
        return _Batch(
            int(next_recording),
            int(next_job),
            latest,
            standing,
            [],
            [],
            [],
            [],
            renamable,
            purged,
            [],
            [],
            self._db.places,
            {},
        )

    @staticmethod
    def _revive(
        connection: Connection, admission: Admission, renamable: dict[int, tuple[bytes, str]]
    ) -> None:
        """Queue the job of a renamed recording again that was cancelled because the old path was empty."""
        recording = admission.renamed_from
        if recording is not None and renamable.get(recording, (b"", ""))[1] == admission.sha256:
            values = {
                "recording": recording, "profile": storable(admission.profile), "recipe": storable(admission.recipe),
            }  # fmt: skip
            connection.execute(_REVIVE, values)

    def _store(self, connection: Connection, batch: _Batch, now: float) -> None:
        # A path may occur twice in a batch: only its last recording is `latest`.
        last = {recording for recording, _ in batch.latest.values()}
        for row in batch.new_recordings:
            row["latest"] = int(row["id"] in last)
        if batch.superseded:
            connection.execute(_SUPERSEDE, [{"id": recording} for recording in batch.superseded])
        for statement in (_RENAME, _RENAME_JOBS, _RENAME_OUTPUTS) if batch.renamed else ():
            connection.execute(statement, batch.renamed)
        insert_rows(connection, recordings, batch.new_recordings)
        if batch.refreshed:
            connection.execute(_REFRESH, batch.refreshed)
        insert_rows(connection, jobs, batch.new_jobs)
        if batch.superseded:
            cancelled: list[int] = []
            why = {"now": now, "code": CHANGED, "reason": _SUPERSEDED}
            for latest in (row["id"] for row in batch.new_recordings if row["latest"]):
                cancelled += connection.scalars(_CANCEL_OLDER, why | {"latest": latest})
            for recording in batch.displaced:
                cancelled += connection.scalars(_CANCEL_SUPERSEDED, why | {"recording": recording})
            if cancelled:
                connection.execute(_CLOSE_ATTEMPT, [why | {"id": job} for job in cancelled])


def _json(numbers: Iterable[int]) -> str:
    return "[" + ",".join(str(n) for n in numbers) + "]"
