"""Back up a database while a daemon writes to it, and put a backup in its place.

A backup is one file, made by `VACUUM INTO`: a consistent state, without what SQLite keeps of removed rows.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import stat
import time
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from dropscribe.errors import DropscribeError, LedgerError, StorageError, UsageError
from dropscribe.files import opened, sync_directory
from dropscribe.ledger.sql.schema import HEAD
from dropscribe.ledger.sql.sqlite.db import driver
from dropscribe.ledger.sql.sqlite.faults import damaged, explain
from dropscribe.ledger.sql.sqlite.file.database_file import LOG_ENDINGS
from dropscribe.ledger.sql.sqlite.file.integrity import quick_check
from dropscribe.ledger.sql.sqlite.file.upgrade import revision

#: Longest wait for another writer, seconds.
WAIT_S = 60.0
#: Longest wait for others before the log is left to SQLite, seconds, and the time between two attempts.
LOG_WAIT_S = 10.0
LOG_RETRY_S = 0.1
#: Share of free space that stays unused, so that other programs on the disk go on.
SPARE = 0.05
#: The moment in the name of a backup, UTC.
_STAMP = r"\d{8}T\d{6}Z"


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made and checked. `size` in bytes; `removed`: older ones, which were too many."""

    path: Path
    size: int
    jobs: int
    removed: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Restored:
    """A backup that took the place of the database. `kept`: the database as it was before; None if there was none."""

    jobs: int
    newest: float | None  #: when its newest job was admitted, epoch seconds
    kept: Path | None


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """Sizes of a database before and after, bytes, and how long it was locked, seconds."""

    before: int
    after: int
    seconds: float


def back_up(
    path: Path, directory: Path, now: float, keep: int | None = None, known: Collection[Path] = ()
) -> Backup:
    """Write a checked copy of the database at `path` into `directory`, under a name with the moment `now`.

    Afterwards only the newest `keep` of its backups stay in the directory, among those `known` to be of this database, since
    another one of the same name may have backups there, too. None: all stay. Raises UsageError, StorageError if there is no room or
    the disk fails, LedgerError if the database or the copy is damaged.
    """
    _require_directory(directory)
    if revision(path) is None:
        raise LedgerError("there is no table in it", operation="back up", path=path, remedy="check its path")
    _require_room(path, directory, _size_in_use(path), "back up")
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    unfinished = directory / f".{path.name}.{stamp}.{os.getpid()}.tmp"
    try:
        with _reported("back up", directory):
            # Nobody may read a copy who cannot read the original.
            mode = stat.S_IMODE(path.stat().st_mode) & 0o666
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(unfinished, flags, mode))
        with _connection(path, "back up", read_only=True) as connection:
            connection.execute("VACUUM INTO ?", (os.fspath(unfinished),))
        jobs, _ = _checked(unfinished, "back up")
        with _reported("back up", directory), unfinished.open("rb+") as file:
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
        with _reported("back up", directory):
            made = _named(unfinished, directory, path, stamp)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
    removed = () if keep is None else _remove_older(directory, path, keep, made, known)
    with _reported("back up", directory), opened(directory) as folder:
        sync_directory(folder)
    return Backup(made, size, jobs, removed)


def backups(directory: Path, path: Path) -> list[Path]:
    """The backups of the database at `path` in a directory, oldest first. Raises OSError."""
    name = re.compile(rf"{re.escape(path.stem)}-({_STAMP})(?:-(\d+))?{re.escape(path.suffix)}")
    found = [
        (marked[1], int(marked[2] or 1), p)
        for p in directory.iterdir()
        if (marked := name.fullmatch(p.name)) and p.is_file() and not p.is_symlink()
    ]
    return [p for _, _, p in sorted(found)]


def restore(path: Path, backup: Path, now: float) -> Restored:
    """Put a backup in the place of the database at `path`, and keep that beside it. The caller holds its lock.

    A kill leaves one of the two in place, never none. Raises UsageError for a file that is no backup, LedgerError for a damaged
    one or one of a newer version, StorageError if there is no room or the disk fails; the database is unchanged then.
    """
    real = Path(os.path.realpath(path))
    if not backup.is_file():
        raise UsageError("no such file", operation="restore", path=backup, remedy="name a backup")
    if backup.exists() and real.exists() and backup.samefile(real):
        raise UsageError(
            "it is the database itself", operation="restore", path=backup, remedy="name a backup"
        )
    _require_current(backup)
    jobs, newest = _checked(backup, "restore")
    with _reported("restore", real):
        _require_room(backup, real.parent, backup.stat().st_size, "restore")
        unfinished = real.with_name(f"{real.name}.restored.tmp")
        unfinished.unlink(missing_ok=True)
        mode = stat.S_IMODE((real if real.exists() else backup).stat().st_mode) & 0o666
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode))
    try:
        with _connection(backup, "restore", read_only=True) as connection:
            connection.execute("VACUUM INTO ?", (os.fspath(unfinished),))
        _checked(unfinished, "restore")
        with _reported("restore", real):
            with unfinished.open("rb+") as file:
                os.fsync(file.fileno())
            kept = _set_aside(real, now)
            unfinished.replace(real)
            with opened(real.parent) as folder:
                sync_directory(folder)
    finally:
        unfinished.unlink(missing_ok=True)
    return Restored(jobs, newest, kept)


