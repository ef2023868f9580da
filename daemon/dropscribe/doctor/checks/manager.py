"""Check the environment of the service manager: notification socket and watchdog interval."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from dropscribe.doctor.checks.record import Check, from_error, ok, warning
from dropscribe.errors import DropscribeError
from dropscribe.service.monitoring.sd_notify import Notifier, watchdog_interval_s

#: Paths at which dropscribe's unit may be installed.
UNIT_PATHS = (
    Path("/etc/systemd/system/dropscribe.service"),
    Path("/usr/lib/systemd/system/dropscribe.service"),
    Path("/lib/systemd/system/dropscribe.service"),
)
#: Shortest sensible watchdog interval, seconds: the main loop runs twice a second, but a turn may be slow.
SHORTEST_WATCHDOG_S = 5.0


def check_manager(
    environ: Mapping[str, str] = os.environ,
    units: tuple[Path, ...] = UNIT_PATHS,
    running: Path = Path("/run/systemd/system"),
) -> Check:
    """Check notification and watchdog settings. Running without a service manager is ok."""
    name = "systemd"
    try:
        notifier = Notifier.from_environment(environ)
        interval_s = watchdog_interval_s(environ)
    except DropscribeError as e:
        return from_error(name, e)
    if interval_s is not None and interval_s < SHORTEST_WATCHDOG_S:
        return warning(name, f"the watchdog fires after {interval_s:g} s", "set WatchdogSec=60 in the unit")
    unit = next((u for u in units if u.exists()), None)
    if notifier.active:
        watched = "no watchdog" if interval_s is None else f"watchdog {interval_s:g} s"
        return ok(name, f"started by a service manager, {watched}")
    if unit is not None:
        return ok(name, f"{unit} is installed; this process was started by hand")
    there = "systemd runs here" if running.is_dir() else "no systemd here"
    return ok(name, f"{there}; no dropscribe.service is installed")
