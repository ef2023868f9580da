"""Checks of the doctor on real databases and locks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dropscribe.errors import DropscribeError
from dropscribe.ledger.backend import lock_database
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.ledger.sql.sqlite.db import SqliteDatabase
from dropscribe.ledger.sql.sqlite.file import integrity, lock, upgrade


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "jobs.db"
    made = SqliteDatabase(path)
    with made.write("fill") as connection:
        connection.exec_driver_sql("CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT)")
        connection.exec_driver_sql("CREATE INDEX by_word ON words (word)")
        connection.exec_driver_sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
            " INSERT INTO words (word) SELECT 'word number ' || i FROM n"
        )
    with made.read("move everything into the file") as connection:
        connection.exec_driver_sql("SELECT count(*) FROM words")
    made.close()
    return path


def test_a_sound_database(database: Path) -> None:
    assert integrity.quick_check(database) == ()


def test_a_damaged_database(database: Path) -> None:
    size = database.stat().st_size
    with database.open("r+b") as f:
        f.seek(size // 2)
        f.write(os.urandom(8192))
    assert findings_or_reason(database) != ()


def findings_or_reason(path: Path) -> tuple[str, ...]:
    """Findings of the check, or the error that stops it: which of them depends on the damaged page."""
    try:
        return integrity.quick_check(path)
    except DropscribeError as e:
        return (e.reason,)


def test_something_else_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(b"no database at all\n" * 400)
    with pytest.raises(DropscribeError, match="not a database"):
        integrity.quick_check(path)


@pytest.mark.parametrize(("revision", "newer"), [("9999", "9999"), ("0000", None)])
def test_a_database_of_a_newer_version(tmp_path: Path, revision: str, newer: str | None) -> None:
    path = tmp_path / "jobs.db"
    made = SqliteDatabase(path)
    with made.write("fill") as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num TEXT)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", (revision,))
    made.close()
    assert upgrade.newer_schema(path) == newer


def test_a_new_database_has_no_holder(tmp_path: Path) -> None:
    assert lock.holder(tmp_path / "jobs.db") is None


def test_the_holder_is_found_and_not_disturbed(tmp_path: Path) -> None:
    database = tmp_path / "jobs.db"
    script = (
        "import sys; from pathlib import Path; from dropscribe.ledger.sql.sqlite.file.lock import lock_database\n"
        "held = lock_database(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "held\n"
        assert lock.holder(database) == child.pid
        child.stdin.close()
        assert child.wait(timeout=30) == 0
    assert lock.holder(database) is None
    lock_database(DatabaseLocation(database)).close()


def test_without_proc_locks_the_holder_is_unknown(tmp_path: Path) -> None:
    with_lock = lock_database(DatabaseLocation(tmp_path / "jobs.db"))
    try:
        assert lock.holder(tmp_path / "jobs.db", tmp_path / "nothing") is None
    finally:
        with_lock.close()
