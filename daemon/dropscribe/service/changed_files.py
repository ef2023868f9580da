"""Notice that a file which the configuration names was changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from dropscribe.files import FileSignature

#: Interval between two looks, seconds.
LOOK_S = 2.0


class ChangedFiles:
    """Compares the signatures of some files with those at the last look. Not thread-safe."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._seen = {file: _signature(file) for file in files}

    def changed(self, files: Iterable[Path]) -> bool:
        """True if one of `files` was changed, made or removed since the last call; a new one in the list is not."""
        now = {file: _signature(file) for file in files}
        before, self._seen = self._seen, now
        return any(before.get(file, signature) != signature for file, signature in now.items())


class FileWatch:
    """A thread that calls back when a file was changed. Only this thread waits if a file system does not answer."""

    def __init__(self, files: Callable[[], Iterable[Path]], report: Callable[[], None]) -> None:
        self._files = files
        self._report = report
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="changed-files", daemon=True)

    def start(self) -> None:
        """Start looking."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking; does not wait for a look that hangs."""
        self._stopped.set()

    def _run(self) -> None:
        compared = ChangedFiles(self._files())
        while not self._stopped.wait(LOOK_S):
            if compared.changed(self._files()):
                self._report()


def _signature(file: Path) -> FileSignature | None:
    try:
        return FileSignature.of(file.stat())
    except OSError:
        return None
