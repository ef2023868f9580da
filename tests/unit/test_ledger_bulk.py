"""Statements for many rows, on databases whose drivers take their parameters in order and by name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dropscribe.ledger.sql.bulk import execute_rows, execute_tuples

INSERT = sa.text("INSERT INTO things (b, a) VALUES (:b, :a)")
ONE = sa.text("DELETE FROM things WHERE a = :a")


@pytest.fixture(params=["qmark", "named"])
def connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    engine = sa.create_engine("sqlite://", paramstyle=request.param)
    with engine.begin() as made:
        made.exec_driver_sql("CREATE TABLE things (a INTEGER, b TEXT)")
        yield made
    engine.dispose()


def test_values_go_to_their_columns(connection: Connection) -> None:
    execute_rows(connection, INSERT, [{"a": 1, "b": "x", "c": 0}, {"b": "y", "a": 2}])
    execute_tuples(connection, INSERT, ("a", "b"), [(3, "z")])
    execute_tuples(connection, INSERT, ("b", "a"), [("u", 4), ("v", 5)])
    execute_rows(connection, ONE, [{"a": 2}, {"a": 5}])
    execute_rows(connection, INSERT, [])
    execute_tuples(connection, INSERT, ("b", "a"), [])
    rows = connection.exec_driver_sql("SELECT a, b FROM things ORDER BY a").all()
    assert [tuple(row) for row in rows] == [(1, "x"), (3, "z"), (4, "u")]
