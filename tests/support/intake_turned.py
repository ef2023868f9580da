"""One watched folder whose clocks stand still until a test moves them: real files, real watches, and no waiting."""

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
    """A `FolderWatch` that is given no hint at all: only its scans tell it anything. Use `turned`."""

    def __init__(self, folder: Folder, known: Callable[[], Iterable[Known]] | None = None) -> None:
        self.notices: list[Notice] = []
        self.now = 50.0
        #: What the system's clock is ahead of `now`, seconds.
        self.ahead = START_WALL
        around = Surroundings(
            lambda _: self._on_record() if known is None else known(),
            lambda of, paths: [unknown(of, path) for path in paths],
            self.notices.append,
            lambda: self.now,
            lambda: self.now + self.ahead,
            RESCAN_S,
            FolderLocks(),
        )
        self.watch = FolderWatch(folder, lambda _: None, around)

    def _on_record(self) -> Iterable[Known]:
        """What has arrived and is not gone."""
        record: dict[Path, Known] = {}
        for notice in self.notices:
            if isinstance(notice, Arrival):
                record[notice.path] = Known(str(notice.path), notice.signature, unfinished=True)
            elif isinstance(notice, Gone):
                record.pop(notice.path, None)
        return record.values()

    def turn(self, after_s: float = 0.0) -> None:
        """What is due when so many seconds have passed."""
        self.now += after_s
        self.watch.turn(self.now, ())

    def rescan(self) -> None:
        """Exactly one scan of the folder, at the time the next one is due."""
        self.turn(RESCAN_S)

    def arrived(self) -> list[str]:
        return [n.path.name for n in self.notices if isinstance(n, Arrival)]

    def gone(self) -> list[str]:
        return [n.path.name for n in self.notices if isinstance(n, Gone)]

    def health(self) -> FolderHealth:
        """What was said last of the folder itself."""
        return [n for n in self.notices if isinstance(n, FolderHealth)][-1]


@contextmanager
def turned(folder: Folder, known: Callable[[], Iterable[Known]] | None = None) -> Iterator[Turned]:
    """A folder that has been looked at once. `known`: what is on record, unless it is what has arrived."""
    made = Turned(folder, known)
    try:
        made.turn()
        yield made
    finally:
        made.watch.post.close()
