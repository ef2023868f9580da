"""What goes into the pump and comes out of it: frozen records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dropscribe.files import FileSignature
from dropscribe.pipeline.assembly import Result
from dropscribe.pipeline.problem import Problem


@dataclass(frozen=True, slots=True)
class Work:
    """One attempt at one recording; `ticket` is never used again. `folder` as in `DecodeOrder`."""

    ticket: int
    path: Path
    expected: FileSignature | None
    hotwords: tuple[str, ...] = ()
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended: with a result or with a problem."""

    ticket: int
    end: Result | Problem


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one attempt has come, ms of the recording; `declared_ms` None where the file does not say."""

    decoded_ms: int
    recognised_ms: int
    declared_ms: int | None
