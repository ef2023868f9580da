"""SQL that creates the full-text search and the view for people, equal to what the revisions create."""

from __future__ import annotations

#: The character that follows every indexed text, twice.
SENTINEL = "\x02"

#: Full-text index of `segments`. Contentless: the text is stored in `segments` only; triggers update the index.
#: Two characters that no transcript and no query contains (U+0002) follow every text. With them each character of
#: the text begins a trigram, so that queries of one or two characters can be looked up among the terms.
SEARCH = """
CREATE VIRTUAL TABLE segment_search USING fts5(
text, content = '', columnsize = 0, tokenize = 'trigram')
"""

#: Every trigram with the rows that contain it.
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

#: Index the segments that exist, after the index was created anew.
FILL_SEARCH = """
INSERT INTO segment_search (rowid, text) SELECT id, text || char(2, 2) FROM segments WHERE text <> ''
"""

#: One row a job, for people at a prompt, with functions of `ledger.sql.dialect`. Times are UTC; `total_s` runs from first seen to finished, `rtfx` is
#: audio seconds per second between claim and finish. `stages` is a JSON object, stage → seconds, of whatever stages the
#: job has. The columns of single stages are kept for old queries; further stages get none.
HISTORY = """
CREATE VIEW job_history AS
SELECT
    j.id, j.state, r.path AS recording, r.folder, j.profile,
    @time(j.admitted_at) AS admitted_utc,
    @time(j.claimed_at) AS claimed_utc,
    @time(j.finished_at) AS finished_utc,
    @decimals(j.audio_ms / 1000.0, 3) AS audio_s,
    (SELECT @decimals(t.seconds, 3) FROM stage_timings t WHERE t.job_id = j.id AND t.stage = 'settling')
        AS settling_s,
    (SELECT @decimals(t.seconds, 3) FROM stage_timings t WHERE t.job_id = j.id AND t.stage = 'waiting')
        AS waiting_s,
    (SELECT @decimals(t.seconds, 3) FROM stage_timings t WHERE t.job_id = j.id AND t.stage = 'decoding')
        AS decoding_s,
    (SELECT @decimals(t.seconds, 3) FROM stage_timings t WHERE t.job_id = j.id AND t.stage = 'vad')
        AS vad_s,
    (SELECT @decimals(t.seconds, 3) FROM stage_timings t WHERE t.job_id = j.id AND t.stage = 'batch_queue')
        AS batch_queue_s,
    (SELECT @decimals(t.seconds, 3) FROM stage_timings t WHERE t.job_id = j.id AND t.stage = 'recognition')
        AS recognition_s,
    (SELECT @decimals(t.seconds, 3) FROM stage_timings t WHERE t.job_id = j.id AND t.stage = 'rendering')
        AS rendering_s,
    (SELECT @decimals(t.seconds, 3) FROM stage_timings t WHERE t.job_id = j.id AND t.stage = 'publishing')
        AS publishing_s,
    @decimals(j.finished_at - j.admitted_at + j.settle_s, 3) AS total_s,
    CASE WHEN j.state = 'done' AND j.finished_at > j.claimed_at
        THEN @decimals(j.audio_ms / 1000.0 / (j.finished_at - j.claimed_at), 1) END AS rtfx,
    j.model, j.device, j.attempts, j.reason, j.remedy, j.truncated,
    j.reference_job_id AS same_as_job,
    (SELECT @list(o.path) FROM outputs o WHERE o.job_id = j.id AND o.published = 1)
        AS outputs,
    j.characters,
    (SELECT @object(t.stage, @decimals(t.seconds, 3)) FROM stage_timings t WHERE t.job_id = j.id)
        AS stages
FROM jobs j JOIN recordings r ON r.id = j.recording_id
"""

#: What only SQLite has, in order of creation.
INDEX: tuple[str, ...] = (SEARCH, TERMS, INSERTED, DELETED)
