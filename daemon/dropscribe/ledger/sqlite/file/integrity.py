"""What a person wants to know of a database without opening it for work: is it sound, and who holds it?"""

from __future__ import annotations

import os
from pathlib import Path

from dropscribe.ledger.sqlite.db import Database
from dropscribe.ledger.sqlite.faults import REPAIR, REPAIR_SEARCH, damaged
from dropscribe.ledger.sqlite.file.checking import findings
from dropscribe.ledger.sqlite.file.upgrade import revision
from dropscribe.ledger.sqlite.schema import HEAD

#: How long a database is checked at a start of the daemon, seconds; a small one is checked to its end.
START_CHECK_S = 2.0


def quick_check(path: Path, limit_s: float | None = None) -> tuple[str, ...]:
    """What SQLite's `quick_check` finds wrong, () for a sound database. Reads the whole file, or for `limit_s` seconds.

    Raises StorageError and LedgerError as reading does.
    """
    database = Database(path, read_only=True)
    try:
        with database.read("check database") as connection:
            return findings(connection, "quick_check", limit_s)
    finally:
        database.close()


def check_at_start(path: Path) -> None:
    """Raise UnusableLedgerError when the database at `path` is seen to be damaged within `START_CHECK_S`."""
    found = quick_check(path, START_CHECK_S)
    if found:
        search_only = all("fts5" in finding.lower() for finding in found)
        what = "its search index is damaged" if search_only else "it is damaged"
        raise damaged(f"{what} ({found[0]})", path, "open database", REPAIR_SEARCH if search_only else REPAIR)


def holder(path: Path, locks: Path = Path("/proc/locks")) -> int | None:
    """Process id of the daemon that holds the database's lock; None where nobody does.

    Looks without locking: a doctor must not make a daemon believe that another one runs.
    """
    real = Path(os.path.realpath(path))
    try:
        inode = real.with_name(real.name + ".lock").stat().st_ino
        lines = locks.read_text(encoding="ascii").splitlines()
    except OSError:  # no lock file: no daemon ever; no list of locks: nobody can say
        return None
    # "1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF"; waiting ones have "->" as second field. The device is
    # not compared, because file systems like btrfs show another one there than to stat.
    for fields in map(str.split, lines):
        if fields[1:4] == ["FLOCK", "ADVISORY", "WRITE"] and fields[5].rpartition(":")[2] == str(inode):
            return int(fields[4])
    return None


def newer_schema(path: Path) -> str | None:
    """The revision of a database that a newer dropscribe wrote, which this one refuses; else None.

    Raises LedgerError for a file that is no database, or not ours.
    """
    found = revision(path)
    return found if found is not None and found > HEAD else None
