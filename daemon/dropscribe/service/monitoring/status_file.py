"""The status file beside the database: state of the running daemon, for `dropscribe status`.

Schema `dropscribe/status/1`; replaced by rename, so that a reader never sees a partial file.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dropscribe import escapes, logs
from dropscribe.engine.protocol import HeldModel
from dropscribe.errors import DropscribeError
from dropscribe.escapes import readable
from dropscribe.intake.types import FolderHealth, UnsettledFile
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.pipeline.executor import Restarts, StationStatus
from dropscribe.service.control.folder_rules import Wait
from dropscribe.service.jobs.progress import JobProgress
from dropscribe.service.jobs.throughput import Load
from dropscribe.service.monitoring.atomic_file import replace_file
from dropscribe.transcript.placing.standing import contents
from dropscribe.transcript.types import EngineFacts

SCHEMA = "dropscribe/status/1"
#: Larger than any status file, bytes.
MOST_BYTES = 64 << 20
#: Most jobs in progress, and most files that are not complete, in the status file.
LISTED = 100


@dataclass(frozen=True, slots=True)
class Complaint:
    """A storage problem that needs the attention of a person."""

    problem: str
    remedy: str

    @classmethod
    def of(cls, error: DropscribeError) -> Complaint:
        return cls(f"{error.operation} {error.path}: {error.reason}", error.remedy)


@dataclass(frozen=True, slots=True)
class Free:
    """Free space on the disk of the database, and the least on those of transcripts, bytes; None: not known."""

    database: int | None = None
    transcripts: int | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """Snapshot of the daemon. `state`: "starting", "ready" or "draining"; `since`: its start, epoch seconds."""

    state: str
    since: float
    engine: EngineFacts | None
    folders: tuple[FolderHealth, ...]
    in_flight: int
    unsettled: int
    storage: tuple[Complaint, ...] = ()
    models: tuple[HeldModel, ...] = ()
    #: Jobs in progress and files not yet complete; at most `LISTED` of each are written.
    in_progress: tuple[JobProgress, ...] = ()
    unsettled_files: tuple[UnsettledFile, ...] = ()
    #: Why recordings wait, and the control socket.
    waits: tuple[Wait, ...] = ()
    control: Path | None = None
    #: For the metrics.
    restarts: Restarts = field(default_factory=Restarts)
    free: Free = field(default_factory=Free)
    load: Load | None = None
    #: If there are several.
    stations: tuple[StationStatus, ...] = ()


class StatusFile:
    """The file of one daemon. Owned by its main thread."""

    def __init__(self, location: DatabaseLocation) -> None:
        self._location = location
        self._log = logs.get("service")
        self._refused = False

    def renew(self, status: Status, now: float) -> None:
        """Write `status`; a failure is logged once and otherwise ignored."""
        try:
            write(self._location, status, now)
        except OSError as e:
            if not self._refused:
                logs.problem(self._log, logs.Action.STORAGE, f"cannot write the status file: {e}")
            self._refused = True
        else:
            self._refused = False


def status_path(location: DatabaseLocation) -> Path:
    """Path of the status file of the daemon on this database."""
    return location.beside(".status.json")


def write(location: DatabaseLocation, status: Status, now: float) -> None:
    """Replace the status file. Raises OSError."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "pid": os.getpid(),
        "state": status.state,
        "since": status.since,
        "updated": now,
        "engine": None if status.engine is None else _engine(status.engine),
        "models": [_model(one) for one in status.models],
        "nodes": [_node(one) for one in status.stations],
        "folders": list(_folders(status.folders)),
        "in_flight": status.in_flight,
        "unsettled": status.unsettled,
        "storage": [asdict(c) for c in status.storage],
        "in_progress": [_progress(job) for job in status.in_progress[:LISTED]],
        "waits": [_wait(wait) for wait in status.waits],
        "load": None if status.load is None else _load(status.load),
        "control": None if status.control is None else readable(status.control),
        "unsettled_files": [_unsettled(file) for file in status.unsettled_files[:LISTED]],
    }
    replace_file(status_path(location), escapes.dumps(document) + "\n")


def read(location: DatabaseLocation) -> dict[str, Any] | None:
    """Read the status document; None if there is no status file. Raises OSError, ValueError."""
    data = contents(status_path(location), MOST_BYTES)
    if data is None:
        return None
    document: dict[str, Any] = json.loads(data)
    return document


def remove(location: DatabaseLocation) -> None:
    """Remove the status file, because a stopped daemon has no status; what cannot be removed is recognised by its pid."""
    with contextlib.suppress(OSError):
        status_path(location).unlink()


def _engine(facts: EngineFacts) -> dict[str, Any]:
    return facts.record() | {"versions": dict(facts.versions)}


def _model(one: HeldModel) -> dict[str, str | int | None]:
    return {
        "role": one.role, "name": readable(one.name), "state": one.state, "bytes": one.size,
        "problem": one.problem or None,
    }  # fmt: skip


def _node(one: StationStatus) -> dict[str, str | int | None]:
    return {
        "name": readable(one.name), "device": one.device or None, "state": str(one.state), "reason": one.reason or None,
        "in_progress": one.in_progress,
    }  # fmt: skip


def _folders(folders: Iterable[FolderHealth]) -> Iterable[dict[str, str | None]]:
    for f in folders:
        yield {"path": readable(f.folder), "backend": f.backend, "problem": f.problem, "remedy": f.remedy}


def _progress(job: JobProgress) -> dict[str, Any]:
    return {
        "job": job.job,
        "recording": readable(job.recording),
        "stage": str(job.stage),
        "position_ms": job.position_ms,
        "duration_ms": job.duration_ms,
        "elapsed_s": round(job.elapsed_s, 1),
    }


def _wait(wait: Wait) -> dict[str, Any]:
    return {
        "folder": None if wait.folder is None else readable(wait.folder),
        "code": wait.code,
        "reason": wait.reason,
        "until": wait.until,
    }


def _load(load: Load) -> dict[str, float]:
    return {name: round(value, 3) for name, value in asdict(load).items()}


def _unsettled(file: UnsettledFile) -> dict[str, Any]:
    return {
        "path": readable(file.path),
        "code": file.reason.code,
        "reason": file.reason.text,
        "since": round(file.since, 3),
    }
