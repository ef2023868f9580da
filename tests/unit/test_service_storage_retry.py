"""A ledger that refuses is asked again; it is told once; and who stops does not wait."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dropscribe.errors import LedgerError, StorageError
from dropscribe.service.storage.storage_retry import RETRY_S, Postponable, StorageRetry

FULL = StorageError("full", operation="finish jobs", path=Path("/jobs.db"), remedy="free some space")


class Disk:
    """Refuses so many times."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.calls = 0

    def call(self) -> str:
        self.calls += 1
        if self.calls <= self.refusals:
            raise FULL
        return "done"


def test_a_call_is_made_until_it_is_taken_and_told_of_once() -> None:
    storage_retry, disk = StorageRetry(retry_s=0.0), Disk(5)
    seen: list[int] = []

    def call() -> str:
        seen.append(len(storage_retry.complaints()))
        return disk.call()

    with capture_logs() as lines:
        assert storage_retry.insist(call) == "done"
    assert seen == [0, 1, 1, 1, 1, 1]
    assert storage_retry.complaints() == ()
    assert [line["log_level"] for line in lines] == ["warning", "info"]
    assert all(word in lines[0]["event"] for word in ("finish jobs", "/jobs.db", "full"))
    assert lines[0]["remedy"] == "free some space"


def test_what_waiting_cannot_mend_is_raised_at_once() -> None:
    def damaged() -> None:
        raise LedgerError("malformed")

    with pytest.raises(LedgerError):
        StorageRetry(retry_s=0.0).insist(damaged)


def test_once_given_up_each_call_is_made_once() -> None:
    storage_retry, disk = StorageRetry(retry_s=3600.0), Disk(1)
    storage_retry.give_up()
    with pytest.raises(StorageError):
        storage_retry.insist(disk.call)
    assert storage_retry.insist(disk.call) == "done"


def test_a_step_that_is_refused_is_made_later_and_holds_nobody_up() -> None:
    now, disk, storage_retry = [100.0], Disk(2), StorageRetry()
    step = Postponable(storage_retry, disk.call, lambda: now[0])
    with capture_logs() as lines:
        assert [step(), step(), step()] == [False, False, False]
        assert disk.calls == 1
        now[0] += RETRY_S
        assert not step()
        assert len(storage_retry.complaints()) == 1
        now[0] += RETRY_S
        assert step()
    assert storage_retry.complaints() == ()
    assert len(lines) == 2


def test_two_threads_that_wait_for_the_same_are_one_complaint() -> None:
    storage_retry = StorageRetry()
    with capture_logs() as lines:
        storage_retry.refused(FULL)
        storage_retry.refused(FULL)
        storage_retry.taken(FULL)
        assert len(storage_retry.complaints()) == 1
        storage_retry.taken(FULL)
    assert storage_retry.complaints() == ()
    assert len(lines) == 2
