"""Run a check with a time limit, since calls to a file system may never return."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from dropscribe.doctor.checks.record import Check, fail

#: Time limit of a check, seconds; enough for a disk to spin up.
ANSWER_S = 20.0


def answered(name: str, check: Callable[[], list[Check]], limit_s: float = ANSWER_S) -> list[Check]:
    """Result of `check`, or a failed check `name` if it takes longer than `limit_s`. Exceptions are passed on."""
    found: queue.SimpleQueue[list[Check] | BaseException] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found.put(check())
        except BaseException as e:
            found.put(e)

    # A daemon thread, not joined: one that hangs must not keep the process from exiting.
    threading.Thread(target=ask, name="check", daemon=True).start()
    try:
        result = found.get(timeout=limit_s)
    except queue.Empty:
        return [
            fail(
                name,
                f"its file system has not answered for {limit_s:.0f} s",
                "check the disk or the network share",
            )
        ]
    if isinstance(result, BaseException):
        raise result
    return result
