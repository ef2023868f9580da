"""Paths of more than 2,700 bytes on PostgreSQL, whose indexes cannot hold them. SQLite stays as it is."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_REPLACED = (
    "ix_recordings_path_raw",
    "uq_recordings_latest",
    "ix_outputs_path_raw",
    "ix_outputs_recording_raw",
    "uq_skips_path_raw_code",
    "uq_pauses_folder_raw_draining",
)
_MADE = (
    "CREATE INDEX ix_recordings_path_raw ON recordings USING hash (path_raw)",
    "CREATE INDEX ix_recordings_path_start ON recordings (substr(path_raw, 1, 1000))",
    "CREATE UNIQUE INDEX uq_recordings_latest ON recordings (sha256(path_raw)) WHERE latest = 1",
    "CREATE INDEX ix_outputs_path_raw ON outputs USING hash (path_raw)",
    "CREATE INDEX ix_outputs_recording_raw ON outputs USING hash (recording_raw)",
    "CREATE INDEX ix_skips_path_raw ON skips USING hash (path_raw)",
    "CREATE UNIQUE INDEX uq_skips_path_raw_code ON skips (sha256(path_raw), code)",
    "CREATE UNIQUE INDEX uq_pauses_folder_raw_draining ON pauses (sha256(folder_raw), draining)",
)


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for name in _REPLACED:
        op.execute(f"DROP INDEX {name}")
    for statement in _MADE:
        op.execute(statement)
