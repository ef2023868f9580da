"""The view `job_history` has the stages of a job as one JSON object, whatever their names are.

A further stage needs no revision from here on. Tables and rows stay as they are.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

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
    j.characters,
    (SELECT json_group_object(t.stage, round(t.seconds, 3)) FROM stage_timings t WHERE t.job_id = j.id)
        AS stages
FROM jobs j JOIN recordings r ON r.id = j.recording_id
"""


def upgrade() -> None:
    op.execute("DROP VIEW job_history")
    op.execute(sa.text(HISTORY.strip().replace(":", r"\:")))
