"""The first schema: recordings, jobs, attempts, timings, segments, outputs, skips, full-text search, view."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


SEARCH = """
CREATE VIRTUAL TABLE segment_search USING fts5(
text, content = '', columnsize = 0, tokenize = 'trigram')
"""

TERMS = """
CREATE VIRTUAL TABLE segment_terms USING fts5vocab('segment_search', 'instance')
"""

INSERTED = """
CREATE TRIGGER segments_inserted AFTER INSERT ON segments WHEN new.text <> ''
BEGIN
    INSERT INTO segment_search (rowid, text) VALUES (new.id, new.text || char(2, 2));
END
"""

DELETED = """
CREATE TRIGGER segments_deleted AFTER DELETE ON segments WHEN old.text <> ''
BEGIN
    INSERT INTO segment_search (segment_search, rowid, text)
    VALUES ('delete', old.id, old.text || char(2, 2));
END
"""

HISTORY = """
CREATE VIEW job_history AS
SELECT
    j.id, j.state, r.path AS recording, r.folder, j.profile,
    strftime('%Y-%m-%d %H:%M:%S', j.admitted_at, 'unixepoch') AS admitted_utc,
    strftime('%Y-%m-%d %H:%M:%S', j.claimed_at, 'unixepoch') AS claimed_utc,
    strftime('%Y-%m-%d %H:%M:%S', j.finished_at, 'unixepoch') AS finished_utc,
    round(j.audio_ms / 1000.0, 3) AS audio_s,
    (SELECT round(t.seconds, 3) FROM stage_timings t WHERE t.job_id = j.id AND t.stage = 'settling')
        AS settling_s,
    (SELECT round(t.seconds, 3) FROM stage_timings t WHERE t.job_id = j.id AND t.stage = 'waiting')
        AS waiting_s,
    (SELECT round(t.seconds, 3) FROM stage_timings t WHERE t.job_id = j.id AND t.stage = 'decoding')
        AS decoding_s,
    (SELECT round(t.seconds, 3) FROM stage_timings t WHERE t.job_id = j.id AND t.stage = 'vad')
        AS vad_s,
    (SELECT round(t.seconds, 3) FROM stage_timings t WHERE t.job_id = j.id AND t.stage = 'batch_queue')
        AS batch_queue_s,
    (SELECT round(t.seconds, 3) FROM stage_timings t WHERE t.job_id = j.id AND t.stage = 'recognition')
        AS recognition_s,
    (SELECT round(t.seconds, 3) FROM stage_timings t WHERE t.job_id = j.id AND t.stage = 'rendering')
        AS rendering_s,
    (SELECT round(t.seconds, 3) FROM stage_timings t WHERE t.job_id = j.id AND t.stage = 'publishing')
        AS publishing_s,
    round(j.finished_at - j.admitted_at + j.settle_s, 3) AS total_s,
    CASE WHEN j.state = 'done' AND j.finished_at > j.claimed_at
        THEN round(j.audio_ms / 1000.0 / (j.finished_at - j.claimed_at), 1) END AS rtfx,
    j.model, j.device, j.attempts, j.reason, j.remedy, j.truncated,
    j.reference_job_id AS same_as_job,
    (SELECT group_concat(o.path, ', ') FROM outputs o WHERE o.job_id = j.id AND o.published = 1)
        AS outputs,
    j.characters
