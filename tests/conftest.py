"""Fixtures shared by every kind of test."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import settings

if TYPE_CHECKING:
    from tests.support.postgresql import Server

# The terminal from which the tests were started says nothing of the ones that the tests open.
for _name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(_name, None)
# Processes that the tests start keep the bytecode of dropscribe, instead of compiling all of it again each.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Threads of torch that wait for others sleep, as in the engine process, instead of using the cores of other tests. Read
# when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# How long an example takes says nothing of the product.
settings.register_profile("dropscribe", deadline=None)
settings.load_profile("dropscribe")


#: Folders of tests that wait most of the time, for processes; and, of those that compute, the first. Others follow.
_WAITING, _COMPUTING = ("browser", "e2e"), "integration"


# The collector would go through thousands of new modules and tests again and again, none of which is garbage.
gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """After the collection of tests."""
    gc.freeze()
    gc.enable()


def pytest_sessionstart() -> None:
    """Start the processes of dropscribe without their imports; see `tests.support.forked`."""
    from tests.support import forked  # noqa: PLC0415 - remembers the environment as it is now

    forked.copy_children()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that several workers end at about the same time.

    Files of tests that wait and of tests that compute take turns, so that neither the processors nor the workers idle.
    """
    here = Path(__file__).parent
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    folders = {path: path.relative_to(here).parts[0] for path in files}
    waiting = [path for path in files if folders[path] in _WAITING]
    computing = sorted(
        (p for p in files if folders[p] not in _WAITING), key=lambda p: folders[p] != _COMPUTING
    )
    turns = chain.from_iterable(zip_longest(waiting, computing))
    items[:] = [item for path in turns if path is not None for item in files[path]]


@pytest.fixture(autouse=True)
def logging_of_its_own() -> Iterator[None]:
    """What one test configured (a stream that pytest closes after it) does not reach the next."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def signals_of_its_own() -> Iterator[None]:
    """A service that ran in this process ignores signals at its end: later tests, and what they start, must not."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The project's collection of real recordings, damaged files and reference models; skips where it is absent."""
    named = os.environ.get("DROPSCRIBE_SHARED")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"the shared recordings are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server, one a test process. Skips where Debian's is not installed."""
    pytest.importorskip("psycopg")
    from tests.support import postgresql  # noqa: PLC0415 - imports the driver

    if postgresql.programs() is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    server = postgresql.Server()
    yield server
    server.stop()
