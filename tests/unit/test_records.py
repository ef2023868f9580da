"""Records that processes send each other arrive as they were sent."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import pytest

from dropscribe.records import sent


@sent
@dataclass(frozen=True, slots=True)
class One:
    value: tuple[int, ...]


@sent
@dataclass(frozen=True, slots=True)
class Two:
    name: str
    one: One | None = None


@pytest.mark.parametrize("record", [One((1, 2)), One(()), Two("a"), Two("b", One((3,)))])
def test_a_record_arrives_as_it_was_sent(record: One | Two) -> None:
    arrived = pickle.loads(pickle.dumps(record))
    assert arrived == record
    assert type(arrived) is type(record)
