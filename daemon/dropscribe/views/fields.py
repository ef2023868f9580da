"""Format values of JSON documents: paths, instants, numbers."""

from __future__ import annotations

import os
from pathlib import Path

from dropscribe.transcript.instants import iso


def readable(path: Path | str) -> str:
    """Path as valid Unicode text; bytes that are not UTF-8 become backslash escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def utc(instant: float | None) -> str | None:
    """Epoch seconds as ISO 8601 in UTC."""
    return None if instant is None else iso(instant)


def rounded(value: float | None) -> float | None:
    """Number rounded to three decimals."""
    return None if value is None else round(value, 3)
