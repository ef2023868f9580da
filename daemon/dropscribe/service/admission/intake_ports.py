"""Adapters of ledger and media inspector to the callables that intake takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dropscribe.errors import StorageError, UnusableLedgerError
from dropscribe.files import FileSignature
from dropscribe.intake.types import Completeness, Known
from dropscribe.ledger.interface import Ledger
from dropscribe.media.inspector import Inspected, Inspector
from dropscribe.service.storage.storage_retry import StorageRetry


class OnRecord:
    """Read the recorded files of a folder. A lasting storage failure is reported once per folder.

    Called by the threads of the folders, each for its own folder.
    """

    def __init__(self, ledger: Ledger, storage_retry: StorageRetry) -> None:
        self._ledger = ledger
        self._storage_retry = storage_retry
        self._failures: dict[Path, StorageError] = {}

    def __call__(self, folder: Path) -> Iterator[Known]:
        """Iterate over the recorded files of a folder. Raises StorageError, also between items."""
        try:
            for path, size, mtime_ns, inode, unfinished in self._ledger.known(folder):
                yield Known(path, FileSignature(size, mtime_ns, inode), unfinished)
        except UnusableLedgerError as e:
            # The main thread stops the daemon; intake treats it as a storage failure.
            raise StorageError(e.reason, operation=e.operation, path=e.path, remedy=e.remedy) from e
        except StorageError as e:
            if folder not in self._failures:
                self._failures[folder] = e
                self._storage_retry.refused(e)
            raise
        failure = self._failures.pop(folder, None)
        if failure is not None:
            self._storage_retry.taken(failure)


def completeness(inspector: Inspector) -> Callable[[Path, Sequence[Path]], Iterator[Completeness]]:
    """Completeness check for intake: a function of a folder and paths in it.

    It yields per path, in order, whether the file is as long as its container declares; UNKNOWN without a declaration.
    """
    meaning = {
        Inspected.WHOLE: Completeness.WHOLE,
        Inspected.CUT: Completeness.INCOMPLETE,
        Inspected.TEXT: Completeness.TEXT,
        Inspected.UNKNOWN: Completeness.UNKNOWN,
    }

    def check(folder: Path, paths: Sequence[Path]) -> Iterator[Completeness]:
        return (meaning[inspected] for inspected in inspector.inspect_each(folder, paths))

    return check
