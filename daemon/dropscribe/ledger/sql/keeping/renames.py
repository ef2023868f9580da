"""Find recordings that were renamed, and record where their files followed them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from dropscribe.escapes import readable
from dropscribe.files import FileSignature
from dropscribe.ledger.columns import inode_of, path_of, raw, signed
from dropscribe.ledger.keeping import Following, NamedOutput, RenameCandidate
from dropscribe.ledger.sql.dialect import Database, sql
from dropscribe.ledger.sql.jobs.outputs import output_of

_CANDIDATES = sql(
    "SELECT id, path_raw, folder_raw, inode FROM recordings WHERE latest = 1 AND size = :size AND mtime_ns = :mtime_ns "
    "AND sha256 = :sha256 AND path_raw <> :path AND departure IS NULL ORDER BY inode = :inode DESC, id DESC LIMIT 20"
)
_ON_RECORD = sql(
    "SELECT DISTINCT size, mtime_ns, sha256 FROM recordings WHERE latest = 1 AND departure IS NULL "
    "AND size IN @ids(:sizes) AND mtime_ns IN @ids(:times) AND sha256 IN @texts(:hashes)"
)
_FOLLOWING = sql(
    "SELECT r.id, r.outputs_of_raw, r.path_raw, r.departed_raw, r.folder_raw, r.departure, j.profile "
    "FROM recordings r JOIN jobs j ON j.id = (SELECT max(n.id) FROM jobs n WHERE n.recording_id = r.id) "
    "WHERE r.outputs_of_raw IS NOT NULL AND coalesce(r.departure, '') NOT IN ('moving', 'deleting') "
    "AND @storage(r.folder_raw) IN @texts(:kept) ORDER BY r.id LIMIT :limit"
)
_OUTPUTS = sql(
    "SELECT o.id, o.job_id, o.recording_raw, o.path_raw, o.format, o.sha256, o.published, o.bytes FROM outputs o "
    "JOIN jobs j ON j.id = o.job_id WHERE j.recording_id = :recording AND o.format NOT IN ('partial', 'failed') "
    "ORDER BY o.id DESC"
)
_MOVED = sql("UPDATE outputs SET path_raw = :path_raw, path = :path WHERE id = :id")
# Renamed again meanwhile: the files have the name in between now.
_COMPLETE = sql(
    "UPDATE recordings SET outputs_of_raw = CASE WHEN path_raw = :path THEN NULL ELSE :path END WHERE id = :recording"
)
_COMPLETE_DEPARTED = sql("UPDATE recordings SET outputs_of_raw = NULL WHERE id = :recording")


class Renames:
    """Recordings that were renamed or moved, and the files that follow them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def on_record(self, contents: Sequence[tuple[FileSignature, str]]) -> list[bool]:
        """See `Keeping.on_record`."""
        keys = [(file.size, signed(file.mtime_ns), sha256) for file, sha256 in contents]
        sizes, times, hashes = (json.dumps(list(set(column))) for column in zip(*keys, strict=True))
        with self._db.read("find renamed recordings") as connection:
            rows = connection.execute(_ON_RECORD, {"sizes": sizes, "times": times, "hashes": hashes})
            found = {tuple(row) for row in rows}
        return [key in found for key in keys]

    def rename_candidates(self, path: Path, signature: FileSignature, sha256: str) -> list[RenameCandidate]:
        """See `Keeping.rename_candidates`."""
        values = {
            "size": signature.size, "mtime_ns": signed(signature.mtime_ns), "inode": signed(signature.inode),
            "sha256": sha256, "path": raw(path),
        }  # fmt: skip
        with self._db.read("find a renamed recording") as connection:
            return [
                RenameCandidate(row.id, path_of(row.path_raw), path_of(row.folder_raw), inode_of(row.inode))
                for row in connection.execute(_CANDIDATES, values)
            ]

    def following(self, limit: int) -> list[Following]:
        """See `Keeping.following`."""
        with self._db.read("read renamed recordings") as connection:
            return [
                Following(
                    row.id,
                    path_of(row.outputs_of_raw),
                    path_of(row.departed_raw if row.departure == "moved" else row.path_raw),
                    path_of(row.folder_raw),
                    row.profile,
                    row.departure == "moved",
                    tuple(
                        NamedOutput(output.id, output_of(output))
                        for output in connection.execute(_OUTPUTS, {"recording": row.id})
                    ),
                )
                for row in connection.execute(
                    _FOLLOWING, {"limit": limit, "kept": json.dumps(self._db.kept())}
                ).all()
            ]

    def followed(self, one: Following, moved: Sequence[tuple[int, Path]], *, complete: bool) -> None:
        """See `Keeping.followed`."""
        rows = [{"id": row, "path_raw": raw(path), "path": readable(path)} for row, path in moved]
        with self._db.write("record moved files") as connection:
            if rows:
                connection.execute(_MOVED, rows)
            if complete:
                statement = _COMPLETE_DEPARTED if one.departed else _COMPLETE
                connection.execute(statement, {"recording": one.recording_id, "path": raw(one.recording)})
