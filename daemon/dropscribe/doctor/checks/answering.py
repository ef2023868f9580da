"""Checks that ask a file system, which may never answer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from dropscribe.doctor.checks.record import Check, fail

#: Longest wait for a file system, seconds; a disk that has to start takes some.
ANSWER_S = 20.0


def answered(name: str, check: Callable[[], list[Check]], limit_s: float = ANSWER_S) -> list[Check]:
    """The checks, or one named `name` that says that the file system does not answer. What `check` raises is raised."""
    found: queue.SimpleQueue[list[Check] | BaseException] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found.put(check())
        except BaseException as e:
            found.put(e)

    # Never waited for: it ends with the process.
    threading.Thread(target=ask, name="check", daemon=True).start()
    try:
        result = found.get(timeout=limit_s)
    except queue.Empty:
        return [
            fail(
                name,
                f"its file system has not answered for {limit_s:.0f} s",
                "see to the disk or the network share",
            )
        ]
    if isinstance(result, BaseException):
        raise result
    return result
