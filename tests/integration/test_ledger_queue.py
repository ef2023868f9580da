"""Writing threads wait in a queue; a failed or slow one does not block others forever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from dropscribe.errors import DatabaseLockedError, StorageError, UnusableLedgerError
from dropscribe.ledger.sql import lock_waits
from dropscribe.ledger.sql.sqlite import db, direct, write_queue
from dropscribe.ledger.sql.sqlite.db import SqliteDatabase, driver
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
    monkeypatch.setattr(direct, "STEP_S", 0.05)
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


class Together:
    """Writers that all queue behind one, and then write one after another."""

    def __init__(self, database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
        self.database = database
        self.commits = 0
        self.errors: dict[int, BaseException] = {}
        #: Raised by each commit, unless it is None.
        self.refusal: BaseException | None = None
        real = direct.WriteTransaction.commit

        def commit(transaction: direct.WriteTransaction) -> None:
            self.commits += 1
            if self.refusal is not None:
                transaction.rollback()
                raise self.refusal
            real(transaction)

        monkeypatch.setattr(direct.WriteTransaction, "commit", commit)

    def write(self, *numbers: int, statement: str = "INSERT INTO t VALUES (:n)") -> None:
        """Write each number on a thread of its own, in this order."""
        threads = [threading.Thread(target=self._write, args=(n, statement)) for n in numbers]
        try:
            with self.database.write("first") as connection:
                connection.execute(sa.text("INSERT INTO t VALUES (0)"))
                for number, thread in enumerate(threads, 1):
                    thread.start()
                    while len(self.database._queue._waiting) < number:
                        thread.join(0.001)
                self.commits = 0
        finally:
            for thread in threads:
                thread.join()

    def _write(self, number: int, statement: str) -> None:
        try:
            with self.database.write("add") as connection:
                connection.execute(sa.text(statement), {"n": number})
        except Exception as e:
            self.errors[number] = e


@pytest.mark.timeout(60)
def test_writers_that_wait_for_each_other_share_a_commit(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_queue, "SHARED_S", 60.0)
    together = Together(database, monkeypatch)
    together.write(1, 2, 3, 4, 5)
    assert (together.commits, numbers(database), together.errors) == (1, [0, 1, 2, 3, 4, 5], {})


@pytest.mark.timeout(60)
def test_a_writer_that_fails_in_a_shared_transaction_fails_alone(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_queue, "SHARED_S", 60.0)
    add(database, 2)
    together = Together(database, monkeypatch)
    together.write(1, 2, 3)
    assert numbers(database) == [0, 1, 2, 3]
    assert list(together.errors) == [2]
    assert isinstance(together.errors[2], sa.exc.IntegrityError)


@pytest.mark.timeout(60)
def test_a_writer_joins_no_transaction_that_is_older_than_the_limit(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_queue, "SHARED_S", -1.0)
    together = Together(database, monkeypatch)
    together.write(1, 2, 3)
    assert (together.commits, numbers(database)) == (4, [0, 1, 2, 3])


@pytest.mark.timeout(60)
def test_whoever_was_not_told_of_an_error_has_written(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full for the second of four."""
    monkeypatch.setattr(write_queue, "SHARED_S", 60.0)
    with database.write("limit") as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 40}")
        connection.exec_driver_sql("CREATE TABLE large (content BLOB)")
    together = Together(database, monkeypatch)
    too_large_for_2 = "INSERT INTO large VALUES (zeroblob((:n = 2) * 10000000))"
    with pytest.raises(StorageError, match="disk is full"):
        together.write(1, 2, 3, 4, statement=too_large_for_2)
    assert isinstance(together.errors[2], StorageError)
    with database.read("look") as connection:
        rows = connection.execute(sa.text("SELECT count(*) FROM large")).scalar_one()
    assert rows == 4 - len(together.errors)
    assert numbers(database) == []
    assert all(isinstance(error, StorageError) for error in together.errors.values())


@pytest.mark.timeout(60)
def test_nobody_has_written_after_a_commit_that_failed(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_queue, "SHARED_S", 60.0)
    together = Together(database, monkeypatch)
    together.refusal = sa.exc.OperationalError("COMMIT", None, driver().OperationalError("disk I/O error"))
    with pytest.raises(StorageError):
        together.write(1, 2)
    assert {n: type(e) for n, e in together.errors.items()} == {1: StorageError, 2: StorageError}
    together.refusal = None
    assert numbers(database) == []
    add(database, 7)
    assert numbers(database) == [7]


@pytest.mark.timeout(60)
def test_a_fault_found_while_others_wait_leaves_nobody_waiting(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_queue, "SHARED_S", 60.0)
    together = Together(database, monkeypatch)
    fault = UnusableLedgerError("it is damaged", operation="look")

    def found() -> None:
        database.fault = fault

    # The first writer is done, and hands its transaction to one that may not use the database any more.
    monkeypatch.setattr(database.waits, "had", found)
    together.write(1, 2)
    assert {n: type(e) for n, e in together.errors.items()} == {
        1: UnusableLedgerError,
        2: UnusableLedgerError,
    }
    database.fault = None
    monkeypatch.undo()
    assert numbers(database) == [0]
    add(database, 7)


@pytest.mark.timeout(60)
def test_a_thread_with_a_limit_waits_for_nobody_behind_it(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_queue, "SHARED_S", 60.0)
    together = Together(database, monkeypatch)
    with database.waits.limited(5.0):
        together.write(1, 2)
    assert together.commits == 2, "its own, and one of the others"
