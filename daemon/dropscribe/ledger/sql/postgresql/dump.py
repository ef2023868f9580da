"""Dump a PostgreSQL database before an upgrade of its tables, with pg_dump."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from dropscribe.errors import LedgerError, StorageError

PROGRAM = "pg_dump"
#: Longest wait for a table that another session has locked, ms.
LOCK_WAIT_MS = 60_000
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_OPERATION = "dump database before its upgrade"


def obstacle(server: int) -> str | None:
    """Why no dump of a server of this version can be made here, by its first number; None if it can."""
    if shutil.which(PROGRAM) is None:
        return f"{PROGRAM} is not installed here"
    try:
        done = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as e:
        return f"{PROGRAM} cannot be run ({e})"
    found = _VERSION.search(done.stdout)
    if found is None or int(found[1]) < server:
        return f"{done.stdout.strip()} is older than the server, which has version {server}"
    return None


def dump(url: str, shown: Path, target: Path, server: int) -> Path:
    """Dump the database to `target`, whole or not at all, for its owner to read; returns `target`.

    `server`: the first number of its version. Where no dump can be made, a file that is at `target` counts as one: that of the
    administrator. Without it LedgerError is raised; StorageError when the dump fails.
    """
    reason = obstacle(server)
    if reason is not None:
        if target.exists():
            return target
        raise LedgerError(
            f"its tables are of an older version, and no dump can be made before their upgrade: {reason}",
            operation="open database", path=shown,
            remedy=f"install pg_dump {server} or newer (Debian: postgresql-client), or put a dump of your own at {target}; "
            "an empty file there counts, too",
        )  # fmt: skip
    unfinished = target.with_name(target.name + ".tmp")
    try:
        unfinished.unlink(missing_ok=True)
        os.close(
            os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        )
        _run(url, unfinished)
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(target)
    except (OSError, subprocess.CalledProcessError) as e:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        said = e.stderr.strip().splitlines()[-1:] if isinstance(e, subprocess.CalledProcessError) else []
        raise StorageError(
            said[0] if said else str(e), operation=_OPERATION, path=target,
            remedy="make room there, or let the user of the database read all its tables",
        ) from e  # fmt: skip
    return target


def _run(url: str, file: Path) -> None:
    subprocess.run(
        [
            PROGRAM, "--format=custom", "--no-password", f"--lock-wait-timeout={LOCK_WAIT_MS}", f"--file={file}",
            f"--dbname={url}",
        ],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=True,
    )  # fmt: skip
