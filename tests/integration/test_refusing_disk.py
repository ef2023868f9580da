"""What the main thread and the folders ask of a ledger that the disk refuses: told once, asked again, not died of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemon.config import Settings
from daemon.errors import StorageError
from daemon.ledger.ledger import Ledger
from daemon.service.activity import Activities
from daemon.service.conditions import FolderConditions
from daemon.service.free_space import FreeSpace
from daemon.service.on_record import OnRecord
from daemon.service.patience import RETRY_S, Patience
from daemon.service.storage_hangs import StorageHangs
from daemon.service.upkeep import Upkeep
from daemon.service.wall import Wall

FOLDER = Path("/drop")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(tmp_path / "jobs.db")
    yield opened
    opened.close()


def refused(ledger: Ledger, name: str, times: int, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Have a method of the ledger refused so often; returns what it was called with, in the end with success."""
    real, calls = getattr(ledger, name), []

    def method(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) <= times:
            raise StorageError("disk I/O error", operation=name, path=Path("/jobs.db"))
        return real(*arguments)

    monkeypatch.setattr(Ledger, name, lambda _, *arguments: method(*arguments))
    return calls


def test_recipes_that_are_refused_during_a_reload_are_handed_on_later(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    patience = Patience()
    space = FreeSpace(ledger, Settings(database=tmp_path / "jobs.db"))
    upkeep = Upkeep(
        ledger, Wall(lambda: now, lambda: now), space, FolderConditions(ledger, ()),
        StorageHangs(ledger, Activities(), Settings, lambda: now), patience=patience, clock=lambda: now, wake=lambda: None, claiming=lambda: False,
    )  # fmt: skip
    calls = refused(ledger, "adopt", 2, monkeypatch)
    upkeep.adopt(str)
    for _ in range(2):
        upkeep.tend()
        assert [e.operation for e in patience.complaints()] == ["adopt"]
        now += RETRY_S
    upkeep.tend()
    assert patience.complaints() == ()
    upkeep.tend()
    assert len(calls) == 3, "once it is handed on that is all"
    space.close()


def test_a_record_that_cannot_be_read_is_told_once_and_taken_back(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = Patience()
    on_record = OnRecord(ledger, patience)
    refused(ledger, "known", 2, monkeypatch)
    for _ in range(2):
        with pytest.raises(StorageError):
            list(on_record(FOLDER))
        assert [e.operation for e in patience.complaints()] == ["known"]
    assert list(on_record(FOLDER)) == []
    assert patience.complaints() == ()
