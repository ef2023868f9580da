"""Fixtures of the ledger's tests, which run with every implementation in `DATABASES`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger

Locate = Callable[[Path], DatabaseLocation]

#: Implementation → function that returns the location of a database in a directory.
DATABASES: dict[str, Locate] = {"sqlite": lambda directory: DatabaseLocation(directory / "jobs.db")}


@pytest.fixture(params=DATABASES)
def locate(request: pytest.FixtureRequest) -> Locate:
    """Location of a database by directory, for tests that open several databases or one twice."""
    return DATABASES[request.param]


@pytest.fixture
def location(locate: Locate, tmp_path: Path) -> DatabaseLocation:
    """Location without a database."""
    return locate(tmp_path)


@pytest.fixture
def ledger(location: DatabaseLocation) -> Iterator[Ledger]:
    """A new ledger, open for writing."""
    opened = open_ledger(location)
    yield opened
    opened.close()
