"""One watched folder whose clocks stand still until a test moves them: real files, real watches, and no waiting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from daemon.config import Folder
from daemon.intake.folder import FolderWatch, Surroundings
from daemon.intake.hold import Holds
from daemon.intake.scan import Stamp
from daemon.intake.types import Arrival, FolderHealth, Gone, Notice
from tests.intake_material import unknown

RESCAN_S = 30.0
START_WALL = 1_800_000_000.0


class Turned:
    """A `FolderWatch` that is given no hint at all: only its scans tell it anything. Use `turned`."""

    def __init__(self, folder: Folder) -> None:
        self.notices: list[Notice] = []
        self.now = 50.0
        #: What the system's clock is ahead of `now`, seconds.
        self.ahead = START_WALL
        around = Surroundings(
            self._known,
            unknown,
            self.notices.append,
            lambda: self.now,
            lambda: self.now + self.ahead,
            RESCAN_S,
            Holds(),
        )
        self.watch = FolderWatch(folder, lambda _: None, around)

    def _known(self, _: str) -> dict[str, Stamp]:
        """What has arrived and is not gone."""
        record: dict[str, Stamp] = {}
        for notice in self.notices:
            if isinstance(notice, Arrival):
                signature = notice.signature
                record[str(notice.path)] = (signature.size, signature.mtime_ns, signature.inode)
            elif isinstance(notice, Gone):
                record.pop(str(notice.path), None)
        return record

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
def turned(folder: Folder) -> Iterator[Turned]:
    """A folder that has been looked at once."""
    made = Turned(folder)
    try:
        made.turn()
        yield made
    finally:
        made.watch.post.close()
