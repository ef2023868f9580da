"""Check the system clock, since the history uses wall-clock time."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from pathlib import Path

from dropscribe.doctor.checks.record import Check, fail, ok, warning

#: Tolerated difference to the time of a file written on this machine, seconds.
SLACK_S = 60.0
_REMEDY = "set the clock and switch synchronisation on: timedatectl set-ntp true"


def check_clock(now: float, installed_at: float, last_status: float | None) -> Check:
    """Check that `now` is later than this program's installation and the daemon's last status (epoch seconds)."""
    name = "clock"
    text = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if now < installed_at - SLACK_S:
        return fail(name, f"{text} is before this program was installed", _REMEDY)
    if last_status is not None and now < last_status - SLACK_S:
        return warning(name, f"{text} is before the daemon's last status: the clock was set back", _REMEDY)
    return ok(name, text)


def look_clock(status_file: Path | None) -> Check:
    """`check_clock` for this machine."""
    last = None
    with contextlib.suppress(OSError):
        last = None if status_file is None else status_file.stat().st_mtime
    return check_clock(time.time(), Path(__file__).stat().st_mtime, last)
