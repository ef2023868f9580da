"""Notify the service manager (sd_notify): one datagram to $NOTIFY_SOCKET per message; nothing if it is not set.

Protocol: sd_notify(3); watchdog: sd_watchdog_enabled(3).
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping

from dropscribe import escapes
from dropscribe.errors import DropscribeError

#: Interval of keep-alives as a share of the watchdog's interval, 5 s of 60: nearly all of it is left for a slow turn of the
#: main loop.
KEEP_ALIVE_SHARE = 1 / 12
#: How long the first READY waits for a manager that has not yet read what it was told before, seconds.
READY_WAIT_S = 30.0


def watchdog_interval_s(environ: Mapping[str, str] = os.environ, *, pid: int | None = None) -> float | None:
    """Watchdog interval of the service manager, seconds; None if the watchdog is off.

    Raises DropscribeError if $WATCHDOG_USEC or $WATCHDOG_PID is not a number.
    """
    interval = environ.get("WATCHDOG_USEC")
    if not interval:
        return None
    owner = environ.get("WATCHDOG_PID")
    try:
        # Children inherit the variables, but only the process started by the manager is watched.
        if owner and int(owner) != (os.getpid() if pid is None else pid):
            return None
        microseconds = int(interval)
    except ValueError as e:
        raise DropscribeError(
            f"WATCHDOG_USEC='{interval}' or WATCHDOG_PID='{owner}' is not a number",
            operation="read the watchdog's settings",
            remedy="unset them, or let systemd set them (WatchdogSec= in the unit)",
        ) from e
    return microseconds / 1e6 if microseconds > 0 else None


class Notifier:
    """Send the daemon's state to the service manager. Owned by the main thread.

    A datagram that cannot be delivered is dropped, except the first READY: a manager without keep-alives restarts the
    daemon anyway, and a failed status message must not interrupt recordings under way.
    """

    def __init__(self, address: str | None, interval_s: float | None = None) -> None:
        if address is not None and address[:1] not in ("/", "@"):
            raise DropscribeError(
                f"NOTIFY_SOCKET='{address}' is neither a path nor an abstract name",
                operation="find the service manager",
                remedy="unset it, or run under systemd",
            )
        self._address = address
        self._interval_s = interval_s
        self._next_keep_alive = 0.0
        self._announced = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Notifier:
        """Notifier for the manager that started this process. Raises DropscribeError for an invalid variable."""
        address = environ.get("NOTIFY_SOCKET") or None
        return cls(address, watchdog_interval_s(environ) if address else None)

    @property
    def active(self) -> bool:
        """True if there is a service manager to notify."""
        return self._address is not None

    def ready(self, status: str = "") -> None:
        """Report the end of start-up or of a reload.

        The first one waits up to `READY_WAIT_S` while the queue of the manager is full, which a boot or many services can
        make it: without it the start would count as failed. Raises DropscribeError if it cannot be delivered.
        """
        lines = ["READY=1", *([_status_line(status)] if status else [])]
        if self._announced:
            self._send(*lines)
            return
        try:
            self._deliver(*lines, wait_s=READY_WAIT_S)
        except OSError as e:
            remedy = "check that the unit allows AF_UNIX (RestrictAddressFamilies=)"
            if isinstance(e, TimeoutError):
                remedy = "the service manager does not read its messages: see why, or start the daemon again"
            raise DropscribeError(
                f"{self._address}: {e.strerror or e}",
                operation="tell the service manager that we are ready",
                remedy=remedy,
            ) from e
        self._announced = True

    def starting(self, text: str, for_s: float) -> None:
        """Set the status line before the first READY, and ask for at least `for_s` more seconds until it."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(for_s * 1e6)}", _status_line(text))

    def status(self, text: str) -> None:
        """Set the status line of `systemctl status`."""
        self._send(_status_line(text))

    def watchdog(self, now: float) -> None:
        """Send a keep-alive if one is due at `now` (monotonic seconds); call it after every turn with progress."""
        if self._interval_s is None or now < self._next_keep_alive:
            return
        self._next_keep_alive = now + self._interval_s * KEEP_ALIVE_SHARE
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Report the start of a reload; `ready` must follow."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Report the start of the shutdown."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        # May fail: see the docstring of the class.
        with contextlib.suppress(OSError):
            self._deliver(*lines)

    def _deliver(self, *lines: str, wait_s: float = 0.0) -> None:
        if self._address is None:
            return
        name = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
            # By default not at all: a manager that does not read must not block the daemon.
            s.settimeout(wait_s)
            # Only of a connected socket the system says when the other side has room again.
            s.connect(name)
            s.send("\n".join(lines).encode())


def _status_line(text: str) -> str:
    # A newline in the text would start another assignment of the protocol.
    return f"STATUS={escapes.one_line(' '.join(text.split()))}"
