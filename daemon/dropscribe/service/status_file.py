"""The status file beside the database: what a running daemon says of itself, for `dropscribe status`.

Schema `dropscribe/status/1`; written whole by rename, so a reader never sees half of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dropscribe import escapes, logs
from dropscribe.intake.types import FolderHealth
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.transcript.standing import contents
from dropscribe.transcript.types import EngineFacts

SCHEMA = "dropscribe/status/1"
#: Larger than any status file, bytes.
MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something of the disk that a person should see to."""

    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Status:
    """One moment of the daemon. `state` is "starting", "ready" or "draining"; instants are epoch seconds."""

    state: str
    since: float
    engine: EngineFacts | None
    folders: tuple[FolderHealth, ...]
    in_flight: int
    unsettled: int
    storage: tuple[Complaint, ...] = ()


class StatusFile:
    """The file of one daemon. Owned by its main thread."""

    def __init__(self, location: DatabaseLocation) -> None:
        self._location = location
        self._log = logs.get("service")
        self._refused = False

    def renew(self, status: Status, now: float) -> None:
        """Put `status` on disk; where that cannot be done, say so once in the log, and go on."""
        try:
            write(self._location, status, now)
        except OSError as e:
            if not self._refused:
                logs.problem(self._log, logs.Action.STORAGE, f"cannot write the status file: {e}")
            self._refused = True
        else:
            self._refused = False


def status_path(location: DatabaseLocation) -> Path:
    """Where the status of the daemon on this database stands."""
    return location.beside(".status.json")


def write(location: DatabaseLocation, status: Status, now: float) -> None:
    """Put `status` on disk. Raises OSError."""
    target = status_path(location)
    temporary = target.with_name(f".{target.name}.tmp")
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "pid": os.getpid(),
        "state": status.state,
        "since": status.since,
        "updated": now,
        "engine": None if status.engine is None else _engine(status.engine),
        "folders": list(_folders(status.folders)),
        "in_flight": status.in_flight,
        "unsettled": status.unsettled,
        "storage": [asdict(c) for c in status.storage],
    }
    # Anew each time: whatever stands at that name is not written into.
    temporary.unlink(missing_ok=True)
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666
    )
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(escapes.dumps(document) + "\n")
    temporary.replace(target)


def read(location: DatabaseLocation) -> dict[str, Any] | None:
    """What the daemon on this database says of itself; None where there is no status file. Raises OSError, ValueError."""
    data = contents(status_path(location), MOST_BYTES)
    if data is None:
        return None
    document: dict[str, Any] = json.loads(data)
    return document


def remove(location: DatabaseLocation) -> None:
    """A stopped daemon has no status."""
    status_path(location).unlink(missing_ok=True)


def _engine(facts: EngineFacts) -> dict[str, Any]:
    return facts.record() | {"versions": dict(facts.versions)}


def _folders(folders: Iterable[FolderHealth]) -> Iterable[dict[str, str | None]]:
    for f in folders:
        path = os.fsencode(f.folder).decode("utf-8", "backslashreplace")
        yield {"path": path, "backend": f.backend, "problem": f.problem, "remedy": f.remedy}
