"""Which settings a running daemon takes over, and which wait for its next start. Pure."""

from __future__ import annotations

from typing import Any

from dropscribe.config import Settings

#: Settings of [service] that a running daemon takes over, as it does all of folders, profiles and notifications.
LIVE = ("rescan_s", "free_floor_mb", "jobs_in_flight")
#: Sections of which everything else waits for the next start.
AT_START = ("engine", "media", "service", "cluster")


def merged(old: Settings, new: Settings) -> tuple[Settings, list[str]]:
    """The settings in force after a reload, and the names of those that were changed and wait for the next start."""
    live = {name: getattr(new.service, name) for name in LIVE}
    in_force = old.model_copy(
        update={
            "folders": new.folders,
            "profiles": new.profiles,
            "notify": new.notify,
            "service": old.service.model_copy(update=live),
        }
    )
    waiting = ["database"] if old.database != new.database else []
    for section in AT_START:
        before, after = _values(getattr(in_force, section), section), _values(getattr(new, section), section)
        waiting += [name for name, value in after.items() if before[name] != value]
    return in_force, waiting


def _values(section: Any, prefix: str) -> dict[str, object]:
    """Values of a section by dotted name."""
    found: dict[str, object] = {}

    def collect(values: dict[str, Any], name: str) -> None:
        for key, value in values.items():
            if isinstance(value, dict):
                collect(value, f"{name}.{key}")
            else:
                found[f"{name}.{key}"] = value

    collect(section.model_dump(), prefix)
    return found
