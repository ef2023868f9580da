"""Real damage to a real database: pages overwritten, files cut, removed, renamed, replaced."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import pytest

from dropscribe.ledger.sql.sqlite.db import driver

PAGE = 4096


def overwrite_pages(database: Path, pages: Iterable[int]) -> None:
    """Overwrite these pages with random bytes; the first is page 1."""
    noise = random.Random(7)
    with database.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * PAGE)
            file.write(noise.randbytes(PAGE))


def pages_of(database: Path, *names: str) -> list[int]:
    """Page numbers of these tables and indexes, by the `sqlite3` command; skips if it is not installed."""
    command = shutil.which("sqlite3")
    if command is None:
        pytest.skip("the sqlite3 command, which knows the pages of a table, is not installed")
    listed = ", ".join(f"'{name}'" for name in names)
    asked = f"SELECT pageno FROM dbstat WHERE name IN ({listed}) ORDER BY pageno"
    done = subprocess.run([command, database, asked], check=True, capture_output=True, text=True)
    return [int(page) for page in done.stdout.split()]


def root_of(database: Path, name: str) -> int:
    """Root page of a table or index."""
    with closing(driver().connect(str(database))) as connection:
        return int(
            connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
        )


def change(database: Path, sql: str) -> None:
    """Run SQL that may also write to SQLite's own tables."""
    with closing(driver().connect(str(database))) as connection:
        connection.executescript(f"PRAGMA writable_schema = ON; {sql}")
        connection.commit()


def overwritten(database: Path) -> None:
    """Damage every page but the first."""
    overwrite_pages(database, range(2, database.stat().st_size // PAGE + 1))


def cut(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 2 // PAGE * PAGE)


def emptied(database: Path) -> None:
    os.truncate(database, 0)


def renamed(database: Path) -> None:
    database.rename(database.with_name("old.db"))


def removed(database: Path) -> None:
    database.unlink()


def replaced(database: Path) -> None:
    """Replace the file by a copy, like restoring a backup."""
    copy = database.with_name("copy.db")
    shutil.copy(database, copy)
    copy.replace(database)


def log_removed(database: Path) -> None:
    database.with_name(database.name + "-wal").unlink()


def log_replaced(database: Path) -> None:
    log = database.with_name(database.name + "-wal")
    copy = database.with_name("copy")
    copy.write_bytes(b"")
    copy.replace(log)


def index_of_log_removed(database: Path) -> None:
    database.with_name(database.name + "-shm").unlink()


def folder_renamed(database: Path) -> None:
    database.parent.rename(database.parent.with_name("away"))


def search_damaged(database: Path) -> None:
    change(database, "UPDATE segment_search_data SET block = randomblob(200)")


def table_dropped(database: Path) -> None:
    change(database, "DROP TABLE segments")


Damage = Callable[[Path], None]
