"""Writing threads wait in a queue; a failed or slow one does not block others forever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from dropscribe.errors import DatabaseLockedError
from dropscribe.ledger.sql import lock_waits
from dropscribe.ledger.sql.sqlite import db
from dropscribe.ledger.sql.sqlite.db import SqliteDatabase
from tests.support.database_lock import locked


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(tmp_path / "it.db")
    with opened.write("make") as connection:
        connection.execute(sa.text("CREATE TABLE t (n INTEGER UNIQUE)"))
    yield opened
    opened.close()


def add(database: SqliteDatabase, number: int) -> None:
    with database.write("add") as connection:
        connection.execute(sa.text("INSERT INTO t VALUES (:n)"), {"n": number})


def numbers(database: SqliteDatabase) -> list[int]:
    with database.read("look") as connection:
        return list(connection.execute(sa.text("SELECT n FROM t ORDER BY n")).scalars())


@pytest.mark.timeout(60)
def test_a_failed_writer_releases_the_queue(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With a timeout a queue that is never released would only cause a delay.
    monkeypatch.setattr(db, "QUEUE_S", -1)
    add(database, 1)
    with pytest.raises(sa.exc.IntegrityError):
        add(database, 1)
    add(database, 2)
    assert numbers(database) == [1, 2]


@pytest.mark.timeout(60)
def test_a_writer_that_timed_out_in_the_queue_waits_in_sqlite(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "QUEUE_S", 0.0)
    with database.write("long") as connection:
        connection.execute(sa.text("INSERT INTO t VALUES (1)"))
        waiting = threading.Thread(target=add, args=(database, 2))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive(), "SQLite has one writer"
    waiting.join()
    add(database, 3)
    assert numbers(database) == [1, 2, 3]


def test_a_thread_with_a_limit_waits_once_and_then_no_more_until_it_succeeds(
    database: SqliteDatabase,
) -> None:
    add(database, 1)
    with database.waits.limited(0.05):
        with locked(database.path):
            with pytest.raises(DatabaseLockedError, match="locked by another process"):
                add(database, 2)
            assert database.waits.limit_s() == 0.0
            for _ in range(1000):
                with pytest.raises(DatabaseLockedError):
                    add(database, 2)
            assert numbers(database) == [1], "reading goes on"
        add(database, 3)
        assert database.waits.limit_s() == 0.05
    assert database.waits.limit_s() == lock_waits.WAIT_S
    assert numbers(database) == [1, 3]


@pytest.mark.timeout(60)
def test_a_thread_with_a_limit_does_not_wait_for_a_thread_without_one(database: SqliteDatabase) -> None:
    with locked(database.path):
        waiting = threading.Thread(target=add, args=(database, 1))
        waiting.start()
        with database.waits.limited(0.05):
            for _ in range(100):
                with pytest.raises(DatabaseLockedError):
                    add(database, 2)
    waiting.join()
    assert numbers(database) == [1]


@pytest.mark.timeout(60)
def test_a_stop_ends_waits_that_are_under_way(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_waits, "WAIT_S", 3600.0)
    monkeypatch.setattr(lock_waits, "HURRY_S", 0.1)
    monkeypatch.setattr(db, "STEP_S", 0.05)
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            add(database, 1)
        except DatabaseLockedError as e:
            errors.append(e)

    with locked(database.path):
        waiting = threading.Thread(target=wait)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        database.waits.hurry()
        waiting.join()
    (error,) = errors
    assert str(database.path) in str(error)
    assert "close the program" in str(error)


def test_a_long_write_of_ours_is_not_called_that_of_another_process(database: SqliteDatabase) -> None:
    with database.write("long") as connection:
        connection.execute(sa.text("INSERT INTO t VALUES (1)"))
        errors: list[str] = []

        def other() -> None:
            with database.waits.limited(0.01):
                try:
                    add(database, 2)
                except DatabaseLockedError as e:
                    errors.append(e.reason)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert errors == ["another write of this process takes long"]
