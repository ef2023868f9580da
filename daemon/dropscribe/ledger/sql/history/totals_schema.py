"""SQL that keeps totals of ended jobs, equal to what the revisions create. Its functions are those of `ledger.sql.dialect`.

`job_totals` and `stage_totals` are sums over `jobs` and `stage_timings`. Triggers keep them, so that every statement that
ends, changes or deletes a job does so in its own transaction, whoever wrote it. All numbers are integers: sums do not depend
on their order, and subtracting what was added leaves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dropscribe.ledger.histograms import BUCKETS, FIRST_BUCKET_S

#: States of the jobs that are counted.
_ENDED = "('done', 'failed', 'cancelled')"
_JOB_KEY = ("day", "folder", "profile", "model", "device", "state", "code")
_STAGE_KEY = ("day", "folder", "profile", "model", "stage")
#: Columns of the buckets: the number of durations in each. As rows of their own they would take ten times as long to sum up.
COUNTS = tuple(f"b{k}" for k in range(BUCKETS))
#: What the totals of a job depend on.
_COLUMNS = (
    "state, finished_at, claimed_at, recording_id, profile, model, device, reason_code, reference_job_id, audio_ms, "
    "speech_ms, characters"
)


def _of_job(j: str) -> dict[str, str]:
    """The columns of `job_totals` for a job, the row `j`, of a recording `r`.

    `recognised` jobs have a result of their own, not that of another job.
    """
    own = f"(@flag({j}.state = 'done' AND {j}.reference_job_id IS NULL AND {j}.claimed_at IS NOT NULL))"
    return {
        "day": f"@whole(coalesce({j}.finished_at, 0) / 86400)",
        "folder": "r.folder",
        "profile": f"{j}.profile",
        "model": f"coalesce({j}.model, '')",
        "device": f"coalesce({j}.device, '')",
        "state": f"{j}.state",
        "code": f"coalesce({j}.reason_code, '')",
        "jobs": "1",
        "audio_ms": f"coalesce({j}.audio_ms, 0)",
        "speech_ms": f"coalesce({j}.speech_ms, 0)",
        "characters": f"coalesce({j}.characters, 0)",
        "recognised": own,
        "recognised_ms": f"{own} * coalesce({j}.audio_ms, 0)",
        "processing_ms": f"{own} * @rounded(@greatest(0, coalesce({j}.finished_at - {j}.claimed_at, 0)) * 1000)",
    }


def _of_stage(j: str, t: str = "t") -> dict[str, str]:
    """The columns of `stage_totals` for a stage, the row `t`, of a job `j` of a recording `r`."""
    ends = [FIRST_BUCKET_S * 2**k for k in range(BUCKETS - 1)]
    return {
        **_key_of_stage(j, t),
        "jobs": "1",
        "microseconds": _microseconds(t),
        COUNTS[0]: f"@flag({t}.seconds < {ends[0]!r})",
        **{
            COUNTS[k]: f"@flag({t}.seconds >= {ends[k - 1]!r} AND {t}.seconds < {ends[k]!r})"
            for k in range(1, BUCKETS - 1)
        },
        COUNTS[-1]: f"@flag({t}.seconds >= {ends[-1]!r})",
    }


def _key_of_stage(j: str, t: str) -> dict[str, str]:
    return {
        "day": f"@whole(coalesce({j}.finished_at, 0) / 86400)",
        "folder": "r.folder",
        "profile": f"{j}.profile",
        "model": f"coalesce({j}.model, '')",
        "stage": f"{t}.stage",
    }


def _microseconds(t: str) -> str:
    return f"@rounded({t}.seconds * 1000000)"


def _add(table: str, columns: Mapping[str, str], key: tuple[str, ...], rows: str, sign: str = "") -> str:
    """Add the numbers of `rows` to the totals, or subtract them if `sign` is "-"."""
    values = [text if name in key else f"{sign}({text})" for name, text in columns.items()]
    sums = ", ".join(
        f"{name} = @stored({table}, {name}) + excluded.{name}" for name in columns if name not in key
    )
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} FROM {rows} "  # noqa: S608 - our names
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sums}"
    )


def _job(j: str, recording: str, sign: str = "") -> str:
    """Statements of a trigger that add a job, the row `j`, with its stages, or subtract it."""
    job = _add("job_totals", _of_job(j), _JOB_KEY, f"recordings r WHERE r.id = {recording}", sign)
    rows = f"recordings r @cross() stage_timings t WHERE r.id = {recording} AND t.job_id = {j}.id AND {j}.state = 'done'"
    return f"{job};\n    {_add('stage_totals', _of_stage(j), _STAGE_KEY, rows, sign)};"


def _stage(t: str, sign: str = "") -> str:
    """Statement of a trigger that adds a stage, the row `t`, or subtracts it."""
    rows = f"jobs j JOIN recordings r ON r.id = j.recording_id WHERE j.id = {t}.job_id AND j.state = 'done'"
    return f"{_add('stage_totals', _of_stage('j', t), _STAGE_KEY, rows, sign)};"


def _folder(folder: str, sign: str) -> str:
    """Statements of a trigger that add all jobs of a recording to the totals of a folder, or subtract them from these."""
    of_job, of_stage = ({**columns, "folder": folder} for columns in (_of_job("j"), _of_stage("j")))
    jobs = f"jobs j WHERE j.recording_id = new.id AND j.state IN {_ENDED}"
    stages = "jobs j @cross() stage_timings t WHERE j.recording_id = new.id AND t.job_id = j.id AND j.state = 'done'"
    return (
        f"{_add('job_totals', of_job, _JOB_KEY, jobs, sign)};\n"
        f"    {_add('stage_totals', of_stage, _STAGE_KEY, stages, sign)};"
    )


@dataclass(frozen=True, slots=True)
class Trigger:
    """Statements that run for each row at an event, if the condition is met ("": always)."""

    name: str
    event: str
    condition: str
    statements: tuple[str, ...]


def _trigger(name: str, event: str, condition: str, *statements: str) -> Trigger:
    return Trigger(name, event, condition, statements)


# A job and its stages may come in any order: each trigger counts what is there. Rows that a foreign key deletes follow
# theirs, whose columns a trigger could not read any more: therefore a recording's jobs are deleted before it.
TRIGGERS: tuple[Trigger, ...] = (
    _trigger("jobs_inserted", "AFTER INSERT ON jobs", f"new.state IN {_ENDED}", _job("new", "new.recording_id")),
    _trigger(
        "jobs_changed", f"BEFORE UPDATE OF {_COLUMNS} ON jobs", f"old.state IN {_ENDED}", _job("old", "old.recording_id", "-")
    ),
    _trigger(
        "jobs_ended", f"AFTER UPDATE OF {_COLUMNS} ON jobs", f"new.state IN {_ENDED}", _job("new", "new.recording_id")
    ),
    _trigger("jobs_deleted", "BEFORE DELETE ON jobs", f"old.state IN {_ENDED}", _job("old", "old.recording_id", "-")),
    _trigger("stages_inserted", "AFTER INSERT ON stage_timings", "", _stage("new")),
    _trigger(
        "stages_changed", "AFTER UPDATE OF stage, seconds ON stage_timings", "", _stage("old", "-"), _stage("new")
    ),
    _trigger("stages_deleted", "AFTER DELETE ON stage_timings", "", _stage("old", "-")),
    _trigger(
        "recordings_moved", "AFTER UPDATE OF folder ON recordings", "old.folder <> new.folder",
        _folder("old.folder", "-"), _folder("new.folder", ""),
    ),
    _trigger("recordings_jobs", "BEFORE DELETE ON recordings", "", "DELETE FROM jobs WHERE recording_id = old.id;"),
)  # fmt: skip


def _named(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{text} AS {name}" for name, text in columns.items())


def _sums_of_jobs(rows: str) -> str:
    """`job_totals` of `rows`: jobs `j`, each with its recording `r`."""
    columns = _of_job("j")
    sums = ", ".join(f"sum({name}) AS {name}" for name in columns if name not in _JOB_KEY)
    key = ", ".join(_JOB_KEY)
    return f"SELECT {key}, {sums} FROM (SELECT {_named(columns)} FROM {rows}) AS counted GROUP BY {key}"  # noqa: S608 - our names


def _sums_of_stages(rows: str) -> str:
    """`stage_totals` of `rows`: stages `t`, each with its job `j` and its recording `r`.

    By bucket first: so each of the many rows is compared with a few bounds, not with those of every bucket.
    """
    bounds = " ".join(f"WHEN t.seconds < {FIRST_BUCKET_S * 2**k!r} THEN {k}" for k in range(BUCKETS - 1))
    bucket = f"CASE {bounds} ELSE {BUCKETS - 1} END"
    key = ", ".join(_STAGE_KEY)
    counts = ", ".join(f"sum(@chosen(bucket = {k}, jobs, 0)) AS {name}" for k, name in enumerate(COUNTS))
    return (
        f"SELECT {key}, sum(jobs) AS jobs, sum(microseconds) AS microseconds, {counts} FROM ("  # noqa: S608 - our names
        f"SELECT {_named(_key_of_stage('j', 't'))}, {bucket} AS bucket, count(*) AS jobs, "
        f"sum({_microseconds('t')}) AS microseconds FROM {rows} GROUP BY 1, 2, 3, 4, 5, 6) AS counted GROUP BY {key}"
    )


#: The totals as they should be, one SELECT a table.
SUMS: Mapping[str, str] = {
    "job_totals": _sums_of_jobs(
        f"jobs j JOIN recordings r ON r.id = j.recording_id WHERE j.state IN {_ENDED}"
    ),
    "stage_totals": _sums_of_stages(
        "jobs j @joined() recordings r ON r.id = j.recording_id @joined() stage_timings t ON t.job_id = j.id "
        "WHERE @plain(j.state) = 'done'"
    ),
}

#: Make the totals anew.
FILL: tuple[str, ...] = tuple(
    statement
    for table, sums in SUMS.items()
    for statement in (f"DELETE FROM {table}", f"INSERT INTO {table} {sums}")  # noqa: S608
)


def _add_sums(table: str, sums: str, sign: str) -> str:
    """Add these sums to the totals, or subtract them if `sign` is "-"."""
    columns, key = (_of_job("j"), _JOB_KEY) if table == "job_totals" else (_of_stage("j"), _STAGE_KEY)
    return _add(table, {name: name for name in columns}, key, f"({sums}) AS summed WHERE true", sign)


def _jobs_of(rows: str, sign: str = "") -> str:
    """Statements of a trigger that add the jobs in the table `rows` that have ended, with their stages, or subtract them."""
    joined = f"{rows} j JOIN recordings r ON r.id = j.recording_id"
    jobs = _sums_of_jobs(f"{joined} WHERE j.state IN {_ENDED}")
    stages = _sums_of_stages(f"{joined} JOIN stage_timings t ON t.job_id = j.id WHERE j.state = 'done'")
    return (
        f"IF EXISTS (SELECT 1 FROM {rows} WHERE state IN {_ENDED}) THEN\n"  # noqa: S608 - our names
        f"    {_add_sums('job_totals', jobs, sign)};\n    {_add_sums('stage_totals', stages, sign)};\n    END IF;"
    )


_STAGES_OF_NEW = _sums_of_stages(
    "new_rows t JOIN jobs j ON j.id = t.job_id JOIN recordings r ON r.id = j.recording_id WHERE j.state = 'done'"
)
#: Triggers that take the places of others where a trigger can have all rows of a statement, `old_rows` and `new_rows`: many
#: jobs that end together are added as one row each of the totals. The names of those others → event, statements in PL/pgSQL.
SET_TRIGGERS: Mapping[tuple[str, ...], tuple[str, tuple[str, ...]]] = {
    ("jobs_inserted",): ("INSERT ON jobs", (_jobs_of("new_rows"),)),
    ("jobs_ended", "jobs_changed"): ("UPDATE ON jobs", (_jobs_of("old_rows", "-"), _jobs_of("new_rows"))),
    ("stages_inserted",): ("INSERT ON stage_timings", (f"{_add_sums('stage_totals', _STAGES_OF_NEW, '')};",)),
}

#: One row a day, folder, profile, model, device, state and reason code, for people at a prompt. Days are UTC.
DAYS = """
CREATE VIEW day_totals AS
SELECT
    @date(day * 86400) AS day, folder, profile, model, device, state, code AS reason_code, jobs,
    audio_ms / 3600000.0 AS audio_h, speech_ms / 3600000.0 AS speech_h, characters,
    recognised, recognised_ms / 3600000.0 AS recognised_h, processing_ms / 3600000.0 AS processing_h
