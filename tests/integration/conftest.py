"""Fixtures of the ledger's tests, which run with every database in `DATABASES`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dropscribe.engine import gpu_probe
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger

if TYPE_CHECKING:
    from tests.support.postgresql import Server


class Locate:
    """Hands out locations of new databases, and takes back what they were used for."""

    def __init__(self, server: Server | None) -> None:
        self._server = server
        self._taken: list[str] = []

    def __call__(self, directory: Path) -> DatabaseLocation:
        """A new location, with its files in a directory."""
        if self._server is None:
            return DatabaseLocation(directory / "jobs.db")
        self._taken.append(self._server.database())
        return DatabaseLocation(directory / "jobs", self._taken[-1])

    def release(self) -> None:
        """Use the databases for others; the ledgers on them are closed."""
        while self._server is not None and self._taken:
            self._server.give_back(self._taken.pop())


DATABASES = ("sqlite", "postgresql")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the ledger's own tests on every database, others and those marked `sqlite` on SQLite."""
    if "locate" in metafunc.fixturenames:
        own = metafunc.module.__name__.rpartition(".")[2].startswith("test_ledger_")
        only = metafunc.definition.get_closest_marker("sqlite") is not None
        costly = metafunc.definition.get_closest_marker("costly") is not None
        there = pytest.param(DATABASES[1], marks=[pytest.mark.soak] if costly else [])
        metafunc.parametrize("locate", [DATABASES[0], *([there] if own and not only else [])], indirect=True)


#: The process that imports torch to look for GPUs runs once.
_probe = cache(gpu_probe.probe)


@pytest.fixture(autouse=True)
def gpus_probed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer does not change between tests."""
    monkeypatch.setattr(gpu_probe, "probe", _probe)


@pytest.fixture
def locate(request: pytest.FixtureRequest) -> Iterator[Locate]:
    """Location of a new database by directory, for tests that open several databases or one twice."""
    found = Locate(None if request.param == "sqlite" else request.getfixturevalue("postgresql"))
    yield found
    found.release()


@pytest.fixture
def location(locate: Locate, tmp_path: Path) -> DatabaseLocation:
    """Location without anything on record."""
    return locate(tmp_path)


@pytest.fixture
def ledger(location: DatabaseLocation) -> Iterator[Ledger]:
    """A new ledger, open for writing, whose instants are those that the test passes."""
    opened = open_ledger(location, by_server_clock=False)
    yield opened
    opened.close()


@pytest.fixture
def there(postgresql: Server, tmp_path: Path) -> Iterator[DatabaseLocation]:
    """A database on the server, with our tables."""
    locate = Locate(postgresql)
    yield locate(tmp_path)
    locate.release()
