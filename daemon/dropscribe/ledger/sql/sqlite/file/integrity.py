"""Check a database for damage without opening it for work."""

from __future__ import annotations

from pathlib import Path

from dropscribe.ledger.sql.sqlite.db import SqliteDatabase, findings
from dropscribe.ledger.sql.sqlite.faults import REPAIR, REPAIR_SEARCH, damaged

#: Longest check at the start of the daemon, seconds; enough for the whole of a small database.
START_CHECK_S = 2.0


def quick_check(path: Path, limit_s: float | None = None) -> tuple[str, ...]:
    """Run SQLite's `quick_check` over the whole file, or for `limit_s` seconds; returns what is wrong.

    Raises StorageError and LedgerError as reading does.
    """
    database = SqliteDatabase(path, read_only=True)
    try:
        with database.read("check database") as connection:
            return findings(connection, "quick_check", limit_s)
    finally:
        database.close()


def check_at_start(path: Path) -> None:
    """Raise UnusableLedgerError when damage of the database at `path` is found within `START_CHECK_S`."""
    found = quick_check(path, START_CHECK_S)
    if found:
        search_only = all("fts5" in finding.lower() for finding in found)
        what = "its search index is damaged" if search_only else "it is damaged"
        raise damaged(f"{what} ({found[0]})", path, "open database", REPAIR_SEARCH if search_only else REPAIR)
