"""The process dropscribe-notify: open the ledger beside the daemon, and send until it is stopped."""

from __future__ import annotations

import os
import random
import select
import time
from collections.abc import Mapping
from contextlib import closing

from dropscribe import logs
from dropscribe.errors import DropscribeError, StorageError, UnusableLedgerError
from dropscribe.ledger.backend import open_beside
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.notify.sender import Sender
from dropscribe.notify_settings import NotifySettings
from dropscribe.service.control.signals import Signals
from dropscribe.service.monitoring.sd_notify import Notifier

#: Interval of looking for messages that are due, seconds.
TURN_S = 1.0
#: Interval of looking for a database that is not there yet, or not upgraded yet, seconds.
OPEN_S = 5.0
#: Time after an error of the disk or the database, seconds.
REST_S = 5.0
#: Longest wait for tries under way at a stop, seconds; below TimeoutStopSec of the unit.
DRAIN_S = 20.0


def serve(location: DatabaseLocation, targets: Mapping[str, NotifySettings], *, once: bool) -> int:
    """Send what is due, until SIGTERM; `once`: until nothing is due. Returns the number of messages left of those due.

    Raises DropscribeError if the database cannot be used; with `once` also if there is none yet.
    """
    log = logs.get("notify")
    notifier = Notifier.from_environment()
    with Signals() as signals:
        notifier.ready("waiting for the database")
        ledger = _open(location, signals, notifier, log, once=once)
        if ledger is None:
            return 0
        with closing(ledger):
            sender = Sender(ledger, targets, _worker(), time.time, random.random, signals.wake)
            logs.event(log, logs.Action.NOTIFY, f"ready: {len(targets)} targets, {location}")
            notifier.status(f"{len(targets)} targets")
            while not signals.stops:
                rest_s = TURN_S if _turn(sender, log) else REST_S
                notifier.watchdog(time.monotonic())
                if once and not sender.busy:
                    return sum(c.pending for c in ledger.outbox.counts().values())
                select.select([signals.wake_fd], [], [], rest_s)
                signals.drain()
            notifier.stopping()
            sender.settle(DRAIN_S)
    return 0


def _turn(sender: Sender, log: logs.Logger) -> bool:
    """One turn; False if storage refused it. Raises UnusableLedgerError."""
    try:
        sender.turn()
    except UnusableLedgerError:
        raise
    except StorageError as e:
        logs.problem(log, logs.Action.STORAGE, str(e))
        return False
    return True


def _open(
    location: DatabaseLocation, signals: Signals, notifier: Notifier, log: logs.Logger, *, once: bool
) -> Ledger | None:
    """The ledger beside the daemon; waits until there is one of this version. None: a stop was requested."""
    said = ""
    while not signals.stops:
        try:
            return open_beside(location)
        except DropscribeError as e:
            if once or isinstance(e, UnusableLedgerError):
                raise
            if str(e) != said:
                said = str(e)
                logs.problem(log, logs.Action.NOTIFY, f"waiting for the database: {said}")
        notifier.watchdog(time.monotonic())
        select.select([signals.wake_fd], [], [], OPEN_S)
        signals.drain()
    return None


def _worker() -> str:
    return f"{os.uname().nodename}:{os.getpid()}"
