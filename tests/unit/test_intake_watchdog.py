"""watchdog's `inotify_c`, which is no public interface: that it still has what `dropscribe.intake.backends` uses of it."""

from __future__ import annotations

import inspect
import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from watchdog.observers import inotify_c

ROOT = Path(__file__).resolve().parents[2]
REMEDY = (
    "watchdog's private module watchdog.observers.inotify_c has changed. Either pin the last version of watchdog that "
    "works (constraints.txt, and the bound in pyproject.toml), or adapt InotifyBackend in daemon/dropscribe/intake/backends.py and "
    "this table, then run tests/integration/test_intake_*.py and tests/e2e/test_watching.py and raise the bound. "
    "If watchdog offers it no more, write the inotify calls in backends.py with ctypes: InotifyBackend is its only user."
)

#: Parameters, as `InotifyBackend` passes them or watchdog passes them to it.
USED: dict[tuple[str, str], tuple[str, ...]] = {
    ("InotifyFD", "__init__"): ("self",),
    ("InotifyFD", "start"): ("self",),
    ("InotifyFD", "stop"): ("self",),
    ("InotifyFD", "is_alive"): ("self",),
    ("InotifyFD", "add_callback"): ("self", "path", "mask", "callback", "id_"),
    ("InotifyFD", "remove_callbacks"): ("self", "callbacks"),
    ("WatchCallback", "on_event"): ("self", "event"),
    ("WatchCallback", "on_watch_deleted"): ("self", "wd"),
    ("WatchCallback", "on_queue_overflow"): ("self",),
}
CONSTANTS = (
    "IN_CREATE IN_MOVED_TO IN_CLOSE_WRITE IN_MOVED_FROM IN_DELETE IN_DELETE_SELF IN_MOVE_SELF IN_ONLYDIR"
)


@pytest.mark.parametrize(("kind", "method"), USED)
def test_the_methods_in_use_are_there(kind: str, method: str) -> None:
    owner: Any = getattr(inotify_c, kind, None)
    used: Any = getattr(owner, method, None)
    assert callable(used), f"{kind}.{method} is gone. {REMEDY}"
    found = tuple(inspect.signature(used).parameters)
    assert found == USED[kind, method], f"{kind}.{method} takes {found}. {REMEDY}"


def test_the_callbacks_are_all_that_watchdog_calls() -> None:
    called = {name for name in vars(inotify_c.WatchCallback) if name.startswith("on_")}
    assert called == {method for kind, method in USED if kind == "WatchCallback"}, REMEDY


@pytest.mark.parametrize("name", CONSTANTS.split())
def test_the_event_masks_are_there(name: str) -> None:
    assert isinstance(getattr(inotify_c.InotifyConstants, name, None), int), f"{name} is gone. {REMEDY}"


def test_the_next_major_version_is_not_installed_unread() -> None:
    """What is private may change with any release, but a new major version is where to expect it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (requirement,) = [r for r in project["dependencies"] if r.startswith("watchdog")]
    bound = re.fullmatch(r"watchdog>=\d+(?:\.\d+)*,<(\d+)", requirement)
    assert bound is not None, f"'{requirement}' has no bound above. {REMEDY}"
    assert int(version("watchdog").split(".", maxsplit=1)[0]) < int(bound[1]), REMEDY
