"""Format instants for JSON."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(instant: float) -> str:
    """Epoch seconds → ISO 8601, UTC, to the millisecond: `2026-03-01T08:00:00.250Z`."""
    text = datetime.fromtimestamp(round(instant * 1000) / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
