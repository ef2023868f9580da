"""Databases of every past schema, with a job in every state."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config

from dropscribe.ledger.sql import migrations
from dropscribe.ledger.sql.sqlite.db import connect, driver

_MEDIA = (
    '{"duration_ms":5000,"container":"wav","codec":"pcm_s16le","sample_rate_hz":16000,"channels":1,'
    '"decoder":"soundfile","warnings":[],"truncated":null}'
)
_ENGINE = (
    '{"model":"mini","vad_model":"vad","device":"cpu","precision":"fp32","versions":[["torch","2.13"]],'
    '"notice":null,"warmup_s":0.5}'
)
_TIMINGS = '{"batch_sizes":[3],"padding_waste":0.1,"wall_s":2.0}'

#: Content written by the daemon of that version: recordings 1 … 8 with one job each; state by number.
STATES = {
    1: "done",
    2: "done",
    3: "failed",
    4: "cancelled",
    5: "running",
    6: "queued",
    7: "queued",
    8: "running",
}

_0001 = f"""
INSERT INTO recordings (id, path_raw, path, folder_raw, folder, size, mtime_ns, inode, sha256, admitted_at, latest)
WITH n(i) AS (VALUES (1), (2), (3), (4), (5), (6), (7), (8))
SELECT i, CAST('/srv/drop/' || i || '.wav' AS BLOB), '/srv/drop/' || i || '.wav', CAST('/srv/drop' AS BLOB), '/srv/drop',
    1000, 10, i, 'sha-' || CASE i WHEN 2 THEN 1 ELSE i END, 10.0 * i, 1 FROM n;

INSERT INTO jobs (id, recording_id, profile, recipe, identity, state, attempts, max_attempts, generation, claimed_by,
    lease_until, not_before, isolate, reason_code, reason, remedy, settle_s, admitted_at, claimed_at, finished_at,
    reference_job_id, audio_ms, speech_ms, characters, truncated, model, device, media, engine, timings) VALUES
(1, 1, 'default', 'mini|vad', 'sha-1|default|mini|vad', 'done', 1, 3, 1, NULL, NULL, 0.0, 0, NULL, NULL, NULL, 2.0, 10.0, 11.0, 13.0,
    NULL, 5000, 4000, 4, NULL, 'mini', 'cpu', '{_MEDIA}', '{_ENGINE}', '{_TIMINGS}'),
(2, 2, 'default', 'mini|vad', 'sha-1|default|mini|vad', 'done', 1, 3, 1, NULL, NULL, 0.0, 0, NULL, NULL, NULL, 2.0, 20.0, 21.0, 23.0,
    1, 5000, 4000, 4, NULL, 'mini', 'cpu', '{_MEDIA}', '{_ENGINE}', '{_TIMINGS}'),
