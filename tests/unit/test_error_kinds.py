"""Every kind of error crosses processes whole."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from dropscribe import errors
from dropscribe.errors import DropscribeError


def kinds(kind: type[DropscribeError] = DropscribeError) -> Iterator[type[DropscribeError]]:
    """All kinds of the module; others are made and caught in one process."""
    if kind.__module__ == errors.__name__:
        yield kind
    for inner in kind.__subclasses__():
        yield from kinds(inner)


@pytest.mark.parametrize("kind", sorted(set(kinds()), key=str))
def test_an_error_that_arrives_from_another_process_is_the_same(kind: type[DropscribeError]) -> None:
    made = kind("no space left", operation="write", path=Path("/in/a.txt"), remedy="make room")
    arrived = pickle.loads(pickle.dumps(made))
    assert (type(arrived), str(arrived)) == (kind, str(made))
    assert (arrived.operation, arrived.path, arrived.remedy) == ("write", Path("/in/a.txt"), "make room")
    assert arrived.with_reason("the disk is full").reason == "the disk is full"
