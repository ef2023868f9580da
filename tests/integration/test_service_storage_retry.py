"""Ledger calls of main thread and folders during storage failures: reported once, retried, not fatal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dropscribe.config import Settings
from dropscribe.errors import StorageError
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.sql.ledger import SqlLedger
from dropscribe.service.activity import Activities
from dropscribe.service.admission.folder_state import FolderConditions
from dropscribe.service.admission.intake_ports import OnRecord
from dropscribe.service.jobs.unusable_models import UnusableModels
from dropscribe.service.maintenance import Maintenance
from dropscribe.service.storage.disk_space import FreeSpace
from dropscribe.service.storage.hangs import StorageHangs
from dropscribe.service.storage.storage_retry import RETRY_S, StorageRetry
from dropscribe.service.storage.unwritable import UnwritableFolders
from dropscribe.service.wall_clock import WallClock

FOLDER = Path("/drop")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(DatabaseLocation(tmp_path / "jobs.db"))
    yield opened
    opened.close()


def refused(ledger: Ledger, name: str, times: int, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Make the first `times` calls of a ledger method raise StorageError; returns the arguments of all calls."""
    real, calls = getattr(ledger, name), []

    def method(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) <= times:
            raise StorageError("disk I/O error", operation=name, path=Path("/jobs.db"))
        return real(*arguments)

    monkeypatch.setattr(SqlLedger, name, lambda _, *arguments: method(*arguments))
    return calls


def test_recipes_refused_during_a_reload_are_applied_later(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    storage_retry = StorageRetry()
    space = FreeSpace(ledger, Settings(database=tmp_path / "jobs.db"))
    maintenance = Maintenance(
        ledger, WallClock(lambda: now, lambda: now), space, FolderConditions(ledger, ()),
        StorageHangs(ledger, Activities(), Settings, lambda: now), unwritable=UnwritableFolders(ledger, Settings, lambda: now), models=UnusableModels(ledger, Settings, lambda: now),
        storage_retry=storage_retry, clock=lambda: now, wake=lambda: None, claiming=lambda: False,
    )  # fmt: skip
    calls = refused(ledger, "apply_recipes", 2, monkeypatch)
    maintenance.adopt(str)
    for _ in range(2):
        maintenance.tend()
        assert [e.operation for e in storage_retry.complaints()] == ["apply_recipes"]
        now += RETRY_S
    maintenance.tend()
    assert storage_retry.complaints() == ()
    maintenance.tend()
    assert len(calls) == 3, "once it is handed on that is all"
    space.close()


def test_an_unreadable_record_is_reported_once_and_cleared(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage_retry = StorageRetry()
    on_record = OnRecord(ledger, storage_retry)
    refused(ledger, "known", 2, monkeypatch)
    for _ in range(2):
        with pytest.raises(StorageError):
            list(on_record(FOLDER))
        assert [e.operation for e in storage_retry.complaints()] == ["known"]
    assert list(on_record(FOLDER)) == []
    assert storage_retry.complaints() == ()