def vacuum(path: Path) -> Vacuumed:
    """Write the database anew without the space of removed rows, and shorten its log.

    A daemon may be running: it waits, as for any other writer, and no reader is blocked. Raises StorageError if there is no
    room or the database stays locked, LedgerError if it is damaged.
    """
    before = path.stat().st_size
    # The new content stands in a temporary file first, then in the log.
    needed = _size_in_use(path)
    _require_room(path, _temporary_directory(), needed, "vacuum")
    _require_room(path, Path(os.path.realpath(path)).parent, 2 * needed, "vacuum")
    with _connection(path, "vacuum") as connection:
        began = time.monotonic()
        connection.execute("VACUUM")
        seconds = time.monotonic() - began
        # The file becomes shorter when the log is moved into it, which a reader or writer may prevent at the moment.
        while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() - began > seconds + LOG_WAIT_S:
                break
            time.sleep(LOG_RETRY_S)
    return Vacuumed(before, path.stat().st_size, seconds)


def _require_directory(directory: Path) -> None:
    if not directory.is_dir():
        raise UsageError(
            "there is no such folder",
            operation="back up",
            path=directory,
            remedy="make it, or name another one",
        )


def _require_current(backup: Path) -> None:
    """Raise LedgerError unless this version can open the backup, which may be of an older one."""
    found = revision(backup)
    if found is None:
        raise LedgerError("it is empty", operation="restore", path=backup, remedy="name another backup")
    if found > HEAD:
        raise LedgerError(
            f"it was written by a newer version of dropscribe (schema {found}; this one knows {HEAD})",
            operation="restore", path=backup, remedy="install a newer dropscribe",
        )  # fmt: skip


def _require_room(path: Path, directory: Path, needed: int, operation: str) -> None:
    """Raise StorageError if less than `needed` bytes and a reserve are free in a directory."""
    usage = shutil.disk_usage(directory)
    if usage.free < needed + SPARE * min(needed, usage.total):
        raise StorageError(
            f"it needs {_megabytes(needed)} in {directory}, and {_megabytes(usage.free)} are free",
            operation=operation, path=path, remedy="free some space on that disk",
        )  # fmt: skip


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _size_in_use(path: Path) -> int:
    """Size of a database without its free pages, its log included, bytes."""
    with _connection(path, "read database", read_only=True) as connection:
        pages, free, size = (
            connection.execute(f"PRAGMA {what}").fetchone()[0]
            for what in ("page_count", "freelist_count", "page_size")
        )
    return int(pages - free) * int(size)


def _temporary_directory() -> Path:
    """Where SQLite puts temporary files: https://sqlite.org/tempfiles.html, section 5."""
    named = (os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR"), "/var/tmp", "/usr/tmp", "/tmp", ".")  # noqa: S108
    return next(Path(d) for d in named if d and Path(d).is_dir() and os.access(d, os.W_OK | os.X_OK))


def _named(unfinished: Path, directory: Path, path: Path, stamp: str) -> Path:
    """Give a finished copy a name that no file has. Raises OSError."""
    for number in itertools.count(1):
        target = directory / f"{path.stem}-{stamp}{f'-{number}' if number > 1 else ''}{path.suffix}"
        try:
            os.link(unfinished, target)
        except FileExistsError:
            continue
        except OSError:  # a file system without links
            if target.exists():
                continue
            unfinished.rename(target)
        return target
    raise AssertionError("the numbers never end")


def _remove_older(
    directory: Path, path: Path, keep: int, made: Path, known: Collection[Path]
) -> tuple[Path, ...]:
    with _reported("remove old backups", directory):
        older = [p for p in backups(directory, path) if p != made and p.absolute() in known]
        removed = tuple(older[: max(0, len(older) + 1 - keep)])
        for one in removed:
            one.unlink(missing_ok=True)
    return removed


def _checked(copy: Path, operation: str) -> tuple[int, float | None]:
    """Check a whole copy; returns the number of its jobs and when the newest was admitted."""
    found = quick_check(copy)
    if found:
        raise damaged(
            f"it is damaged ({found[0]})", copy, operation, "name another backup, or make a new one"
        )
    with _connection(copy, operation, read_only=True) as connection:
        jobs, newest = connection.execute("SELECT count(*), max(admitted_at) FROM jobs").fetchone()
    return int(jobs), newest


def _set_aside(real: Path, now: float) -> Path | None:
    """Give the database a second name, under which it stays when it is replaced; returns that. Raises OSError."""
    if not real.exists():
        return None
    kept = real.with_name(f"{real.name}.before-restore-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}")
    kept.unlink(missing_ok=True)
    # Moves the content of its log into it. A damaged database may refuse: then the log is kept, too.
    with contextlib.suppress(DropscribeError), _connection(real, "restore") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    try:
        os.link(real, kept)
    except OSError:  # a file system without links
        shutil.copy2(real, kept)
    # Last, since the database is not whole without them.
    for ending in LOG_ENDINGS:
        log = real.with_name(real.name + ending)
        if log.exists():
            log.replace(kept.with_name(kept.name + ending))
    return kept


@contextlib.contextmanager
def _connection(path: Path, operation: str, *, read_only: bool = False) -> Iterator[Any]:
    """A connection outside transactions, whose errors are translated."""
    module = driver()
    mode = "ro" if read_only else "rw"
    uri = f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"
    try:
        with closing(module.connect(uri, uri=True, timeout=WAIT_S, isolation_level=None)) as connection:
            yield connection
    except module.Error as e:
        error = explain(sa.exc.DBAPIError(None, None, e), path, operation)
        if error is None:
            raise
        raise error from e


@contextlib.contextmanager
def _reported(operation: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        remedy = "see that the disk has room and this user may write there"
        raise StorageError.from_system(e, operation=operation, path=path, remedy=remedy) from e
