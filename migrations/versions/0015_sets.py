"""Search for one and two characters by an index, and totals kept by statement, on PostgreSQL. SQLite stays as it is."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_ENDED = "('done', 'failed', 'cancelled')"
_FIRST_BUCKET_S = 1 / 512
_BUCKETS = 28
_JOB_KEY = "day, folder, profile, model, device, state, code"
_JOB_SUMS = ("jobs", "audio_ms", "speech_ms", "characters", "recognised", "recognised_ms", "processing_ms")
_STAGE_KEY = "day, folder, profile, model, stage"
_STAGE_SUMS = ("jobs", "microseconds", *(f"b{k}" for k in range(_BUCKETS)))
_OWN = "(CASE WHEN j.state = 'done' AND j.reference_job_id IS NULL AND j.claimed_at IS NOT NULL THEN 1 ELSE 0 END)"
_DAY = "CAST(trunc(coalesce(j.finished_at, 0) / 86400) AS bigint) AS day, r.folder AS folder, j.profile AS profile"

_SEARCH = (
    r"""
CREATE FUNCTION segment_terms(said text) RETURNS tsvector LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000 AS $body$
DECLARE
    c text[] := string_to_array(translate(lower(left(said, 100000)), 'ς', 'σ') || E'\x02\x02', NULL);
BEGIN
    RETURN array_to_tsvector(ARRAY(
        SELECT x || y || CASE WHEN ascii(x) < 11904 THEN z ELSE '' END
        FROM unnest(c, c[2:], c[3:]) AS taken(x, y, z) WHERE z IS NOT NULL));
END
$body$
""",
    """
CREATE FUNCTION segment_query(sought text) RETURNS tsquery LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $body$
DECLARE
    s text := translate(lower(sought), 'ς', 'σ');
    size integer;
    terms text[] := ARRAY[]::text[];
    ending text := '';
BEGIN
    FOR i IN 1 .. length(s) LOOP
        size := CASE WHEN ascii(substr(s, i, 1)) < 11904 THEN 3 ELSE 2 END;
        IF i + size - 1 <= length(s) AND cardinality(terms) < 12 THEN
            terms := terms || substr(s, i, size);
        END IF;
    END LOOP;
    IF cardinality(terms) = 0 THEN
        terms := ARRAY[s];
        ending := ':*';
    END IF;
    RETURN CAST(array_to_string(ARRAY(
        SELECT '''' || replace(replace(term, chr(92), repeat(chr(92), 2)), '''', '''''') || '''' || ending
        FROM unnest(terms) AS listed(term)), ' & ') AS tsquery);
END
$body$
""",
    "CREATE INDEX ix_segments_terms ON segments USING gin (segment_terms(text)) WITH (gin_pending_list_limit = 1024)",
    "DROP INDEX ix_segments_text",
)


def _added(table: str, key: str, columns: tuple[str, ...], sums: str, sign: str) -> str:
    values = ", ".join(f"{sign}({name})" for name in columns)
    updated = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in columns)
    return (
        f"INSERT INTO {table} ({key}, {', '.join(columns)}) SELECT {key}, {values} FROM ({sums}) AS summed "  # noqa: S608 - our names
        f"WHERE true ON CONFLICT ({key}) DO UPDATE SET {updated}"
    )


def _jobs(rows: str, sign: str) -> str:
    sums = ", ".join(f"sum({name}) AS {name}" for name in _JOB_SUMS)
    counted = (
        f"SELECT {_DAY}, coalesce(j.model, '') AS model, coalesce(j.device, '') AS device, j.state AS state, "  # noqa: S608
        "coalesce(j.reason_code, '') AS code, 1 AS jobs, coalesce(j.audio_ms, 0) AS audio_ms, "
        "coalesce(j.speech_ms, 0) AS speech_ms, coalesce(j.characters, 0) AS characters, "
        f"{_OWN} AS recognised, {_OWN} * coalesce(j.audio_ms, 0) AS recognised_ms, {_OWN} * "
        "CAST(round(greatest(0, coalesce(j.finished_at - j.claimed_at, 0)) * 1000) AS bigint) AS processing_ms "
        f"FROM {rows} j JOIN recordings r ON r.id = j.recording_id WHERE j.state IN {_ENDED}"
    )
    return _added(
        "job_totals",
        _JOB_KEY,
        _JOB_SUMS,
        f"SELECT {_JOB_KEY}, {sums} FROM ({counted}) AS counted GROUP BY {_JOB_KEY}",  # noqa: S608
        sign,
    )


def _stages(rows: str, sign: str) -> str:
    bounds = " ".join(f"WHEN t.seconds < {_FIRST_BUCKET_S * 2**k!r} THEN {k}" for k in range(_BUCKETS - 1))
    counts = ", ".join(f"sum(CASE WHEN bucket = {k} THEN jobs ELSE 0 END) AS b{k}" for k in range(_BUCKETS))
    return _added(
        "stage_totals",
        _STAGE_KEY,
        _STAGE_SUMS,
        f"SELECT {_STAGE_KEY}, sum(jobs) AS jobs, sum(microseconds) AS microseconds, {counts} FROM ("  # noqa: S608
        f"SELECT {_DAY}, coalesce(j.model, '') AS model, t.stage AS stage, CASE {bounds} ELSE {_BUCKETS - 1} END AS bucket, "
        "count(*) AS jobs, sum(CAST(round(t.seconds * 1000000) AS bigint)) AS microseconds "
        f"FROM {rows} GROUP BY 1, 2, 3, 4, 5, 6) AS counted GROUP BY {_STAGE_KEY}",
        sign,
    )


def _ended(rows: str, sign: str = "") -> str:
    stages = (
        f"{rows} j JOIN recordings r ON r.id = j.recording_id JOIN stage_timings t ON t.job_id = j.id "
        "WHERE j.state = 'done'"
    )
    return (
        f"IF EXISTS (SELECT 1 FROM {rows} WHERE state IN {_ENDED}) THEN\n"  # noqa: S608
        f"    {_jobs(rows, sign)};\n    {_stages(stages, sign)};\n    END IF;"
    )


_STAGES_OF_NEW = "new_rows t JOIN jobs j ON j.id = t.job_id JOIN recordings r ON r.id = j.recording_id WHERE j.state = 'done'"
_NEW, _BOTH = "NEW TABLE AS new_rows", "OLD TABLE AS old_rows NEW TABLE AS new_rows"
#: Name → event, tables, statements.
_TRIGGERS = {
    "jobs_inserted": ("INSERT ON jobs", _NEW, _ended("new_rows")),
    "jobs_ended": ("UPDATE ON jobs", _BOTH, f"{_ended('old_rows', '-')}\n    {_ended('new_rows')}"),
    "stages_inserted": ("INSERT ON stage_timings", _NEW, f"{_stages(_STAGES_OF_NEW, '')};"),
}


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    for statement in _SEARCH:
        connection.exec_driver_sql(statement.strip())
    connection.exec_driver_sql("DROP TRIGGER jobs_changed ON jobs")
    connection.exec_driver_sql("DROP FUNCTION jobs_changed()")
    for name, (event, tables, body) in _TRIGGERS.items():
        connection.exec_driver_sql(f"DROP TRIGGER {name} ON {event.rpartition(' ')[2]}")
        connection.exec_driver_sql(f"DROP FUNCTION {name}()")
        connection.exec_driver_sql(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS "
            f"$body$\nBEGIN\n    {body}\n    RETURN NULL;\nEND\n$body$"
        )
        connection.exec_driver_sql(
            f"CREATE TRIGGER {name} AFTER {event} REFERENCING {tables} FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
        )
