"""Statements for many rows, on databases whose drivers take their parameters in order and by name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from dropscribe.ledger.columns import segment_rows, segment_values, unpacked
from dropscribe.ledger.sql.bulk import execute_rows, execute_tuples
from dropscribe.transcript.types import Segment, Tags, Tokens

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


def test_segments_are_packed_and_unpacked() -> None:
    tokens = Tokens("好a", [0, 100], [90, 200], b"\xff\x00")
    of = [
        Segment(0, 0, 200, "好 a\x00\udc80", tokens, b"\x00\x01", b"\x02\x00", Tags(language="zh")),
        Segment(1, 200, 300, "", Tokens("", [], [])),
    ]
    assert unpacked(segment_rows(of)) == [segment_values(s) for s in of]
    assert unpacked(segment_rows([])) == []
