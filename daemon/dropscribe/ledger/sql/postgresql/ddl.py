"""What PostgreSQL has beside the tables: search indexes, triggers, views."""

from __future__ import annotations

from dropscribe.ledger.sql.dialect import spelt
from dropscribe.ledger.sql.history import totals_schema
from dropscribe.ledger.sql.history.totals_schema import Trigger
from dropscribe.ledger.sql.postgresql.functions import FUNCTIONS, path_start
from dropscribe.ledger.sql.schema import add_statements
from dropscribe.ledger.sql.search import schema as search_schema

# The texts are ours, not a caller's: ruff takes them for statements with foreign values.
# ruff: noqa: S608
#: First character after which a term of the index has one more character, not two: CJK radicals, ideographs, kana and others
#: that are written without spaces. Two of them are as rare as three letters.
_UNSPACED = 0x2E80
#: Characters of a text that are indexed: a tsvector has 1 MiB at most.
_INDEXED = 100_000
#: Terms of a query that are looked up; what is found is compared with all of it.
_TERMS = 12
# Every character of a text begins a term of two or three, so that one and two characters are found as beginnings of terms; hence
# the two characters after a text, which none contains. Folded as ILIKE does it, and the two small sigmas are one.
_SEARCH = (
    f"""
CREATE FUNCTION segment_terms(said text) RETURNS tsvector LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000 AS $body$
DECLARE
    c text[] := string_to_array(translate(lower(left(said, {_INDEXED})), 'ς', 'σ') || E'\\x02\\x02', NULL);
BEGIN
    RETURN array_to_tsvector(ARRAY(
        SELECT x || y || CASE WHEN ascii(x) < {_UNSPACED} THEN z ELSE '' END
        FROM unnest(c, c[2:], c[3:]) AS taken(x, y, z) WHERE z IS NOT NULL));
END
$body$
""",
    f"""
CREATE FUNCTION segment_query(sought text) RETURNS tsquery LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $body$
DECLARE
    s text := translate(lower(sought), 'ς', 'σ');
    size integer;
    terms text[] := ARRAY[]::text[];
    ending text := '';
BEGIN
    FOR i IN 1 .. length(s) LOOP
        size := CASE WHEN ascii(substr(s, i, 1)) < {_UNSPACED} THEN 3 ELSE 2 END;
        IF i + size - 1 <= length(s) AND cardinality(terms) < {_TERMS} THEN
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
    # What waits to be put into the index is read by each search, and put there by the one who exceeds its size.
    "CREATE INDEX ix_segments_terms ON segments USING gin (segment_terms(text)) WITH (gin_pending_list_limit = 1024)",
    # Trigrams, by which ILIKE finds three characters and more.
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


def _created_for_sets(names: tuple[str, ...], event: str, statements: tuple[str, ...]) -> tuple[str, str]:
    tables = (
        "NEW TABLE AS new_rows"
        if event.startswith("INSERT")
        else "OLD TABLE AS old_rows NEW TABLE AS new_rows"
    )
    body = "\n    ".join(statements)
    # By their indexes: the plan is kept, and is often made when tables are empty.
    head = f"CREATE FUNCTION {names[0]}() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS"
    trigger = f"CREATE TRIGGER {names[0]} AFTER {event} REFERENCING {tables} FOR EACH STATEMENT"
    return (
        f"{head} $body$\nBEGIN\n    {body}\n    RETURN NULL;\nEND\n$body$",
        f"{trigger} EXECUTE FUNCTION {names[0]}()",
    )


_REPLACED = {name for names in totals_schema.SET_TRIGGERS for name in names}

#: In order of creation.
STATEMENTS: tuple[str, ...] = (
    *_SEARCH,
    *_PATHS,
    *_NUMBERS,
    *(
        spelt(statement, FUNCTIONS)
        for trigger in totals_schema.TRIGGERS
        if trigger.name not in _REPLACED
        for statement in _created(trigger)
    ),
    *(
        spelt(statement, FUNCTIONS)
        for names, (event, body) in totals_schema.SET_TRIGGERS.items()
        for statement in _created_for_sets(names, event, body)
    ),
    *(spelt(view, FUNCTIONS) for view in (search_schema.HISTORY, *totals_schema.VIEWS)),
)

add_statements("postgresql", STATEMENTS)
