"""Execute a statement for many rows, as fast as the driver does it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect

#: An insertion of one row, and the name of a parameter, where a driver takes them by name.
_INSERTION = re.compile(r"INSERT INTO (\w+) \(([\w, ]+)\) VALUES \(((?:%\(\w+\)s(?:, )?)+)\)")
_NAME = re.compile(r"%\((\w+)\)s")
#: Types of PostgreSQL for the values of a parameter.
_TYPES = {int: "bigint", float: "double precision", str: "text"}


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
    """The same for a driver that takes its parameters by name; PostgreSQL copies the rows of an insertion."""
    found = _INSERTION.fullmatch(sql)
    if found is None:
        connection.execute(statement, rows)
        return
    names = _NAME.findall(found[3])
    _copy(connection, found[1], found[2], (tuple(row[name] for name in names) for row in rows))


def _copy(connection: Connection, table: str, columns: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """Insert rows on PostgreSQL. Their values as parameters of a statement take seven times as long."""
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def insert_rows(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows with the same columns."""
    if not rows:
        return
    names, values = ", ".join(rows[0]), [tuple(row.values()) for row in rows]
    if connection.dialect.name == "postgresql":
        _copy(connection, table.name, names, values)
    else:
        places = ", ".join("?" * len(rows[0]))
        sql = f"INSERT INTO {table.name} ({names}) VALUES ({places})"  # noqa: S608 - all of it is ours
        connection.exec_driver_sql(sql, values)


def update_rows(connection: Connection, statement: sa.TextClause, rows: Sequence[Mapping[str, Any]]) -> None:
    """Execute an UPDATE of one row by its id for many: no two of `rows` concern the same one.

    On PostgreSQL it is one statement, so that its triggers see all rows at once.
    """
    if connection.dialect.name != "postgresql" or len(rows) < 2:
        execute_rows(connection, statement, rows)
        return
    sql, _ = _compiled(statement, connection.dialect)
    given: dict[str, str] = {}
    values: list[list[Any]] = []
    for name in dict.fromkeys(_NAME.findall(sql)):
        column = [row[name] for row in rows]
        kinds = {type(value) for value in column if value is not None}
        if kinds:
            kind = _TYPES[float if kinds == {int, float} else kinds.pop()]
            given[name] = f"CAST(%s AS {kind}[])"
            values.append(column)
    where = _where(sql)
    # Names of their own: those of the table's columns would be ambiguous.
    names = ", ".join(f"given_{name}" for name in given)
    every = f" FROM unnest({', '.join(given.values())}) AS given({names})"

    def one(found: re.Match[str]) -> str:
        return f"given_{found[1]}" if found[1] in given else "NULL"

    connection.exec_driver_sql(
        _NAME.sub(one, sql[:where]) + every + _NAME.sub(one, sql[where:]), tuple(values)
    )


def _where(sql: str) -> int:
    """Where the condition of an UPDATE begins, which is outside all parentheses."""
    depth = 0
    for at, character in enumerate(sql):
        depth += (character == "(") - (character == ")")
        if not depth and sql.startswith(" WHERE ", at):
            return at
    raise ValueError(f"an UPDATE of all rows: {sql}")


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