(3, 3, 'default', 'mini|vad', 'sha-3|default|mini|vad', 'failed', 1, 3, 1, NULL, NULL, 0.0, 0, 'no_audio', 'it holds no audio',
    'record again', 2.0, 30.0, 31.0, 33.0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
(4, 4, 'default', 'mini|vad', 'sha-4|default|mini|vad', 'cancelled', 0, 3, 0, NULL, NULL, 0.0, 0, 'recording_gone', 'removed',
    NULL, 2.0, 40.0, NULL, 43.0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
(5, 5, 'default', 'mini|vad', 'sha-5|default|mini|vad', 'running', 1, 3, 1, 'host:1', 111.0, 0.0, 0, NULL, NULL, NULL, 2.0, 50.0, 51.0,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
(6, 6, 'default', 'mini|vad', 'sha-6|default|mini|vad', 'queued', 0, 3, 3, NULL, NULL, 120.0, 0, 'storage', 'disk full', 'make room',
    2.0, 60.0, 119.0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
(7, 7, 'court', 'mini|vad', NULL, 'queued', 0, 3, 0, NULL, NULL, 0.0, 1, NULL, NULL, NULL, 2.0, 70.0, NULL, NULL,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
(8, 8, 'default', 'mini|vad', 'sha-8|default|mini|vad', 'running', 3, 3, 3, 'host:1', 111.0, 0.0, 0, NULL, NULL, NULL, 2.0, 80.0, 81.0,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

INSERT INTO attempts (job_id, generation, number, worker, started_at, ended_at, outcome, code, reason) VALUES
(1, 1, 1, 'host:1', 11.0, 13.0, 'done', NULL, NULL), (2, 1, 1, 'host:1', 21.0, 23.0, 'done', NULL, NULL),
(3, 1, 1, 'host:1', 31.0, 33.0, 'failed', 'no_audio', 'it holds no audio'), (5, 1, 1, 'host:1', 51.0, NULL, NULL, NULL, NULL),
(6, 1, 1, 'host:1', 61.0, 62.0, 'released', 'storage', 'disk full'), (6, 2, 1, 'host:1', 92.0, 93.0, 'released', 'storage', 'disk full'),
(6, 3, 1, 'host:1', 119.0, 120.0, 'released', 'storage', 'disk full'),
(8, 1, 1, 'host:1', 81.0, 82.0, 'lost', NULL, 'its lease expired'), (8, 2, 2, 'host:1', 83.0, 84.0, 'interrupted', NULL, 'stopped'),
(8, 3, 3, 'host:1', 85.0, NULL, NULL, NULL, NULL);

INSERT INTO stage_timings (job_id, stage, attempt, seconds) VALUES (1, 'decoding', 1, 0.25), (1, 'vad', 1, 0.5), (2, 'publishing', 1, 0.1);
INSERT INTO segments (id, job_id, idx, start_ms, end_ms, text, tokens) VALUES
(1, 1, 0, 0, 900, '预算', '[["预",0,50],["算",50,90]]'), (2, 1, 1, 1000, 1900, '', '[]'), (3, 1, 2, 2000, 2900, '你好', '[]');
INSERT INTO outputs (job_id, generation, recording_raw, format, path_raw, path, sha256, published, at) VALUES
(1, 1, CAST('/srv/drop/1.wav' AS BLOB), 'txt', CAST('/srv/drop/1.txt' AS BLOB), '/srv/drop/1.txt', 'hash of 1', 1, 13.0),
(5, 1, CAST('/srv/drop/5.wav' AS BLOB), 'txt', CAST('/srv/drop/5.txt' AS BLOB), '/srv/drop/5.txt', 'hash of 5', 0, 52.0),
(5, 1, CAST('/srv/drop/5.wav' AS BLOB), 'partial', CAST('/srv/drop/5.partial.txt' AS BLOB), '/srv/drop/5.partial.txt', 'hash', 0, 52.0);
INSERT INTO skips (path_raw, path, folder, code, reason, first_seen, last_seen) VALUES
(CAST('/srv/drop/x.pdf' AS BLOB), '/srv/drop/x.pdf', '/srv/drop', 'extension', 'it is no recording', 1.0, 9.0);
"""

_0002 = f"""{_0001}
UPDATE attempts SET times = 4 WHERE job_id = 6 AND generation = 3;
"""

# From this schema on a claim is no attempt. Running jobs are claimed and have not begun.
_0004 = f"""{_0002}
UPDATE jobs SET attempts = attempts - 1 WHERE state = 'running';
UPDATE jobs SET begun = 1 WHERE state IN ('done', 'failed');
"""

#: Rows by revision; a new revision needs an entry for its predecessor.
#: `outputs.bytes`, which came with 0003, has a default.
#: Without the profile in the identity of a job.
_0006 = _0004.replace("|default|", "|")
_0007 = (
    _0006
    + """
INSERT INTO job_speakers (job_id, number, name, kind) VALUES (1, 1, '王芳', 'voice');
"""
)
#: With the watched folder in each job.
_0008 = _0007 + "UPDATE jobs SET folder_raw = CAST('/srv/drop' AS BLOB);\n"
_0009 = (
    _0008
    + """
INSERT INTO actions (at, who, action, job_id, found, made) VALUES (9.0, 'ann', 'retry', 3, 'failed', 'failed');
"""
)

ROWS = {
    "0001": _0001,
    "0002": _0002,
    "0003": _0002,
    "0004": _0004,
    "0005": _0004,
    "0006": _0006,
    "0007": _0007,
    "0008": _0008,
    "0009": _0009,
    "0010": _0009,
    "0011": _0009,
    "0012": _0009,
    "0013": _0009,
    "0014": _0009,
}


def migrate(path: Path, revision: str) -> None:
    """Make a database of that schema by its revisions, without rows."""
    config = Config()
    config.set_main_option("script_location", str(migrations.migrations_folder()))
    engine = connect(path, foreign_keys=False)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def make(path: Path, revision: str) -> None:
    """A database of that schema as left by a killed daemon."""
    migrate(path, revision)
    with closing(driver().connect(str(path))) as connection:
        connection.executescript(ROWS[revision])


def rows(path: Path, columns_of: dict[str, list[str]]) -> dict[str, list[tuple[object, ...]]]:
    """Values of these columns in every row, by table."""
    with closing(driver().connect(str(path))) as connection:
        return {
            table: sorted(connection.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall(), key=repr)
            for table, names in columns_of.items()
        }


def columns(path: Path) -> dict[str, list[str]]:
    """Columns of each table."""
    with closing(driver().connect(str(path))) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'segment_*' "
            "AND name NOT GLOB '*_search*' AND name NOT IN ('recording_terms', 'job_totals', 'stage_totals') "
            "AND name NOT IN ('alembic_version', 'sqlite_sequence')"
        ).fetchall()
        return {t: [c[1] for c in connection.execute(f"PRAGMA table_info({t})")] for (t,) in tables}
