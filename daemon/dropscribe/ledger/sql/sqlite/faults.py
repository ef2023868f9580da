"""Classify errors of SQLite: a storage failure that may pass, a damaged database, or a mistake of ours."""

from __future__ import annotations

import resource
from pathlib import Path

import sqlalchemy as sa

from dropscribe.errors import (
    DatabaseLockedError,
    DropscribeError,
    LedgerError,
    StorageError,
    UnusableLedgerError,
)

REPAIR = (
    "stop the daemon and run 'dropscribe doctor --repair', which keeps the damaged file and saves what can be read, "
    "or restore a backup"
)
REPAIR_SEARCH = (
    "stop the daemon and run 'dropscribe doctor --repair': it rebuilds the search index, nothing is lost"
)

# Result codes: https://sqlite.org/rescode.html. The low byte is the primary code.
_ERROR, _CORRUPT, _NOTADB = 1, 11, 26
#: A page lies beyond the end of the database or of its log: the file was truncated.
_IOERR_SHORT_READ = 522
#: A virtual table is damaged; our only one is the search index.
_CORRUPT_VTAB = 267
#: The file was renamed or unlinked while it was open.
_READONLY_DBMOVED = 1032

#: In messages of primary code 1: part of the schema is missing. Our statements are known to be right from the tests.
_SCHEMA_DAMAGE = ("no such table", "no such column", "has no column named")
#: In messages of primary code 1: the search index cannot be opened.
_SEARCH_DAMAGE = ("invalid fts5 file format", "vtable constructor failed")

#: Part of the message (lower case) about a database that another connection has locked.
_LOCKED = "locked"
#: Part of a message (lower case) → remedy. Each may pass without a change of the database.
_STORAGE = {
    "disk is full": "free some space on that disk",
    # SQLite reports a used-up quota and a limit on file sizes like this, too.
    "disk i/o error": "check the kernel's log for faults of that disk, and whether a quota is used up",
    "readonly database": "make the database and its folder writable for the user the daemon runs as",
    _LOCKED: "close the program that holds a transaction open on the database",
    "unable to open": "check that the folder exists, on a local disk, and is writable for this user",
}


def explain(error: sa.exc.DBAPIError, path: Path, operation: str) -> DropscribeError | None:
    """The error to raise instead of `error`; None when it is a mistake of ours (a wrong statement, a broken constraint)."""
    message = str(error.orig)
    code = getattr(error.orig, "sqlite_errorcode", None) or 0
    if path.is_dir():
        # SQLite calls it an I/O error.
        return LedgerError(
            "it is a folder", operation=operation, path=path, remedy="name a file: its history is one file"
        )
    if _is_search_damage(message.lower(), code):
        return damaged(f"its search index is damaged ({message})", path, operation, REPAIR_SEARCH)
    if _is_damage(message.lower(), code):
        return damaged(f"it is damaged ({message})", path, operation)
    if code == _READONLY_DBMOVED:
        return damaged("it was moved or removed while it was open", path, operation, "put it back")
    for part, remedy in _STORAGE.items():
        if part in message.lower():
            if part == _LOCKED:
                return DatabaseLockedError(message, operation=operation, path=path, remedy=remedy)
            return StorageError(message, operation=operation, path=path, remedy=_size_limit() + remedy)
    return None


def _size_limit() -> str:
    """Beginning of a remedy if this process may not write files of any size; SQLite reports that like a full disk."""
    limited = resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
    return "raise the limit on the size of files (LimitFSIZE=, ulimit -f), or " if limited else ""


def is_locked(error: Exception) -> bool:
    """True for an error of SQLite that says that another connection has the lock."""
    return _LOCKED in str(error).lower()


def damaged(reason: str, path: Path, operation: str, remedy: str = REPAIR) -> UnusableLedgerError:
    """The error for a database that a person has to repair or restore before it can be used."""
    return UnusableLedgerError(reason, operation=operation, path=path, remedy=remedy)


def _is_search_damage(message: str, code: int) -> bool:
    named = "fts5" in message and code & 0xFF == _CORRUPT
    return code == _CORRUPT_VTAB or named or any(part in message for part in _SEARCH_DAMAGE)


def _is_damage(message: str, code: int) -> bool:
    if code & 0xFF in {_CORRUPT, _NOTADB} or code == _IOERR_SHORT_READ:
        return True
    # From the driver, without a code: bytes in a text column that are not UTF-8.
    if "could not decode to utf-8" in message:
        return True
    return code & 0xFF == _ERROR and any(part in message for part in _SCHEMA_DAMAGE)
