"""Lets intake ask media whether a file's container says that all of it is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from daemon.intake.types import Wholeness
from daemon.media.inspector import Inspector


def wholeness(inspector: Inspector) -> Callable[[Path, Path], Wholeness]:
    """What the container of a recording (folder, path) declares against what is on disk; UNKNOWN where it declares nothing."""

    def look(folder: Path, path: Path) -> Wholeness:
        whole = inspector.whole(folder, path)
        if whole is None:
            return Wholeness.UNKNOWN
        return Wholeness.WHOLE if whole else Wholeness.INCOMPLETE

    return look
