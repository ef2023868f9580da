"""Format values of JSON documents: instants, numbers."""

from __future__ import annotations

from dropscribe.transcript.instants import iso


def utc(instant: float | None) -> str | None:
    """Epoch seconds as ISO 8601 in UTC."""
    return None if instant is None else iso(instant)


def rounded(value: float | None) -> float | None:
    """Number rounded to three decimals."""
    return None if value is None else round(value, 3)
