"""One watched folder with test-controlled clocks: real files, real watches, no waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dropscribe.config import Folder
from dropscribe.intake.folder import FolderWatch, Surroundings
from dropscribe.intake.folder_lock import FolderLocks
from dropscribe.intake.types import Arrival, FolderHealth, Gone, Known, Notice
from tests.support.intake import unknown

RESCAN_S = 30.0
START_WALL = 1_800_000_000.0


class Turned:
    """A `FolderWatch` without hints: it finds changes only by scans. Create it with `turned`."""

    def __init__(self, folder: Folder, known: Callable[[], Iterable[Known]] | None = None) -> None:
        self.notices: list[Notice] = []
        self.now = 50.0
        #: Offset of the system's clock from `now`, seconds.
        self.ahead = START_WALL
        around = Surroundings(
            lambda _: self._on_record() if known is None else known(),
            lambda of, paths: [unknown(of, path) for path in paths],
            self.notices.append,
            lambda: self.now,
            lambda: self.now + self.ahead,
            lambda: RESCAN_S,
            FolderLocks(),
        )
        self.watch = FolderWatch(folder, lambda _: None, around)

    def _on_record(self) -> Iterable[Known]:
        """Files that have arrived and are not gone."""
        record: dict[Path, Known] = {}
        for notice in self.notices:
            if isinstance(notice, Arrival):
                record[notice.path] = Known(str(notice.path), notice.signature, unfinished=True)
            elif isinstance(notice, Gone):
                record.pop(notice.path, None)
        return record.values()

    def turn(self, after_s: float = 0.0) -> None:
        """Advance the clocks by this many seconds and run everything due."""
        self.now += after_s
        self.watch.turn(self.now, ())

    def rescan(self) -> None:
        """Run exactly one scan, at its due time."""
        self.turn(RESCAN_S)

    def arrived(self) -> list[str]:
        return [n.path.name for n in self.notices if isinstance(n, Arrival)]

    def gone(self) -> list[str]:
        return [n.path.name for n in self.notices if isinstance(n, Gone)]

    def health(self) -> FolderHealth:
        """Last health reported for the folder."""
        return [n for n in self.notices if isinstance(n, FolderHealth)][-1]


@contextmanager
def turned(folder: Folder, known: Callable[[], Iterable[Known]] | None = None) -> Iterator[Turned]:
    """A folder after its first scan. `known`: files on record; by default those that have arrived."""
    made = Turned(folder, known)
    try:
        made.turn()
        yield made
    finally:
        made.watch.post.close()
