"""Fixtures shared by every kind of test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

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


#: Folders of tests in the order in which they begin; those of the others follow.
_FIRST = ("e2e", "integration", "contract")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: several workers then end at about the same time."""
    rank = {name: i for i, name in enumerate(_FIRST)}
    here = Path(__file__).parent
    items.sort(key=lambda item: rank.get(item.path.relative_to(here).parts[0], len(_FIRST)))


@pytest.fixture(autouse=True)
def logging_of_its_own() -> Iterator[None]:
    """What one test configured (a stream that pytest closes after it) does not reach the next."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The project's collection of real recordings, damaged files and reference models; skips where it is absent."""
    named = os.environ.get("DROPSCRIBE_SHARED")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"the shared recordings are not at {folder}")
    return folder
