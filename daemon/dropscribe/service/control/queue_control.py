"""Apply to the running daemon what people asked for and what is on record: pauses, hours, drains, cancelled jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any, Protocol

from dropscribe import logs
from dropscribe.config import Settings
from dropscribe.ledger.backend import location_of
from dropscribe.ledger.control import Verb
from dropscribe.ledger.interface import Ledger
from dropscribe.service.control.commands import execute
from dropscribe.service.control.control_socket import ControlSocket, socket_path
from dropscribe.service.control.folder_rules import FolderRules, Wait
from dropscribe.service.control.requests import Request, check_database
from dropscribe.service.storage.storage_retry import Postponable, StorageRetry

#: Interval of reading the pauses on record and applying the hours of folders, seconds. The ledger itself refuses claims of
#: paused folders, so nothing new is begun in between.
RULES_S = 1.0


class Jobs(Protocol):
    """The jobs in progress; implemented by `service/jobs/dispatcher.py`."""

    def give_back(self, closed: Callable[[Path], bool]) -> None:
        """Return claimed jobs of closed folders to the queue that have not begun."""

    def check_leases(self) -> None:
        """Drop jobs that were cancelled."""

    def rules_changed(self) -> None:
        """Claim anew, because other jobs may be claimable."""


class QueueControl:
    """Owned by the main thread; requests are carried out by a thread of its own."""

    def __init__(
        self, ledger: Ledger, rules: FolderRules, settings: Callable[[], Settings], *,
        storage_retry: StorageRetry, wake: Callable[[], None],
    ) -> None:  # fmt: skip
        self._ledger = ledger
        self._rules = rules
        self._settings = settings
        self._wake = wake
        self._log = logs.get("service")
        self._location = location_of(settings())
        self._apply = Postponable(storage_retry, self._apply_rules, time.monotonic)
        self._stopped = Event()
        self._next = 0.0
        #: What waited at the last check, by folder and reason.
        self._waits: dict[tuple[Path | None, str], Wait] = {}
        self._jobs: Jobs | None = None

    @property
    def path(self) -> Path:
        """The control socket."""
        return self._socket.path

    @property
    def draining(self) -> bool:
        """True while the daemon is to end when nothing is in progress."""
        return self._rules.draining is not None

    def was_drained(self) -> bool:
        """True if a drain was asked for and the daemon was killed before it had ended; it has ended then."""
        self._rules.pauses = self._ledger.pauses()
        drain = self._rules.draining
        if drain is None:
            return False
        logs.event(
            self._log, logs.Action.CONTROL, f"drained, as asked by {drain.who}: start it again to go on"
        )
        self.end_drain()
        return True

    def end_drain(self) -> None:
        """Record that nothing is in progress any more, so that the next start works."""
        if self.draining:
            self._ledger.resume_folder(None, time.time(), "the daemon, drained", draining=True)

    def listen(self, stack: ExitStack) -> None:
        """Open the socket. Before other threads start: its permissions need a umask of its own for an instant."""
        thread = ThreadPoolExecutor(1, "control")
        # The request in progress ends after its batch of jobs; those behind it are not begun.
        stack.callback(thread.shutdown, cancel_futures=True)
        stack.callback(self._stopped.set)
        self._socket = ControlSocket(
            socket_path(self._location), thread, self._carry_out, done=self._done, wake=self._wake
        )
        self._socket.open()
        stack.callback(self._socket.close)

    def attach(self, jobs: Jobs) -> None:
        """Name the jobs that the rules apply to."""
        self._jobs = jobs

    def filenos(self) -> tuple[int, ...]:
        """Descriptors that become readable when somebody asks for something."""
        return self._socket.filenos()

    def tend(self, now: float) -> None:
        """Answer requests, and apply the rules every `RULES_S`. `now`: monotonic seconds."""
        self._socket.turn()
        if now >= self._next:
            self._next = now + RULES_S
            self._apply()

    def _carry_out(self, request: Request, who: str) -> dict[str, Any]:
        check_database(request, self._location)
        answer = execute(
            request, self._ledger, self._settings(), who=who, now=time.time(), stopped=self._stopped.is_set
        )
        said = f"{request.verb}, asked by {who}"
        logs.event(self._log, logs.Action.CONTROL, said, verb=request.verb.value, who=who)
        return answer

    def _done(self, request: Request) -> None:
        """Apply a request at once that is on record."""
        self._next = 0.0
        if self._jobs is not None:
            if request.verb is Verb.CANCEL:
                self._jobs.check_leases()
            self._jobs.rules_changed()

    def _apply_rules(self) -> None:
        self._rules.pauses = self._ledger.pauses()
        if self._jobs is None:
            return
        self._jobs.give_back(self._rules.is_closed)
        waits = {(w.folder, w.reason): w for w in self._rules.waits(()) if w.code != "pace"}
        if waits.keys() == self._waits.keys():
            return
        before, self._waits = self._waits, waits
        self._jobs.rules_changed()
        for changed in waits.keys() ^ before.keys():
            place = "all folders" if changed[0] is None else changed[0]
            over = "" if changed in waits else "over: "
            logs.event(self._log, logs.Action.CONTROL, f"{place}: {over}{changed[1]}")
