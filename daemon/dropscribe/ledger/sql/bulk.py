"""Execute a statement for many rows, as fast as the driver does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect


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
        connection.execute(statement, rows)
    elif len(names) == 1:
        connection.exec_driver_sql(sql, [(row[names[0]],) for row in rows])
    else:
        connection.exec_driver_sql(sql, list(map(itemgetter(*names), rows)))


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
