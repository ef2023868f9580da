"""Check that the path of an open database still leads to the open file.

A database that was unlinked or renamed still accepts transactions, which are lost after a restart, while a new connection
by the same path writes to another file. Only `stat` is used: closing any descriptor of the file would release SQLite's locks
on it.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from dropscribe.errors import StorageError, UnusableLedgerError
from dropscribe.ledger.sql.sqlite.faults import damaged

#: Files beside an open database: its write-ahead log, and the index of the log.
LOG_ENDINGS = ("-wal", "-shm")

_GONE_REMEDY = (
    "put it back, or restore a backup, and start the daemon again; where it is lost, 'dropscribe adopt DIR' takes what "
    "was done from the transcripts"
)
_LOG_REMEDY = "start the daemon again: what was on record has been saved"

_Identity = tuple[int, int]


class DatabaseFile:
    """The file of an open database and the two beside it. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        #: Device and inode by path; empty before `pin`.
        self._pinned: dict[Path, _Identity] = {}
        self._log = path
        #: Largest size seen or accepted, bytes.
        self._size = 0

    @property
    def pinned(self) -> bool:
        """True once `pin` has been called."""
        return bool(self._pinned)

    def pin(self) -> None:
        """Record the identity of the file at the path; called right after the first connection. Raises OSError."""
        with self._lock:
            if not self._pinned:
                status = self._path.stat()
                self._pinned = {self._path: _identity(status)}
                self._size = status.st_size

    def pin_log(self) -> None:
        """Record the identities of the log and its index; called within a transaction, when they exist."""
        with self._lock:
            if len(self._pinned) == 1:
                real = Path(os.path.realpath(self._path))
                self._log = real.with_name(real.name + LOG_ENDINGS[0])
                for path in (self._log, real.with_name(real.name + LOG_ENDINGS[1])):
                    if path.exists():
                        self._pinned[path] = _identity(path.stat())

    def verify(self, operation: str) -> int | None:
        """Raise UnusableLedgerError unless the paths lead to the open files, StorageError when that cannot be determined.

        Returns the size of the database, bytes, when it is smaller than before (see `accept`), else None.
        """
        shrunk: int | None = None
        for path, identity in list(self._pinned.items()):
            status = self._stat(path, operation)
            if status is None or _identity(status) != identity:
                raise self._lost(path, operation, replaced=status is not None)
            if path == self._path:
                if status.st_size < self._size:
                    shrunk = status.st_size
                self._size = max(self._size, status.st_size)
        return shrunk

    def accept(self, size: int, needed: int, operation: str) -> None:
        """Accept a smaller database, as after a VACUUM. Raises UnusableLedgerError when it lacks some of the bytes `needed`."""
        if size < needed:
            raise damaged(f"it was cut to {size} bytes while it was open", self._path, operation)
        self._size = size

    def log_is_foreign(self) -> bool:
        """True when the path of our log has the log of another database."""
        identity = self._pinned.get(self._log)
        try:
            return identity is not None and _identity(self._log.stat()) != identity
        except OSError:
            return False

    def _stat(self, path: Path, operation: str) -> os.stat_result | None:
        try:
            return path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as e:
            raise StorageError.from_system(
                e, operation=operation, path=path,
                remedy="see that the disk is there and its folders can be entered by this user",
            ) from e  # fmt: skip

    def _lost(self, path: Path, operation: str, *, replaced: bool) -> UnusableLedgerError:
        how = "another file stands in its place" if replaced else "it was removed or renamed"
        if path == self._path:
            return damaged(f"{how} while it was open", path, operation, _GONE_REMEDY)
        return damaged(f"its log {path.name}: {how} while it was open", self._path, operation, _LOG_REMEDY)


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino
