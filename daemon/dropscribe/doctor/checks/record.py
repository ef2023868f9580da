"""What a check says, and the document `dropscribe doctor --json` prints."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from dropscribe.errors import DropscribeError

SCHEMA = "dropscribe/doctor/1"


class Level(StrEnum):
    """`FAIL`: transcribing cannot work, or loses something. `WARNING`: it works, and a person should know."""

    OK = "ok"
    WARNING = "warning"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor. `name` is stable; a part after a colon names the folder or device it is about."""

    name: str
    status: Level
    detail: str
    remedy: str = ""  #: what to do; empty when all is well


def ok(name: str, detail: str) -> Check:
    return Check(name, Level.OK, detail)


def warning(name: str, detail: str, remedy: str) -> Check:
    return Check(name, Level.WARNING, detail, remedy)


def fail(name: str, detail: str, remedy: str) -> Check:
    return Check(name, Level.FAIL, detail, remedy)


def readable(path: Path) -> str:
    """`path` as text that can be printed and put into JSON, whatever bytes it holds."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def from_error(name: str, error: DropscribeError) -> Check:
    """A failed check out of an error a person can meet."""
    where = f"{error.path}: " if error.path is not None else ""
    return fail(name, f"{where}{error.reason}", error.remedy or "see the reason")


def healthy(checks: Iterable[Check]) -> bool:
    """Whether nothing failed; warnings do not count."""
    return all(c.status is not Level.FAIL for c in checks)


def document(checks: Sequence[Check]) -> dict[str, Any]:
    """`{"schema": "dropscribe/doctor/1", "checks": [{"name", "status", "detail", "remedy"}, …]}`."""
    return {"schema": SCHEMA, "checks": [asdict(c) | {"status": str(c.status)} for c in checks]}
