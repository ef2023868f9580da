"""Execute a statement for many rows, as fast as the driver does it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect

#: Values of one row of an insertion, and the name of each, where a driver takes them by name.
_VALUES = re.compile(r"VALUES \(((?:%\(\w+\)s(?:, )?)+)\)")
_NAME = re.compile(r"%\((\w+)\)s")
#: Parameters of one statement; PostgreSQL allows 65,535.
PARAMETERS = 4_000


def execute_rows(
    connection: Connection, statement: sa.TextClause | sa.Insert, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Execute a statement without results for each row. A module's constant: what it compiles to is kept.

    `Connection.execute` prepares each row in Python, which takes longer than SQLite takes for it.
    """
    sql, names = _compiled(statement, connection.dialect)
    if not rows:
        return
    if not names:
        _execute_named(connection, statement, sql, rows)
    elif len(names) == 1:
        connection.exec_driver_sql(sql, [(row[names[0]],) for row in rows])
    else:
        connection.exec_driver_sql(sql, list(map(itemgetter(*names), rows)))


def _execute_named(
    connection: Connection,
    statement: sa.TextClause | sa.Insert,
    sql: str,
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """The same for a driver that takes its parameters by name: of an insertion, many rows in one statement."""
    found = _VALUES.search(sql)
    if found is None or not sql.startswith("INSERT"):
        connection.execute(statement, rows)
        return
    names = _NAME.findall(found[1])
    size = max(1, PARAMETERS // len(names))
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        each = f"({', '.join(['%s'] * len(names))})"
        many = f"{sql[: found.start()]}VALUES {', '.join([each] * len(some))}{sql[found.end() :]}"
        connection.exec_driver_sql(many, tuple(row[name] for row in some for name in names))


def execute_tuples(
    connection: Connection,
    statement: sa.TextClause | sa.Insert,
    names: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """The same with rows that are tuples of the values of `names`."""
    sql, order = _compiled(statement, connection.dialect)
    if not rows:
        return
    if order == names:
        connection.exec_driver_sql(sql, list(rows))
    else:
        execute_rows(connection, statement, [dict(zip(names, row, strict=True)) for row in rows])


@lru_cache(maxsize=64)
def _compiled(statement: sa.TextClause | sa.Insert, dialect: Dialect) -> tuple[str, tuple[str, ...]]:
    """The statement as the driver takes it, and the names of its parameters; none if they have no order there."""
    compiled = statement.compile(dialect=dialect)
    return str(compiled), tuple(compiled.positiontup or ())
