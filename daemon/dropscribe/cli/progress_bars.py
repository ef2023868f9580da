"""Progress bars of recordings that a command transcribes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import TaskID

    from dropscribe.pipeline.attempt import Progress

#: Longest name at a progress bar, columns.
NAME_COLUMNS = 28


class Bars:
    """Progress bars on standard error, if that is a terminal: one per file in progress, by audio recognised."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(), console=console, disable=not console.is_terminal, transient=True,
            # Otherwise rich would send standard output to the console of the bars, standard error.
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self._tasks: dict[Path, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, path: Path, progress: Progress) -> None:
        """Update the bar of a file in progress."""
        from dropscribe.columns import shortened
        from dropscribe.escapes import one_line, readable

        if path not in self._tasks:
            name = shortened(one_line(readable(path.name)), NAME_COLUMNS)
            self._tasks[path] = self._progress.add_task(name, total=None)
        total = progress.declared_ms or None
        self._progress.update(self._tasks[path], completed=progress.recognised_ms, total=total)

    def remove(self, path: Path) -> None:
        """Remove the bar of a file, which has ended."""
        task = self._tasks.pop(path, None)
        if task is not None:
            self._progress.remove_task(task)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Hide the bars while something is printed."""
        self._progress.stop()
        yield
        self._progress.start()
