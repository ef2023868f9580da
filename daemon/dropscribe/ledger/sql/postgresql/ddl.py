"""What PostgreSQL has beside the tables: search indexes, triggers, views."""

from __future__ import annotations

from dropscribe.ledger.sql.dialect import spelt
from dropscribe.ledger.sql.history import totals_schema
from dropscribe.ledger.sql.history.totals_schema import Trigger
from dropscribe.ledger.sql.postgresql.functions import FUNCTIONS, path_start
from dropscribe.ledger.sql.schema import add_statements
from dropscribe.ledger.sql.search import schema as search_schema

#: Trigrams, by which ILIKE finds texts of three characters and more.
_INDEXES = (
    "CREATE INDEX ix_segments_text ON segments USING gin (text gin_trgm_ops)",
    "CREATE INDEX ix_recordings_path ON recordings USING gin (path gin_trgm_ops)",
)
# A row of a B-tree has 2,700 bytes at most, a path 4,096. What is unique is so by its hash, as `@digest` has it; equal paths
# are found by hash indexes, those below a folder by their first bytes, as `@within` has it.
_PATHS = (
    "CREATE INDEX ix_recordings_path_raw ON recordings USING hash (path_raw)",
    f"CREATE INDEX ix_recordings_path_start ON recordings ({path_start('path_raw')})",
    "CREATE UNIQUE INDEX uq_recordings_latest ON recordings (sha256(path_raw)) WHERE latest = 1",
    "CREATE INDEX ix_outputs_path_raw ON outputs USING hash (path_raw)",
    "CREATE INDEX ix_outputs_recording_raw ON outputs USING hash (recording_raw)",
    "CREATE INDEX ix_skips_path_raw ON skips USING hash (path_raw)",
    "CREATE UNIQUE INDEX uq_skips_path_raw_code ON skips (sha256(path_raw), code)",
    "CREATE UNIQUE INDEX uq_pauses_folder_raw_draining ON pauses (sha256(folder_raw), draining)",
)
# As AUTOINCREMENT of SQLite: a number that was given to a row in any way is never given to another one.
_NUMBERS = (
    """
CREATE FUNCTION numbers_given() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    EXECUTE format('SELECT setval(%L, greatest(last_value, (SELECT max(id) FROM added))) FROM %I',
        TG_TABLE_NAME || '_id_seq', TG_TABLE_NAME || '_id_seq');
    RETURN NULL;
END
$body$
""",
    *(
        f"CREATE TRIGGER {table}_numbered AFTER INSERT ON {table} REFERENCING NEW TABLE AS added "
        "FOR EACH STATEMENT EXECUTE FUNCTION numbers_given()"
        for table in ("recordings", "jobs")
    ),
)


def _created(trigger: Trigger) -> tuple[str, str]:
    body = "\n    ".join(trigger.statements)
    row = "OLD" if "DELETE" in trigger.event else "NEW"
    code = f"\nBEGIN\n    {body}\n    RETURN {row};\nEND\n"
    when = f" WHEN ({trigger.condition})" if trigger.condition else ""
    return (
        f"CREATE FUNCTION {trigger.name}() RETURNS trigger LANGUAGE plpgsql AS $body${code}$body$",
        f"CREATE TRIGGER {trigger.name} {trigger.event} FOR EACH ROW{when} EXECUTE FUNCTION {trigger.name}()",
    )


#: In order of creation.
STATEMENTS: tuple[str, ...] = (
    *_INDEXES,
    *_PATHS,
    *_NUMBERS,
    *(spelt(statement, FUNCTIONS) for trigger in totals_schema.TRIGGERS for statement in _created(trigger)),
    *(spelt(view, FUNCTIONS) for view in (search_schema.HISTORY, *totals_schema.VIEWS)),
)

add_statements("postgresql", STATEMENTS)
