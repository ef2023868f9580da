"""Functions of statements as SQLite spells them: `dropscribe.ledger.sql.dialect`."""

from __future__ import annotations

from dropscribe.ledger.sql.dialect import Functions, register


def _list(values: str) -> str:
    return f"(SELECT value FROM json_each({values}))"


def _rows(values: str, *columns_of: str) -> str:
    names = (column.partition(" ")[0] for column in columns_of)
    columns = ", ".join(f"json_extract(value, '$[{i}]') AS {name}" for i, name in enumerate(names))
    return f"(SELECT {columns} FROM json_each({values}))"


def _like(text: str, pattern: str) -> str:
    return f"{text} LIKE {pattern} ESCAPE '\\'"


def _newest_beginning(first: str, last: str, _needle: str, _pattern: str, limit: str) -> str:
    return (
        f"SELECT DISTINCT doc FROM segment_terms WHERE term >= {first} AND term <= {last} "
        f"ORDER BY doc DESC LIMIT {limit}"
    )


# The texts are ours, not a caller's: ruff takes them for statements with foreign values.
# ruff: noqa: S608
FUNCTIONS: Functions = {
    "ids": _list,
    "texts": _list,
    "unlocked": lambda _, values: f"id IN {_list(values)}",
    "rows": _rows,
    "numbered": lambda values: f"json_each({values})",
    "entry": lambda values, name: f"(SELECT value FROM json_each({values}) WHERE key = {name})",
    "plain": lambda x: f"+{x}",
    "changing": lambda x: f"+{x}",
    # SQLite may take the tables of any other join in another order, which reads all finished jobs where few are asked for.
    "joined": lambda: "CROSS JOIN",
    "cross": lambda: "CROSS JOIN",
    "within": lambda x, first, last: f"({x} >= {first} AND {x} < {last})",
    "digest": lambda x: x,
    "hex": lambda x: f"hex({x})",
    "storage": lambda x: (
        f"CASE WHEN substr({x}, 1, 1) = x'40' THEN CAST(substr({x}, 1, instr({x}, x'3a') - 1) AS TEXT) ELSE '' END"
    ),
    "slash": lambda x: f"instr({x}, x'2f')",
    "position": lambda text, part: f"instr({text}, {part})",
    "ending": lambda text, n: f"substr({text}, -{n})",
    "like": _like,
    "least": lambda x, y: f"min({x}, {y})",
    "greatest": lambda x, y: f"max({x}, {y})",
    "whole": lambda x: f"CAST({x} AS INTEGER)",
    "rounded": lambda x: f"CAST(round({x}) AS INTEGER)",
    "decimals": lambda x, n: f"round({x}, {n})",
    "flag": lambda condition: condition,
    "chosen": lambda condition, x, y: f"iif({condition}, {x}, {y})",
    "named": lambda _: "",
    "stored": lambda _, column: column,
    "date": lambda x: f"date({x}, 'unixepoch')",
    "month": lambda x: f"strftime('%Y-%m', {x}, 'unixepoch')",
    "time": lambda x: f"strftime('%Y-%m-%d %H:%M:%S', {x}, 'unixepoch')",
    "list": lambda x: f"group_concat({x}, ', ')",
    "object": lambda key, x: f"json_group_object({key}, {x})",
    "numbers": lambda n: f"(SELECT value AS bucket FROM json_each('{list(range(int(n)))}'))",
    "last_number": lambda table: f"coalesce((SELECT seq FROM sqlite_sequence WHERE name = '{table}'), 0)",
    "newest_with": lambda phrase, before, limit: (
        f"SELECT rowid FROM segment_search WHERE segment_search MATCH {phrase} AND rowid < {before} "
        f"ORDER BY rowid DESC LIMIT {limit}"
    ),
    "between_with": lambda phrase, first, last: (
        f"SELECT rowid FROM segment_search WHERE segment_search MATCH {phrase} AND rowid BETWEEN {first} AND {last} "
        "ORDER BY rowid"
    ),
    "newest_beginning": _newest_beginning,
    "segments_with": lambda phrase, _needle, _pattern: (
        f"SELECT rowid FROM segment_search WHERE segment_search MATCH {phrase}"
    ),
    "segments_beginning": lambda first, last, _needle, _pattern: (
        f"SELECT DISTINCT doc FROM segment_terms WHERE term >= {first} AND term <= {last}"
    ),
    "recordings_with": lambda terms, _: (
        f"SELECT rowid FROM recording_search WHERE recording_search MATCH {terms}"
    ),
    "recordings_beginning": lambda first, last, _: (
        f"SELECT DISTINCT doc FROM recording_terms WHERE term >= {first} AND term <= {last}"
    ),
}

register("sqlite", FUNCTIONS)
