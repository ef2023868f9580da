"""A watcher on a real folder, and its notices."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from dropscribe.config import Folder
from dropscribe.files import FileSignature
from dropscribe.intake.types import Arrival, Completeness, FolderHealth, Gone, Known, Notice, Skip
from dropscribe.intake.watcher import Watcher

#: Time limit after which a test fails, seconds; never a measured quantity.
DEADLINE_S = 60.0

QUIET_S = 0.2
RESCAN_S = 0.4


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition` holds; fail with `what` after `DEADLINE_S`."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.01)


def signature_of(path: Path) -> FileSignature:
    return FileSignature.of(path.stat())


def folder_of(path: Path, **values: Any) -> Folder:
    quick: dict[str, Any] = {
        "quiet_s": QUIET_S,
        "quiet_unprobed_s": QUIET_S,
        "incomplete_s": 2 * QUIET_S,
        "poll_s": QUIET_S,
    }
    return Folder.model_validate({"path": path, **quick, **values})


def known_of(record: Callable[[Path], Mapping[Path, FileSignature]]) -> Callable[[Path], list[Known]]:
    """`known` callback of a watcher from a record; all files count as unfinished."""
    return lambda folder: [Known(str(p), s, unfinished=True) for p, s in record(folder).items()]


def unknown(_folder: Path, _path: Path) -> Completeness:
    return Completeness.UNKNOWN


class Watched:
    """A running watcher, as a context manager, that stores every notice.

    Files that have arrived and are not gone are on record, unless `known` is given.
    """

    def __init__(
        self,
        *folders: Folder,
        known: Callable[[Path], Mapping[Path, FileSignature]] | None = None,
        completeness: Callable[[Path, Path], Completeness] = unknown,
        rescan_s: float = RESCAN_S,
    ) -> None:
        self.notices: list[Notice] = []
        self._changed = threading.Condition()
        self.watcher = Watcher(
            folders,
            known=known_of(known or self._on_record),
            completeness=lambda of, paths: [completeness(of, path) for path in paths],
            sink=self._take,
            rescan_s=lambda: rescan_s,
        )

    def _take(self, notice: Notice) -> None:
        with self._changed:
            self.notices.append(notice)
            self._changed.notify_all()

    def _on_record(self, folder: Path) -> Mapping[Path, FileSignature]:
        record: dict[Path, FileSignature] = {}
        for notice in list(self.notices):
            if isinstance(notice, Arrival) and notice.folder == folder:
                record[notice.path] = notice.signature
            elif isinstance(notice, Gone):
                record.pop(notice.path, None)
        return record

    def __enter__(self) -> Self:
        self.watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.watcher.stop()
        assert self.watcher.failure is None

    def arrivals(self, path: Path | None = None) -> list[Arrival]:
        return [n for n in list(self.notices) if isinstance(n, Arrival) and path in {None, n.path}]

    def skips(self, path: Path | None = None) -> list[Skip]:
        return [n for n in list(self.notices) if isinstance(n, Skip) and path in {None, n.path}]

    def waiting(self) -> list[tuple[Path, str]]:
        """Files that are not complete yet, each with the code of the reason."""
        return [(file.path, file.reason.code) for file in self.watcher.unsettled_files()]

    def gone(self) -> list[Path]:
        return [n.path for n in list(self.notices) if isinstance(n, Gone)]

    def health(self, folder: Path) -> list[FolderHealth]:
        return [n for n in list(self.notices) if isinstance(n, FolderHealth) and n.folder == folder]

    def wait_watching(self, folder: Path, times: int = 1) -> None:
        """Wait until the folder was reported as healthy `times` times."""
        wait_until(
            lambda: sum(h.problem is None for h in self.health(folder)) >= times,
            f"{folder} is watched ({times})",
        )

    def wait_arrival(self, path: Path, times: int = 1) -> Arrival:
        wait_until(
            lambda: len(self.arrivals(path)) >= times,
            f"{path!r} arrives {times} times; said so far: {self.notices[-5:]}",
        )
        return self.arrivals(path)[times - 1]

    def wait_skip(self, path: Path, code: str) -> Skip:
        wait_until(lambda: any(s.code == code for s in self.skips(path)), f"{path!r} is skipped as {code}")
        return next(s for s in self.skips(path) if s.code == code)

    def wait_gone(self, path: Path) -> None:
        wait_until(lambda: path in self.gone(), f"{path!r} is gone")

    def settle_marker(self, folder: Path, name: str = "zz-marker.wav") -> None:
        """Wait until a new file in `folder` has arrived: all earlier files have then been examined twice."""
        marker = folder / name
        marker.write_bytes(b"marker")
        self.wait_arrival(marker)
