"""Statements that go straight to SQLite behave as those of SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from dropscribe.ledger.sql.dialect import sql
from dropscribe.ledger.sql.sqlite.db import SqliteDatabase

_SOME = sql("SELECT n, n * 2 AS twice FROM t WHERE n IN @ids(:ids) ORDER BY n")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(tmp_path / "it.db")
    with opened.write("prepare") as connection:
        connection.exec_driver_sql("CREATE TABLE t (n INTEGER PRIMARY KEY)")
        connection.execute(sa.text("INSERT INTO t VALUES (:n)"), [{"n": n} for n in range(5)])
    yield opened
    opened.close()


def test_rows_have_names_and_are_read_in_each_way(database: SqliteDatabase) -> None:
    with database.read("look") as connection:
        rows = connection.execute(_SOME, {"ids": "[1, 3]"}).all()
        assert [(row.n, row.twice) for row in rows] == [(1, 2), (3, 6)]
        assert [n for n, _ in connection.execute(_SOME, {"ids": "[0]"})] == [0]
        assert connection.scalars(_SOME, {"ids": "[2, 4]"}).all() == [2, 4]
        assert connection.scalar(_SOME, {"ids": "[]"}) is None
        assert connection.execute(_SOME, {"ids": "[4]"}).one().twice == 8
        assert connection.execute(_SOME, {"ids": "[9]"}).one_or_none() is None
        with pytest.raises(sa.exc.NoResultFound):
            connection.execute(_SOME, {"ids": "[9]"}).one()
        with pytest.raises(sa.exc.MultipleResultsFound):
            connection.execute(_SOME, {"ids": "[1, 2]"}).one_or_none()


def test_values_that_are_set_before_and_lists_of_values(database: SqliteDatabase) -> None:
    above = sa.text("SELECT n FROM t WHERE n > :least AND n < :most").bindparams(most=4)
    among = sa.text("SELECT n FROM t WHERE n IN :some").bindparams(sa.bindparam("some", expanding=True))
    with database.read("look") as connection:
        assert connection.scalars(above, {"least": 1}).all() == [2, 3]
        assert connection.scalars(above, {"least": 1, "most": 3}).all() == [2]
        assert connection.scalars(among, {"some": [0, 4]}).all() == [0, 4]
        assert connection.scalars(among, {"some": []}).all() == []
    both = sa.text("SELECT n FROM t WHERE n >= :n AND n IN :some AND n NOT IN :others").bindparams(
        sa.bindparam("some", expanding=True), sa.bindparam("others", value=[3], expanding=True)
    )
    with database.read("look") as connection:
        assert connection.scalars(both, {"some": [0, 2, 3, 4], "n": 1}).all() == [2, 4]
        assert connection.scalars(both, {"some": [0, 2, 3, 4], "n": 1, "others": [2, 4]}).all() == [3]


@pytest.mark.parametrize("count", [1, 63, 131])
def test_all_of_many_rows_are_inserted_in_order(database: SqliteDatabase, count: int) -> None:
    added = [{"a": b"\x00\xff" if n % 2 else None, "b": f"row {n}", "c": n / 3} for n in range(count)]
    with database.write("add") as connection:
        connection.exec_driver_sql("CREATE TABLE u (id INTEGER PRIMARY KEY, a BLOB, b TEXT, c REAL)")
        insertion = sa.text("INSERT INTO u (c, a, b) VALUES (:c, :a, :b)")
        assert connection.execute(insertion, added).rowcount == count
    with database.read("look") as connection:
        rows = connection.execute(sa.text("SELECT a, b, c, typeof(a) FROM u ORDER BY id")).all()
    assert [{"a": a, "b": b, "c": c} for a, b, c, _ in rows] == added
    assert {kind for *_, kind in rows} <= {"blob", "null"}


def test_no_row_is_inserted_with_one_that_is_refused(database: SqliteDatabase) -> None:
    def add() -> None:
        with database.write("add") as connection:
            rows = [{"n": n} for n in (*range(10, 90), 3)]
            connection.execute(sa.text("INSERT INTO t (n) VALUES (:n)"), rows)

    with pytest.raises(sa.exc.IntegrityError):
        add()
    with database.read("look") as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM t")) == 5


def test_what_a_block_wrote_before_it_failed_is_not_there(database: SqliteDatabase) -> None:
    def add_two() -> None:
        with database.write("add") as connection:
            for n in (7, 1):
                connection.execute(sa.text("INSERT INTO t VALUES (:n)"), {"n": n})

    with pytest.raises(sa.exc.IntegrityError):
        add_two()
    with database.read("look") as connection:
        assert connection.scalar(sa.text("SELECT max(n) FROM t")) == 4


def test_changes_are_counted(database: SqliteDatabase) -> None:
    with database.write("remove") as connection:
        assert connection.execute(sa.text("DELETE FROM t WHERE n > :n"), {"n": 2}).rowcount == 2


def test_a_reader_that_was_left_in_the_middle_does_not_keep_an_old_view(database: SqliteDatabase) -> None:
    with database.read("look") as connection:
        rows = iter(connection.execute(sa.text("SELECT n FROM t")))
        next(rows)
    with database.write("add") as connection:
        connection.execute(sa.text("INSERT INTO t VALUES (8)"))
    with database.read("look") as connection:
        assert connection.scalar(sa.text("SELECT max(n) FROM t")) == 8
