"""Input and output records of the executor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dropscribe.files import FileSignature, OutputPlace
from dropscribe.pipeline.assembly import Result
from dropscribe.pipeline.problem import Problem


@dataclass(frozen=True, slots=True)
class Work:
    """One attempt at one recording. `ticket` must be unique within an executor; `folder`, `outputs` and `track` as in `DecodeOrder`."""

    ticket: int
    path: Path
    expected: FileSignature | None
    hotwords: tuple[str, ...] = ()
    folder: Path | None = None
    outputs: OutputPlace | None = None
    track: int | str = "auto"


@dataclass(frozen=True, slots=True)
class Outcome:
    """End of one attempt: a result or a problem."""

    ticket: int
    end: Result | Problem


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of one attempt, ms of audio; `declared_ms` None if the container declares no duration."""

    decoded_ms: int
    recognised_ms: int
    declared_ms: int | None
