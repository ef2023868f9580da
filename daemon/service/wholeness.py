"""Lets intake ask media whether a file's container says that all of it is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from daemon.intake.types import Wholeness
from daemon.media.inspector import Inspector


def wholeness(inspector: Inspector) -> Callable[[Path, Sequence[Path]], Iterator[Wholeness]]:
    """What the container of each of some recordings (folder, paths) declares against what is on disk; UNKNOWN where it declares nothing."""

    def look(folder: Path, paths: Sequence[Path]) -> Iterator[Wholeness]:
        for whole in inspector.whole_each(folder, paths):
            if whole is None:
                yield Wholeness.UNKNOWN
            else:
                yield Wholeness.WHOLE if whole else Wholeness.INCOMPLETE

    return look
