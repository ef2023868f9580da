"""What the service manager is told: sd_notify, one datagram to $NOTIFY_SOCKET. Silent where there is none.

The protocol is described in sd_notify(3) and the watchdog in sd_watchdog_enabled(3).
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping

from dropscribe import escapes
from dropscribe.errors import DropscribeError

#: A keep-alive is sent this share of the watchdog's interval after the last one: half of it leaves room for
#: one slow turn of the main loop.
KEEP_ALIVE_SHARE = 0.5


def watchdog_interval_s(environ: Mapping[str, str] = os.environ, *, pid: int | None = None) -> float | None:
    """Seconds between two keep-alives the service manager waits at most; None where it does not watch us.

    Raises DropscribeError when $WATCHDOG_USEC or $WATCHDOG_PID is not a number.
    """
    interval = environ.get("WATCHDOG_USEC")
    if not interval:
        return None
    owner = environ.get("WATCHDOG_PID")
    try:
        # Children inherit the variables; only the process the manager started is watched.
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
    """Tells the service manager how we are. Owned by the daemon's main thread.

    A datagram that cannot be delivered is dropped, except the first READY: a manager that hears no keep-alive
    restarts us, and a recording under way must not end because a status line was refused.
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
        """The notifier for the manager that started this process. Raises DropscribeError on a bad variable."""
        address = environ.get("NOTIFY_SOCKET") or None
        return cls(address, watchdog_interval_s(environ) if address else None)

    @property
    def active(self) -> bool:
        """Whether there is anybody to tell."""
        return self._address is not None

    def ready(self, status: str = "") -> None:
        """Start-up, or a reload, is over. Raises DropscribeError when the first one cannot be delivered."""
        lines = ["READY=1", *([_status_line(status)] if status else [])]
        if self._announced:
            self._send(*lines)
            return
        try:
            self._deliver(*lines)
        except OSError as e:
            raise DropscribeError(
                f"{self._address}: {e.strerror or e}",
                operation="tell the service manager that we are ready",
                remedy="check that the unit allows AF_UNIX (RestrictAddressFamilies=)",
            ) from e
        self._announced = True

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(_status_line(text))

    def watchdog(self, now: float) -> None:
        """Keep-alive, if one is due at monotonic `now`; call it after every turn that made progress."""
        if self._interval_s is None or now < self._next_keep_alive:
            return
        self._next_keep_alive = now + self._interval_s * KEEP_ALIVE_SHARE
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Shutdown begins."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        # Why this is allowed to fail stands in the docstring of the class.
        with contextlib.suppress(OSError):
            self._deliver(*lines)

    def _deliver(self, *lines: str) -> None:
        if self._address is None:
            return
        name = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
            # A manager that does not read must not stop the daemon.
            s.setblocking(False)
            s.sendto("\n".join(lines).encode(), name)


def _status_line(text: str) -> str:
    # A newline in the text would begin another assignment.
    return f"STATUS={escapes.one_line(' '.join(text.split()))}"
