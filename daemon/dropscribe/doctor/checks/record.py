"""Result of a check, and the document of `dropscribe doctor --json`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from dropscribe.errors import DropscribeError

SCHEMA = "dropscribe/doctor/1"


class Level(StrEnum):
    """`FAIL`: transcription cannot work or may lose data. `WARNING`: it works, but needs attention."""

    OK = "ok"
    WARNING = "warning"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one check. `name` is stable; the part after a colon is the folder or device."""

    name: str
    status: Level
    detail: str
    remedy: str = ""  #: empty if the status is ok


def ok(name: str, detail: str) -> Check:
    return Check(name, Level.OK, detail)


def warning(name: str, detail: str, remedy: str) -> Check:
    return Check(name, Level.WARNING, detail, remedy)


def fail(name: str, detail: str, remedy: str) -> Check:
    return Check(name, Level.FAIL, detail, remedy)


def from_error(name: str, error: DropscribeError) -> Check:
    """Failed check from an error."""
    where = f"{error.path}: " if error.path is not None else ""
    return fail(name, f"{where}{error.reason}", error.remedy or "see the reason")


def healthy(checks: Iterable[Check]) -> bool:
    """True if no check failed; warnings do not count."""
    return all(c.status is not Level.FAIL for c in checks)


def document(checks: Sequence[Check]) -> dict[str, Any]:
    """JSON document: `{"schema": "dropscribe/doctor/1", "checks": [{"name", "status", "detail", "remedy"}, …]}`."""
    return {"schema": SCHEMA, "checks": [asdict(c) | {"status": str(c.status)} for c in checks]}
