"""Classify errors of PostgreSQL: a failure that may pass, an unusable database, or a mistake of ours."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import sqlalchemy as sa

from dropscribe.errors import DatabaseLockedError, DropscribeError, StorageError, UnusableLedgerError

RESTORE = "restore the database from a dump (docs/postgresql.md), or begin a new one"

#: Codes of https://www.postgresql.org/docs/current/errcodes-appendix.html, whole or by their class.
_LOCKED = ("55P03", "40P01", "40001")
_UNUSABLE = ("42P01", "42703", "XX001", "XX002")
#: Code or class → remedy. Each may pass without a change of the database.
_PASSING = {
    "53100": "free some space on the disk of PostgreSQL",
    "53300": "raise max_connections of PostgreSQL, or end other programs that use it",
    "53": "give PostgreSQL more of what it lacks",
    "57014": "raise or remove statement_timeout of this user",
    "57": "start PostgreSQL again",
    "58": "check the disk of PostgreSQL and its log",
    "25006": "name the primary server: this one is a standby or set to read-only",
    "28": "check the user, its password file (mode 0600) and pg_hba.conf",
    "3D": "create it: createdb --encoding UTF8 --locale C.UTF-8 --template template0 NAME",
    "42501": "make the user of the URL the owner of the database, or grant it what it lacks",
    "08": "check that PostgreSQL runs and can be reached",
}
#: (pattern in what a server says that refuses a connection, remedy), the first that matches. libpq gives no code there; of a
#: server whose messages are not in English none matches.
_REFUSALS = (
    (r"database .* does not exist", _PASSING["3D"]),
    (
        r"Peer authentication failed",
        "run the command as the user named in the address (sudo -u NAME), or see pg_hba.conf",
    ),
    (
        r"no password supplied|authentication failed|no pg_hba\.conf entry|role .* does not exist",
        _PASSING["28"],
    ),
    (r"too many clients|too many connections|remaining connection slots", _PASSING["53300"]),
)


def explain(error: sa.exc.DBAPIError | psycopg.Error, path: Path, operation: str) -> DropscribeError | None:
    """The error to raise instead of `error`; None when it is a mistake of ours (a wrong statement, a broken constraint)."""
    original = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    code = code_of(error)
    message = str(original).strip().split("\n")[0]
    if code in _LOCKED:
        return DatabaseLockedError(
            "it is locked by another process", operation=operation, path=path,
            remedy="end the session that holds a transaction open: SELECT * FROM pg_stat_activity",
        )  # fmt: skip
    if code in _UNUSABLE:
        return UnusableLedgerError(
            f"it is damaged ({message})", operation=operation, path=path, remedy=RESTORE
        )
    for known, remedy in _PASSING.items():
        if code.startswith(known):
            return StorageError(message, operation=operation, path=path, remedy=remedy)
    if not code and isinstance(original, psycopg.OperationalError | psycopg.InterfaceError):
        # Without a code: the connection could not be made, or is gone.
        remedy = next((cure for words, cure in _REFUSALS if re.search(words, message)), _PASSING["08"])
        return StorageError(message, operation=operation, path=path, remedy=remedy)
    return None


def code_of(error: Exception) -> str:
    """The SQLSTATE of an error; "" if it has none."""
    original = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    return getattr(original, "sqlstate", None) or ""


def is_locked(error: Exception) -> bool:
    """True for an error that says that another session has a lock for too long."""
    return code_of(error) in _LOCKED
