"""Values of JSON documents: paths and instants as text."""

from __future__ import annotations

import os
from pathlib import Path

from dropscribe.transcript.instants import iso


def readable(path: Path | str) -> str:
    """A path as text, whatever bytes it holds."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def utc(instant: float | None) -> str | None:
    """Epoch seconds as ISO 8601 in UTC."""
    return None if instant is None else iso(instant)


def rounded(value: float | None) -> float | None:
    """A number to the thousandth."""
    return None if value is None else round(value, 3)
