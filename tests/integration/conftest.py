"""Fixtures of the ledger's tests, which run on every implementation in `DATABASES`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger

Locate = Callable[[Path], DatabaseLocation]

#: By implementation: the location of a database of its own for each directory.
DATABASES: dict[str, Locate] = {"sqlite": lambda directory: DatabaseLocation(directory / "jobs.db")}


@pytest.fixture(params=DATABASES)
def locate(request: pytest.FixtureRequest) -> Locate:
    """Makes locations of one implementation, for tests that open several databases or one again."""
    return DATABASES[request.param]


@pytest.fixture
def location(locate: Locate, tmp_path: Path) -> DatabaseLocation:
    """Where nothing is yet."""
    return locate(tmp_path)


@pytest.fixture
def ledger(location: DatabaseLocation) -> Iterator[Ledger]:
    """A new ledger, open for work."""
    opened = open_ledger(location)
    yield opened
    opened.close()
