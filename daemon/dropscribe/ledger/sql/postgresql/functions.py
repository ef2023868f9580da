"""Functions of statements as PostgreSQL spells them: `dropscribe.ledger.sql.dialect`.

There is no `newest_with` and no `between_with`: `PostgresDatabase.indexes_phrases`.
"""

from __future__ import annotations

from dropscribe.ledger.sql.dialect import Functions, register


def _texts(values: str) -> str:
    return f"(SELECT value FROM json_array_elements_text(CAST({values} AS json)) AS listed(value))"


def _ids(values: str) -> str:
    return f"(SELECT CAST(value AS bigint) FROM json_array_elements_text(CAST({values} AS json)) AS listed(value))"


def _rows(values: str, *columns_of: str) -> str:
    named = [column.partition(" ") for column in columns_of]
    columns = ", ".join(
        f"CAST(value ->> {i} AS {kind or 'bigint'}) AS {name}" for i, (name, _, kind) in enumerate(named)
    )
    return f"(SELECT {columns} FROM json_array_elements(CAST({values} AS json)) AS listed(value))"


def _utc(instant: str, form: str) -> str:
    return f"to_char(to_timestamp({instant}) AT TIME ZONE 'UTC', '{form}')"


def _segments(needle: str, pattern: str) -> str:
    return f"SELECT id FROM segments WHERE segment_terms(text) @@ segment_query({needle}) AND text ILIKE {pattern}"


def _recordings(pattern: str) -> str:
    return f"SELECT id FROM recordings WHERE path ILIKE {pattern}"


def _newest(needle: str, pattern: str, limit: str) -> str:
    # MATERIALIZED: else PostgreSQL may walk all segments backwards until it has found enough.
    return (
        f"WITH found AS MATERIALIZED ({_segments(needle, pattern)}) "
        f"SELECT id FROM found ORDER BY id DESC LIMIT {limit}"
    )


def path_start(path: str) -> str:
    """The bytes of a path that an index has in order: a row of an index has 2,700 bytes at most."""
    return f"substr({path}, 1, 1000)"


def _within(path: str, first: str, last: str) -> str:
    first, last = (f"CAST({bound} AS bytea)" for bound in (first, last))
    return (
        f"({path_start(path)} >= {path_start(first)} AND {path_start(path)} <= {path_start(last)} "
        # Written as two more comparisons it would be taken for a condition of its own, which few of these rows meet.
        f"AND CASE WHEN {path} >= {first} THEN {path} < {last} ELSE false END)"
    )


# The texts are ours, not a caller's: ruff takes them for statements with foreign values.
# ruff: noqa: S608
FUNCTIONS: Functions = {
    "ids": _ids,
    "texts": _texts,
    "rows": _rows,
    "numbered": lambda values: (
        "(SELECT CAST(value AS bigint) AS value, key "
        f"FROM json_array_elements_text(CAST({values} AS json)) WITH ORDINALITY AS listed(value, key))"
    ),
    "entry": lambda values, name: f"CAST(CAST({values} AS json) ->> {name} AS double precision)",
    # The rows are not waited for: a person may have locked one at a prompt.
    # As an array they are found first, and once.
    "unlocked": lambda table, values: (
        f"id = ANY(ARRAY(SELECT id FROM {table} WHERE id = ANY(ARRAY{_ids(values)}) FOR UPDATE SKIP LOCKED))"
    ),
    "plain": lambda x: x,
    "changing": lambda x: f"({x} || '')",
    "joined": lambda: "JOIN",
    "cross": lambda: "CROSS JOIN",
    "within": _within,
    "digest": lambda x: f"sha256({x})",
    "hex": lambda x: f"coalesce(upper(encode({x}, 'hex')), '')",
    "storage": lambda x: (
        f"CASE WHEN substr({x}, 1, 1) = decode('40', 'hex') "
        f"THEN split_part(encode(substr({x}, 1, 80), 'escape'), chr(58), 1) ELSE '' END"
    ),
    "slash": lambda x: f"position(decode('2f', 'hex') IN {x})",
    "position": lambda text, part: f"strpos({text}, {part})",
    "ending": lambda text, n: f"right({text}, {n})",
    "like": lambda text, pattern: f"{text} ILIKE {pattern}",
    "least": lambda x, y: f"least({x}, {y})",
    "greatest": lambda x, y: f"greatest({x}, {y})",
    "whole": lambda x: f"CAST(trunc({x}) AS bigint)",
    "rounded": lambda x: f"CAST(round({x}) AS bigint)",
    "decimals": lambda x, n: f"round(CAST({x} AS numeric), {n})",
    "flag": lambda condition: f"CASE WHEN {condition} THEN 1 ELSE 0 END",
    "chosen": lambda condition, x, y: f"CASE WHEN {condition} THEN {x} ELSE {y} END",
    "named": lambda name: f" AS {name}",
    "stored": lambda table, column: f"{table}.{column}",
    "date": lambda x: _utc(x, "YYYY-MM-DD"),
    "month": lambda x: _utc(x, "YYYY-MM"),
    "time": lambda x: _utc(x, "YYYY-MM-DD HH24:MI:SS"),
    "list": lambda x: f"string_agg({x}, ', ')",
    "object": lambda key, x: f"json_object_agg({key}, {x})",
    "numbers": lambda n: f"generate_series(0, {n} - 1) AS bucket",
    "last_number": lambda table: (
        f"(SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {table}_id_seq)"
    ),
    "newest_beginning": lambda _first, _last, needle, pattern, limit: _newest(needle, pattern, limit),
    "segments_with": lambda _, needle, pattern: _segments(needle, pattern),
    "segments_beginning": lambda _first, _last, needle, pattern: _segments(needle, pattern),
    "recordings_with": lambda _, pattern: _recordings(pattern),
    "recordings_beginning": lambda _first, _last, pattern: _recordings(pattern),
}

register("postgresql", FUNCTIONS)
