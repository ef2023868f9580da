"""A folder locked by another daemon: an error at the start, even if detected late; later the daemon waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dropscribe.errors import AlreadyRunningError
from dropscribe.intake.types import FolderHealth, FolderState
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.ledger.sql.ledger import SqlLedger
from dropscribe.service.admission.folder_state import FolderConditions

FOLDER, OTHER = Path("/drop"), Path("/other")


@pytest.fixture
def conditions(tmp_path: Path) -> Iterator[FolderConditions]:
    ledger = open_ledger(DatabaseLocation(tmp_path / "jobs.db"))
    yield FolderConditions(ledger, {FOLDER, OTHER})
    ledger.close()


def watched(folder: Path) -> FolderHealth:
    return FolderHealth(folder, "inotify", None, "", 0.0, FolderState.WATCHED)


def taken(folder: Path) -> FolderHealth:
    return FolderHealth(folder, "poll", "process 7 watches it", "stop that one", 0.0, FolderState.TAKEN)


def test_a_folder_locked_at_the_start_is_refused_even_if_detected_late(
    conditions: FolderConditions,
) -> None:
    conditions.take(watched(OTHER))
    conditions.refuse_taken()
    conditions.take(taken(FOLDER))
    with pytest.raises(AlreadyRunningError, match="process 7"):
        conditions.refuse_taken()


def test_a_folder_locked_by_another_later_does_not_end_the_daemon(conditions: FolderConditions) -> None:
    conditions.take(watched(FOLDER))
    conditions.take(taken(FOLDER))
    conditions.refuse_taken()


def test_a_locked_folder_added_by_reload_does_not_end_the_daemon(conditions: FolderConditions) -> None:
    conditions.take(taken(Path("/added")))
    conditions.refuse_taken()


def test_a_folder_is_watched_only_once_it_was_seen_and_while_it_is_there(
    conditions: FolderConditions,
) -> None:
    added = Path("/added")
    assert not conditions.is_watched(FOLDER)
    assert not conditions.is_watched(added)
    for folder in (FOLDER, added):
        conditions.take(watched(folder))
        assert conditions.is_watched(folder)
        conditions.take(FolderHealth(folder, "poll", "it is not mounted", "mount it", 0.0, FolderState.AWAY))
        assert not conditions.is_watched(folder)


def test_the_main_thread_does_not_wait_for_a_report_that_waits_for_the_database(
    conditions: FolderConditions, monkeypatch: pytest.MonkeyPatch
) -> None:
    holding, free = threading.Event(), threading.Event()

    def hold(*_: Any, **__: Any) -> int:
        holding.set()
        free.wait()
        return 0

    monkeypatch.setattr(SqlLedger, "hold", hold)
    report = threading.Thread(target=conditions.take, args=(taken(FOLDER),))
    report.start()
    holding.wait()
    conditions.keep({OTHER})
    conditions.tend(100.0)  # would never return
    free.set()
    report.join()
    conditions.tend(100.0)
    assert conditions._away == {}, "a folder that is not watched any more"
