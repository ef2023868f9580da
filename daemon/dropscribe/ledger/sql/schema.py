"""The tables of the current schema. Instants are epoch seconds (UTC), durations seconds, `_ms` milliseconds.

A change here needs a new revision under `migrations/`; a test checks that both ways give the same database. Types and index
conditions are written for SQLite and PostgreSQL: see `_FLOAT`, `_BIG` and `_partial_index`.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from dropscribe.ledger.records import JobState
from dropscribe.ledger.sql.history import totals_schema

#: The revision of `migrations/` that these tables are.
HEAD = "0015"

metadata = sa.MetaData(
    naming_convention={
        # SQLite cannot alter a constraint that has no name.
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


#: 8 bytes. PostgreSQL's REAL has 4, in which an instant of today is off by a minute.
_FLOAT: sa.Double[float] = sa.Double().with_variant(sa.REAL(), "sqlite")
#: 8 bytes. PostgreSQL's INTEGER has 4; in SQLite only INTEGER makes the number of a row its key.
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _partial_index(name: str, *columns: str | sa.TextClause, of: str, unique: bool = False) -> sa.Index:
    """Index of the rows that meet the condition `of`. On other databases than these two it would index all rows."""
    condition = sa.text(of)
    return sa.Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def _of_paths(index: sa.Index) -> sa.Index:
    """An index that holds whole paths, which only SQLite has: those of PostgreSQL are in `postgresql/ddl.py`."""
    return index.ddl_if(dialect="sqlite")


def _parent(column: str) -> sa.ForeignKey:
    """A reference to a row; removing that row removes this one."""
    return sa.ForeignKey(column, ondelete="CASCADE")


#: A content that a path had. `latest` is 1 for the newest of a path.
recordings = sa.Table(
    "recordings",
    metadata,
    sa.Column("id", _BIG, primary_key=True),
    sa.Column("path_raw", sa.LargeBinary, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("folder_raw", sa.LargeBinary, nullable=False),
    sa.Column("folder", sa.Text, nullable=False),
    sa.Column("size", _BIG, nullable=False),
    sa.Column("mtime_ns", _BIG, nullable=False),
    sa.Column("inode", _BIG, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("admitted_at", _FLOAT, nullable=False),
    sa.Column("latest", sa.Integer, nullable=False),
    #: What became of the file after its job was done: moving, moved, deleting, deleted; NULL while it is at its path.
    #: "moving" and "deleting" are intents: the file may be where it was.
    sa.Column("departure", sa.Text),
    #: Where it is, or is being, moved to.
    sa.Column("departed_raw", sa.LargeBinary),
    sa.Column("departed_at", _FLOAT),
    #: The path by which its transcripts are still named: they are to follow the recording, which was renamed or moved.
    sa.Column("outputs_of_raw", sa.LargeBinary),
    _of_paths(sa.Index("ix_recordings_path_raw", "path_raw", "id")),
    #: A renamed file keeps both.
    _partial_index("ix_recordings_content", "size", "mtime_ns", of="latest = 1"),
    _partial_index(
        "ix_recordings_pending",
        "id",
        of="outputs_of_raw IS NOT NULL OR departure IN ('moving', 'deleting')",
    ),
    _of_paths(_partial_index("uq_recordings_latest", "path_raw", unique=True, of="latest = 1")),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", _BIG, primary_key=True),
    sa.Column("recording_id", _BIG, _parent("recordings.id"), nullable=False),
    sa.Column("profile", sa.Text, nullable=False),
    sa.Column("recipe", sa.Text, nullable=False),
    #: Content and recipe; NULL when the result is not shared with other recordings.
    sa.Column("identity", sa.Text),
    sa.Column("state", sa.Text, nullable=False),
    #: Attempts that count: those that failed because of the recording, the engine or the file system, and the one that has
    #: begun or ended the job. A claim does not count, nor does an attempt that was interrupted by a kill or refunded.
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("max_attempts", sa.Integer, nullable=False),
    #: Number of claims; a late result names an older one and is refused.
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("claimed_by", sa.Text),
    sa.Column("lease_until", _FLOAT),
    sa.Column("not_before", _FLOAT, nullable=False),
    sa.Column("isolate", sa.Integer, nullable=False),
    sa.Column("reason_code", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("remedy", sa.Text),
    sa.Column("settle_s", _FLOAT, nullable=False),
    sa.Column("admitted_at", _FLOAT, nullable=False),
    sa.Column("claimed_at", _FLOAT),
    sa.Column("finished_at", _FLOAT),
    #: The job whose segments are used for this one; it has segments of its own.
    sa.Column("reference_job_id", _BIG),
    sa.Column("audio_ms", _BIG),
    sa.Column("speech_ms", _BIG),
    sa.Column("characters", sa.Integer),
    sa.Column("truncated", sa.Text),
    sa.Column("model", sa.Text),
    sa.Column("device", sa.Text),
    #: MediaFacts, EngineFacts and Timings (without its seconds) as JSON objects. A job that has them and no
    #: `reference_job_id` has a result: its segments are on record, whether or not its files could be published.
    sa.Column("media", sa.Text),
    sa.Column("engine", sa.Text),
    sa.Column("timings", sa.Text),
    #: 1 once decoding has begun under the newest claim, just before a decoder gets the file; `attempts` then includes it.
    sa.Column("begun", sa.Integer, nullable=False, server_default="0"),
    #: Number of deaths of daemon or decoder while it was tried alone, and whether another recording was finished since the
    #: first of them (`daemon/dropscribe/ledger/lone_trials.py`).
    sa.Column("lone_deaths", sa.Integer, nullable=False, server_default="0"),
    sa.Column("others_done", sa.Integer, nullable=False, server_default="0"),
    #: Number of failed publications since its result is there. Jobs with more of them are claimed after the others.
    sa.Column("unpublished", sa.Integer, nullable=False, server_default="0"),
    #: 1 for the first transcript of a content at a path; one made again on request has the next number and names the job
    #: that it takes the place of.
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
    sa.Column("supersedes_id", _BIG),
    #: The watched folder of its recording, as in `recordings`: the queue of each folder is read by itself.
    sa.Column("folder_raw", sa.LargeBinary),
    #: Jobs with a higher one are claimed first. That of its folder's settings, unless a person gave it another
    #: (`priority_given` 1).
    sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
    sa.Column("priority_given", sa.Integer, nullable=False, server_default="0"),
    #: When its words and speakers were removed from this database (0: not all of them yet), its stages and attempts, its
    #: transcript files; and when all of these were removed on request. NULL: never.
    sa.Column("text_removed_at", _FLOAT),
    sa.Column("logs_removed_at", _FLOAT),
    sa.Column("files_removed_at", _FLOAT),
    sa.Column("purged_at", _FLOAT),
    sa.CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="lease"),
    sa.CheckConstraint("state IN (" + ", ".join(f"'{s.value}'" for s in JobState) + ")", name="state"),
    sa.Index("ix_jobs_recording_id", "recording_id"),
    sa.Index("ix_jobs_state", "state", "admitted_at"),
    sa.Index("ix_jobs_admitted_at", "admitted_at"),
    _partial_index(
        "ix_jobs_queue",
        "isolate",
        "folder_raw",
        "unpublished",
        sa.text("priority DESC"),
        "id",
        of="state = 'queued'",
    ),
    sa.Index("ix_jobs_profile", "profile", "admitted_at"),
    sa.Index("ix_jobs_folder", "folder_raw", "admitted_at"),
    _partial_index("ix_jobs_reason_code", "reason_code", "admitted_at", of="reason_code IS NOT NULL"),
    _partial_index("ix_jobs_audio_ms", "audio_ms", of="audio_ms IS NOT NULL"),
    _partial_index("ix_jobs_lease", "lease_until", of="state = 'running'"),
    _partial_index("ix_jobs_finished", "finished_at", "id", of="state = 'done'"),
    _partial_index("ix_jobs_twins", "identity", "priority", "id", of="state IN ('queued', 'running')"),
    _partial_index(
        "ix_jobs_results",
        "identity",
        "id",
        of="media IS NOT NULL AND reference_job_id IS NULL",
    ),
    _partial_index("ix_jobs_references", "reference_job_id", of="reference_job_id IS NOT NULL"),
    # A number that is in a transcript is never given to another job.
    sqlite_autoincrement=True,
)

#: One row for each claim, except claims that were returned before decoding began. `number` counts attempts: one that
#: was interrupted or refunded has the number of the next. `outcome` is NULL while it is under way, else done, failed,
#: released, cancelled, interrupted (the daemon was killed) or lost (its lease expired). Consecutive refunded attempts with
#: the same reason are one row, from the first to the last, and `times` is their number: while a disk is full there is one
#: every half minute.
attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("job_id", _BIG, _parent("jobs.id"), primary_key=True),
    sa.Column("generation", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("started_at", _FLOAT, nullable=False),
    sa.Column("ended_at", _FLOAT),
    sa.Column("outcome", sa.Text),
    sa.Column("code", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("times", sa.Integer, nullable=False, server_default="1"),
    sqlite_with_rowid=False,
)

stage_timings = sa.Table(
    "stage_timings",
    metadata,
    sa.Column("job_id", _BIG, _parent("jobs.id"), primary_key=True),
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("seconds", _FLOAT, nullable=False),
    sqlite_with_rowid=False,
)

segments = sa.Table(
    "segments",
    metadata,
    sa.Column("id", _BIG, primary_key=True),
    sa.Column("job_id", _BIG, _parent("jobs.id"), nullable=False),
    sa.Column("idx", sa.Integer, nullable=False),
    sa.Column("start_ms", _BIG, nullable=False),
    sa.Column("end_ms", _BIG, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    #: JSON: [[text, start_ms, end_ms, confidence in 255ths (absent if it is not known)], ...]
    sa.Column("tokens", sa.Text, nullable=False),
    #: The mark after each token and the number of its speaker, one byte each; NULL if they were not asked for.
    sa.Column("marks", sa.LargeBinary),
    sa.Column("speakers", sa.LargeBinary),
    #: JSON: {language, emotion, events}, those that the model has told; NULL if none.
    sa.Column("tags", sa.Text),
    sa.Index("uq_segments_job_id_idx", "job_id", "idx", unique=True),
)

#: Speakers of a job that has segments of its own.
job_speakers = sa.Table(
    "job_speakers",
    metadata,
    sa.Column("job_id", _BIG, _parent("jobs.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("kind", sa.Text, nullable=False),
    #: 192 half-precision floats of unit length, of a voice.
    sa.Column("embedding", sa.LargeBinary),
    _partial_index("ix_job_speakers_name", "name", of="name IS NOT NULL"),
    sqlite_with_rowid=False,
)

#: Known voices. Embeddings of different models cannot be compared.
voices = sa.Table(
    "voices",
    metadata,
    sa.Column("id", _BIG, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("embedding", sa.LargeBinary, nullable=False),
    sa.Column("made_at", _FLOAT, nullable=False),
    sa.Index("uq_voices_name_model", "name", "model", unique=True),
)

outputs = sa.Table(
    "outputs",
    metadata,
    sa.Column("id", _BIG, primary_key=True),
    sa.Column("job_id", _BIG, _parent("jobs.id"), nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("recording_raw", sa.LargeBinary, nullable=False),
    sa.Column("format", sa.Text, nullable=False),
    sa.Column("path_raw", sa.LargeBinary, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("published", sa.Integer, nullable=False),
    sa.Column("at", _FLOAT, nullable=False),
    #: Size; NULL in rows of earlier versions.
    sa.Column("bytes", _BIG),
    sa.Index("ix_outputs_job_id", "job_id"),
    _of_paths(sa.Index("ix_outputs_path_raw", "path_raw")),
    _of_paths(sa.Index("ix_outputs_recording_raw", "recording_raw", "id")),
)

skips = sa.Table(
    "skips",
    metadata,
    sa.Column("id", _BIG, primary_key=True),
    sa.Column("path_raw", sa.LargeBinary, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("folder", sa.Text, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("first_seen", _FLOAT, nullable=False),
    sa.Column("last_seen", _FLOAT, nullable=False),
    _of_paths(sa.Index("uq_skips_path_raw_code", "path_raw", "code", unique=True)),
    sa.Index("ix_skips_last_seen", "last_seen"),
)

#: Folders whose jobs are not claimed, by whom and since when; `folder_raw` is empty for all folders. `draining` 1: the daemon
#: ends when nothing is in progress any more.
pauses = sa.Table(
    "pauses",
    metadata,
    sa.Column("id", _BIG, primary_key=True),
    sa.Column("folder_raw", sa.LargeBinary, nullable=False),
    sa.Column("folder", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("since", _FLOAT, nullable=False),
    sa.Column("draining", sa.Integer, nullable=False),
    _of_paths(sa.Index("uq_pauses_folder_raw_draining", "folder_raw", "draining", unique=True)),
)

#: What people asked for: of a job (`job_id`), of a folder, or of all folders (both NULL). `found` and `made` are the states
#: before and after it; equal when nothing was changed.
actions = sa.Table(
    "actions",
    metadata,
    sa.Column("id", _BIG, primary_key=True),
    sa.Column("at", _FLOAT, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("job_id", _BIG, _parent("jobs.id")),
    sa.Column("folder", sa.Text),
    sa.Column("found", sa.Text, nullable=False),
    sa.Column("made", sa.Text, nullable=False),
    sa.Index("ix_actions_job_id", "job_id"),
    sa.Index("ix_actions_at", "at"),
)

#: Backups made by `dropscribe backup`: what is purged here may be in them.
backups = sa.Table(
    "backups",
    metadata,
    sa.Column("id", _BIG, primary_key=True),
    sa.Column("path_raw", sa.LargeBinary, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("made_at", _FLOAT, nullable=False),
)

#: Sums over ended jobs: `daemon/dropscribe/ledger/sql/history/totals_schema.py`. `day` counts days since 1970, UTC, of
#: the end of the jobs; unknown models and devices, and no reason, are ''. `recognised` jobs have a result of their own.
job_totals = sa.Table(
    "job_totals",
    metadata,
    sa.Column("day", sa.Integer, primary_key=True),
    sa.Column("folder", sa.Text, primary_key=True),
    sa.Column("profile", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("device", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, primary_key=True),
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("jobs", sa.Integer, nullable=False),
    sa.Column("audio_ms", _BIG, nullable=False),
    sa.Column("speech_ms", _BIG, nullable=False),
    sa.Column("characters", _BIG, nullable=False),
    sa.Column("recognised", sa.Integer, nullable=False),
    sa.Column("recognised_ms", _BIG, nullable=False),
    #: From the claim to the end of recognised jobs.
    sa.Column("processing_ms", _BIG, nullable=False),
    sqlite_with_rowid=False,
)

#: Durations of the stages of done jobs: sum, and number in each bucket of `daemon/dropscribe/ledger/histograms.py`.
stage_totals = sa.Table(
    "stage_totals",
    metadata,
    sa.Column("day", sa.Integer, primary_key=True),
    sa.Column("folder", sa.Text, primary_key=True),
    sa.Column("profile", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("jobs", sa.Integer, nullable=False),
    sa.Column("microseconds", _BIG, nullable=False),
    *(sa.Column(name, sa.Integer, nullable=False) for name in totals_schema.COUNTS),
    sqlite_with_rowid=False,
)

#: One row for each event and each target that wants it. Rows with the same `message` are one message; it is NULL while a digest
#: still takes events. `tries` also identifies a claim. The first of a target are found by `ix_outbox_due`.
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", _BIG, primary_key=True),
    sa.Column("message", sa.Text),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("job_id", _BIG, _parent("jobs.id")),
    #: JSON object; NULL until the event is claimed where it is that of a done job.
    sa.Column("facts", sa.Text),
    sa.Column("at", _FLOAT, nullable=False),
    sa.Column("due_at", _FLOAT, nullable=False),
    sa.Column("digest", sa.Integer, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("lease_until", _FLOAT),
    sa.Column("claimed_by", sa.Text),
    sa.Column("ended_at", _FLOAT),
    #: Why the newest try failed.
    sa.Column("error", sa.Text),
    sa.CheckConstraint("state IN ('pending', 'sent', 'failed')", name="state"),
    _partial_index("ix_outbox_due", "target", "due_at", "id", of="state = 'pending'"),
    _partial_index("ix_outbox_sent", "ended_at", of="state = 'sent'"),
    _partial_index("ix_outbox_failed", "ended_at", of="state = 'failed'"),
    _partial_index("ix_outbox_job_id", "job_id", of="job_id IS NOT NULL"),
    sa.Index("ix_outbox_message", "message"),
    # People name events by their numbers.
    sqlite_autoincrement=True,
)

#: Conditions that last and were announced when they began; `seen`: when they were last known to last.
conditions = sa.Table(
    "conditions",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("since", _FLOAT, nullable=False),
    sa.Column("seen", _FLOAT, nullable=False),
    sqlite_with_rowid=False,
)

#: Targets of notifications that answered that they want no more.
disabled_targets = sa.Table(
    "disabled_targets",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("at", _FLOAT, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)


def add_statements(database: str, statements: Iterable[str]) -> None:
    """Let these statements follow the creation of the tables, in a database by its name in SQLAlchemy."""
    for statement in statements:
        ddl = sa.DDL(statement.strip().replace("%", "%%"))  # type: ignore[no-untyped-call]
        sa.event.listen(metadata, "after_create", ddl.execute_if(dialect=database))
