"""Lets intake ask media whether a file's container says that all of it is there."""

from __future__ import annotations

from pathlib import Path

from daemon.intake.types import Wholeness
from daemon.media.container import inspect


def wholeness(folder: Path, path: Path) -> Wholeness:
    """What the container of a recording in `folder` declares against what is on disk; UNKNOWN where it declares nothing."""
    whole = inspect(path, folder).whole
    if whole is None:
        return Wholeness.UNKNOWN
    return Wholeness.WHOLE if whole else Wholeness.INCOMPLETE