FROM jobs j JOIN recordings r ON r.id = j.recording_id
"""


def upgrade() -> None:
    _recordings()
    _jobs()
    _attempts()
    _results()
    _files()
    for statement in (SEARCH, TERMS, INSERTED, DELETED, HISTORY):
        op.execute(sa.text(statement.strip().replace(":", r"\:")))


def _recordings() -> None:
    op.create_table(
        "recordings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("path_raw", sa.LargeBinary(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("folder_raw", sa.LargeBinary(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("mtime_ns", sa.Integer(), nullable=False),
        sa.Column("inode", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("admitted_at", sa.REAL(), nullable=False),
        sa.Column("latest", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recordings")),
    )
    op.create_index("ix_recordings_path_raw", "recordings", ["path_raw", "id"], unique=False)
    op.create_index(
        "uq_recordings_latest", "recordings", ["path_raw"], unique=True, sqlite_where=sa.text("latest = 1")
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("recording_id", sa.Integer(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.REAL(), nullable=True),
        sa.Column("not_before", sa.REAL(), nullable=False),
        sa.Column("isolate", sa.Integer(), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("remedy", sa.Text(), nullable=True),
        sa.Column("settle_s", sa.REAL(), nullable=False),
        sa.Column("admitted_at", sa.REAL(), nullable=False),
        sa.Column("claimed_at", sa.REAL(), nullable=True),
        sa.Column("finished_at", sa.REAL(), nullable=True),
        sa.Column("reference_job_id", sa.Integer(), nullable=True),
        sa.Column("audio_ms", sa.Integer(), nullable=True),
        sa.Column("speech_ms", sa.Integer(), nullable=True),
        sa.Column("characters", sa.Integer(), nullable=True),
        sa.Column("truncated", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("device", sa.Text(), nullable=True),
        sa.Column("media", sa.Text(), nullable=True),
        sa.Column("engine", sa.Text(), nullable=True),
        sa.Column("timings", sa.Text(), nullable=True),
        sa.CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name=op.f("ck_jobs_lease")),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name=op.f("ck_jobs_state")
        ),
        sa.ForeignKeyConstraint(
            ["recording_id"], ["recordings.id"], name=op.f("fk_jobs_recording_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_jobs_admitted_at", "jobs", ["admitted_at"], unique=False)
    op.create_index(
        "ix_jobs_lease", "jobs", ["lease_until"], unique=False, sqlite_where=sa.text("state = 'running'")
    )
    op.create_index(
        "ix_jobs_queue", "jobs", ["isolate", "id"], unique=False, sqlite_where=sa.text("state = 'queued'")
    )
    op.create_index("ix_jobs_recording_id", "jobs", ["recording_id"], unique=False)
    op.create_index(
        "ix_jobs_references",
        "jobs",
        ["reference_job_id"],
        unique=False,
        sqlite_where=sa.text("reference_job_id IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_results",
        "jobs",
        ["identity", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'done' AND reference_job_id IS NULL"),
    )
    op.create_index("ix_jobs_state", "jobs", ["state", "admitted_at"], unique=False)
    op.create_index(
        "ix_jobs_twins",
        "jobs",
        ["identity", "id"],
        unique=False,
        sqlite_where=sa.text("state IN ('queued', 'running')"),
    )


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("started_at", sa.REAL(), nullable=False),
        sa.Column("ended_at", sa.REAL(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_attempts_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "generation", name=op.f("pk_attempts")),
        sqlite_with_rowid=False,
    )


def _results() -> None:
    op.create_table(
        "stage_timings",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.REAL(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_stage_timings_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "stage", name=op.f("pk_stage_timings")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "segments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("idx", sa.Integer(), nullable=False),
        sa.Column("start_ms", sa.Integer(), nullable=False),
        sa.Column("end_ms", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("tokens", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_segments_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_segments")),
    )
    op.create_index("uq_segments_job_id_idx", "segments", ["job_id", "idx"], unique=True)


def _files() -> None:
    op.create_table(
        "outputs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("recording_raw", sa.LargeBinary(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("path_raw", sa.LargeBinary(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("published", sa.Integer(), nullable=False),
        sa.Column("at", sa.REAL(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_outputs_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outputs")),
    )
    op.create_index("ix_outputs_job_id", "outputs", ["job_id"], unique=False)
    op.create_index("ix_outputs_path_raw", "outputs", ["path_raw"], unique=False)
    op.create_index("ix_outputs_recording_raw", "outputs", ["recording_raw", "id"], unique=False)
    op.create_table(
        "skips",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("path_raw", sa.LargeBinary(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("first_seen", sa.REAL(), nullable=False),
        sa.Column("last_seen", sa.REAL(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_skips")),
    )
    op.create_index("ix_skips_last_seen", "skips", ["last_seen"], unique=False)
    op.create_index("uq_skips_path_raw_code", "skips", ["path_raw", "code"], unique=True)