FROM job_totals WHERE jobs <> 0
"""

#: One row a day, folder, profile, model and stage of done jobs, for people at a prompt.
STAGES = """
CREATE VIEW stage_day_totals AS
SELECT @date(day * 86400) AS day, folder, profile, model, stage, jobs, microseconds / 1000000.0 AS seconds
FROM stage_totals WHERE jobs <> 0
"""

#: The same by ranges of durations.
HISTOGRAM = f"""
CREATE VIEW stage_histogram AS
SELECT * FROM (
SELECT
    @date(day * 86400) AS day, folder, profile, model, stage,
    CASE bucket WHEN 0 THEN 0.0 ELSE (1 << (bucket - 1)) * {FIRST_BUCKET_S!r} END AS at_least_s,
    CASE bucket WHEN {BUCKETS - 1} THEN NULL ELSE (1 << bucket) * {FIRST_BUCKET_S!r} END AS below_s,
    CASE bucket {" ".join(f"WHEN {k} THEN {name}" for k, name in enumerate(COUNTS))} END AS jobs
FROM stage_totals CROSS JOIN @numbers({BUCKETS})
)@named(histogram) WHERE jobs <> 0
"""  # noqa: S608 - our numbers

#: In order of creation.
VIEWS: tuple[str, ...] = (DAYS, STAGES, HISTOGRAM)
