"""Writing threads wait in a queue; a failed or slow one does not block others forever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from dropscribe.ledger.sqlite import db
from dropscribe.ledger.sqlite.db import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "it.db")
    with opened.write("make") as connection:
        connection.execute(sa.text("CREATE TABLE t (n INTEGER UNIQUE)"))
    yield opened
    opened.close()


def add(database: Database, number: int) -> None:
    with database.write("add") as connection:
        connection.execute(sa.text("INSERT INTO t VALUES (:n)"), {"n": number})


def numbers(database: Database) -> list[int]:
    with database.read("look") as connection:
        return list(connection.execute(sa.text("SELECT n FROM t ORDER BY n")).scalars())


@pytest.mark.timeout(60)
def test_a_failed_writer_releases_the_queue(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    # With a timeout a queue that is never released would only cause a delay.
    monkeypatch.setattr(db, "QUEUE_S", -1)
    add(database, 1)
    with pytest.raises(sa.exc.IntegrityError):
        add(database, 1)
    add(database, 2)
    assert numbers(database) == [1, 2]


@pytest.mark.timeout(60)
def test_a_writer_that_timed_out_in_the_queue_waits_in_sqlite(
    database: Database, monkeypatch: pytest.MonkeyPatch
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
