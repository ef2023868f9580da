"""Open the database for a daemon and recover the jobs of its last run."""

from __future__ import annotations

import time
from contextlib import ExitStack

from dropscribe import __version__, logs
from dropscribe.config import Loaded, Settings
from dropscribe.errors import StorageError
from dropscribe.ledger import backend
from dropscribe.ledger.backend import library_warning
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.service.jobs.retry_policy import LONGEST_WAIT_S


def open_ledger(settings: Settings, stack: ExitStack, log: logs.Logger) -> Ledger:
    """Open the ledger, locked for this process until `stack` unwinds, and recover interrupted jobs.

    Raises AlreadyRunningError if another daemon uses it, LedgerError and StorageError if it cannot be used.
    """
    location = DatabaseLocation(settings.database)
    _make_directory(location)
    used_before = backend.was_locked(location)
    stack.callback(backend.lock_database(location).close)
    new = backend.is_empty(location)
    if not new:
        backend.check_at_start(location)
    ledger = backend.open_ledger(location)
    stack.callback(ledger.close)
    if new and used_before:
        logs.problem(
            log, logs.Action.LEDGER, f"{location} is new, although a daemon has worked with one of that name",
            remedy="if it was lost, stop the daemon and run 'dropscribe adopt DIR', so that nothing is done again",
        )  # fmt: skip
    if ledger.backup is not None:
        logs.event(log, logs.Action.LEDGER, f"upgraded; the old database is {ledger.backup}")
    now = time.time()
    if reset := ledger.reset_overlong_delays(now, LONGEST_WAIT_S):
        logs.event(log, logs.Action.LEDGER, f"reset {reset} overlong retry delays")
    if restored := ledger.restore_refused(now):
        logs.event(
            log,
            logs.Action.LEDGER,
            f"{restored} jobs that failed because of a damaged database are tried again",
        )
    recovered = ledger.recover(now)
    if recovered.unbegun:
        logs.event(log, logs.Action.LEDGER, f"{recovered.unbegun} claimed jobs are back in the queue")
    if recovered.suspects:
        logs.event(
            log,
            logs.Action.LEDGER,
            f"{recovered.suspects} jobs were interrupted when the daemon was killed; each is tried again alone",
        )
    if recovered.failed:
        logs.problem(
            log,
            logs.Action.JOB_FAILED,
            f"{recovered.failed} jobs failed: the daemon was killed each time it worked on them alone",
            remedy="'dropscribe jobs --state failed' lists them",
        )
    ledger.apply_recipes(settings.recipe)
    return ledger


def _make_directory(location: DatabaseLocation) -> None:
    try:
        location.directory.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StorageError(
            e.strerror or str(e),
            operation="create the folder of the database",
            path=location.directory,
            remedy="name another place with --database, or create the folder for the daemon's user",
        ) from e


def announcement(loaded: Loaded) -> list[str]:
    """Log lines for the start: version and origin of the settings, models, database, folders, warnings."""
    settings = loaded.settings
    origin = str(loaded.file) if loaded.file else "embedded defaults and command line"
    lines = [
        f"dropscribe {__version__}, settings from {origin}",
        f"model {settings.engine.models.asr}, VAD {settings.engine.models.vad}, device {settings.engine.device}",
        f"database {settings.database}",
        *(f"watching {f.path} (profile {f.profile})" for f in settings.folders),
    ]
    warning = library_warning()
    return lines if warning is None else [*lines, warning]
