"""Replace a folder by a link between any two system calls of a function."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any


def swap(place: Path, target: Path) -> None:
    """Rename a directory to NAME-moved and put a link to `target` in its place."""
    place.rename(place.with_name(f"{place.name}-moved"))
    place.symlink_to(target)


def with_swap(work: Callable[[], object], nth: int, act: Callable[[], None]) -> tuple[Any, bool]:
    """Run `work`, and `act` before its `nth` system call (from 1); returns result or error, and whether `act` was run.

    Functions of `posix` and dropscribe's own openat2 count as system calls.
    """
    made = 0
    acted = False

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal made, acted
        called = event == "c_call" and getattr(argument, "__module__", None) == "posix"
        if called or (event == "call" and frame.f_code.co_name == "_openat2"):
            made += 1
            if made == nth:
                sys.setprofile(None)
                acted = True
                act()

    result: list[Any] = []

    def run() -> None:
        sys.setprofile(watch)
        try:
            result.append(work())
        except Exception as e:
            result.append(e)
        finally:
            sys.setprofile(None)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return result[0], acted
