"""Open the database for a daemon and recover the jobs of its last run."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

from dropscribe import __version__, logs
from dropscribe.config import Loaded, Settings
from dropscribe.errors import DatabaseLockedError, StorageError
from dropscribe.ledger import backend
from dropscribe.ledger.backend import library_warning, location_of
from dropscribe.ledger.interface import DatabaseLocation, Ledger, Lock
from dropscribe.service.jobs.retry_policy import LONGEST_WAIT_S
from dropscribe.service.monitoring.events import subscriptions_of

#: Longest wait of one attempt for a locked database, and the time between two attempts, seconds.
LOCK_WAIT_S = 2.0
LOCK_RETRY_S = 0.5
#: Longest wait for the end of the opening at a stop, seconds.
ABANDON_S = 5.0


class LedgerOpening:
    """Lock the database, then open it and recover interrupted jobs in a thread of its own, for as long as that takes.

    Opening takes minutes if a large database is upgraded, and waits while another process has it locked.
    """

    def __init__(self, settings: Settings, stack: ExitStack, log: logs.Logger) -> None:
        """Raises AlreadyRunningError if another daemon uses the database, StorageError if it cannot be locked.

        It is locked for this process until `stack` unwinds.
        """
        self._settings = settings
        self._log = log
        self._location = location_of(settings)
        _make_directory(self._location)
        self._used_before = backend.was_locked(self._location)
        self._lock = backend.lock_database(self._location)
        stack.callback(self._lock.close)
        self._abandoned = threading.Event()
        self._result: Ledger | None = None
        self._error: BaseException | None = None
        #: Why it does not go on, while another process has the database locked. Read by the main thread.
        self.locked: DatabaseLockedError | None = None
        self._thread = threading.Thread(target=self._run, name="open", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> Ledger | None:
        """Wait at most `seconds` for the open ledger, which the caller must close; None if it is not open yet.

        Raises what opening it has raised.
        """
        self._thread.join(seconds)
        if self._error is not None:
            raise self._error
        return self._result

    def abandon(self) -> bool:
        """Give up, for a stop; returns False if the thread is still in a call that cannot be ended."""
        self._abandoned.set()
        self._thread.join(ABANDON_S)
        if self._result is not None:
            self._result.close()
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while self._result is None:
                try:
                    self._result = _opened(
                        self._settings,
                        self._location,
                        self._lock,
                        self._log,
                        used_before=self._used_before,
                    )
                except DatabaseLockedError as e:
                    if self.locked is None:
                        logs.problem(
                            self._log, logs.Action.STORAGE, f"{e.path}: {e.reason}; the start goes on when it is free",
                            remedy=e.remedy,
                        )  # fmt: skip
                    self.locked = e
                    if self._abandoned.wait(LOCK_RETRY_S):
                        return
        except BaseException as e:
            self._error = e


def _opened(
    settings: Settings, location: DatabaseLocation, lock: Lock, log: logs.Logger, *, used_before: bool
) -> Ledger:
    """Open the ledger and recover the jobs of the last run. Raises LedgerError and StorageError if it cannot be used."""
    new = backend.is_empty(location)
    if not new:
        backend.check_at_start(location)
    ledger = backend.open_ledger(location, lock)
    try:
        ledger.subscribe(subscriptions_of(settings))
        with ledger.limit_waits(LOCK_WAIT_S):
            _recover(settings, ledger, log)
    except BaseException:
        ledger.close()
        raise
    if new and used_before:
        logs.problem(
            log, logs.Action.LEDGER, f"{location} is new, although a daemon has worked with one of that name",
            remedy="if it was lost, stop the daemon and run 'dropscribe adopt DIR', so that nothing is done again",
        )  # fmt: skip
    if ledger.backup is not None:
        logs.event(log, logs.Action.LEDGER, f"upgraded; the old database is {ledger.backup}")
    return ledger


def _recover(settings: Settings, ledger: Ledger, log: logs.Logger) -> None:
    """Put the jobs of the last run in order. May be repeated after an error."""
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
        logs.event(log, logs.Action.LEDGER, f"claimed jobs returned to the queue: {recovered.unbegun}")
    if recovered.suspects:
        logs.event(
            log,
            logs.Action.LEDGER,
            f"jobs interrupted when the daemon was killed: {recovered.suspects}; each is tried again alone",
        )
    if recovered.failed:
        logs.problem(
            log,
            logs.Action.JOB_FAILED,
            f"jobs failed, since the daemon was killed each time it worked on one alone: {recovered.failed}",
            remedy="'dropscribe jobs --state failed' lists them",
        )
    ledger.apply_recipes(settings.recipe)
    ledger.apply_priorities({f.path: f.priority for f in settings.folders})


def _make_directory(location: DatabaseLocation) -> None:
    try:
        location.directory.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StorageError.from_system(
            e,
            operation="create the folder of the database",
            path=location.directory,
            remedy="name another place with --database, or create the folder for the daemon's user",
        ) from e


def announcement(loaded: Loaded) -> list[str]:
    """Log lines for the start: version and origin of the settings, models, database, folders, warnings."""
    settings = loaded.settings
    origin = f"{loaded.file} ({loaded.how})" if loaded.file else "embedded defaults and command line"
    lines = [
        f"dropscribe {__version__}, settings from {origin}",
        *(
            f"model {models.asr}, VAD {models.vad}, device {settings.engine.device}"
            for models in settings.engine.sets
        ),
        f"database {location_of(settings)}",
        *(f"watching {f.path} (profile {f.profile})" for f in settings.folders),
        *loaded.notes,
    ]
    warning = library_warning()
    return lines if warning is None else [*lines, warning]
