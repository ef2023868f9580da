"""Lets intake ask media whether a file's container says that all of it is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dropscribe.intake.types import Completeness
from dropscribe.media.inspector import Inspector


def completeness(inspector: Inspector) -> Callable[[Path, Sequence[Path]], Iterator[Completeness]]:
    """What the container of each of some recordings (folder, paths) declares against what is on disk; UNKNOWN where it declares nothing."""

    def look(folder: Path, paths: Sequence[Path]) -> Iterator[Completeness]:
        for whole in inspector.whole_each(folder, paths):
            if whole is None:
                yield Completeness.UNKNOWN
            else:
                yield Completeness.WHOLE if whole else Completeness.INCOMPLETE

    return look
