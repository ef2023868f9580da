"""Retries of ledger calls while storage fails: logged once, and ended by a shutdown."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dropscribe.errors import DatabaseLockedError, LedgerError, StorageError
from dropscribe.service.storage.storage_retry import LOCK_NOTICE_S, RETRY_S, Postponable, StorageRetry

FULL = StorageError("full", operation="finish jobs", path=Path("/jobs.db"), remedy="free some space")


class Disk:
    """Disk that fails the given number of times."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.calls = 0

    def call(self) -> str:
        self.calls += 1
        if self.calls <= self.refusals:
            raise FULL
        return "done"


def test_a_call_is_retried_until_it_succeeds_and_logged_once() -> None:
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


def test_other_errors_are_raised_at_once() -> None:
    def damaged() -> None:
        raise LedgerError("malformed")

    with pytest.raises(LedgerError):
        StorageRetry(retry_s=0.0).insist(damaged)


def test_after_give_up_each_call_is_made_once() -> None:
    storage_retry, disk = StorageRetry(retry_s=3600.0), Disk(1)
    storage_retry.give_up()
    with pytest.raises(StorageError):
        storage_retry.insist(disk.call)
    assert storage_retry.insist(disk.call) == "done"


def test_a_failed_step_is_retried_later_without_blocking() -> None:
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


def test_two_threads_with_the_same_failure_are_one_complaint() -> None:
    storage_retry = StorageRetry()
    with capture_logs() as lines:
        storage_retry.refused(FULL)
        storage_retry.refused(FULL)
        storage_retry.taken(FULL)
        assert len(storage_retry.complaints()) == 1
        storage_retry.taken(FULL)
    assert storage_retry.complaints() == ()
    assert len(lines) == 2


def locked(operation: str) -> DatabaseLockedError:
    return DatabaseLockedError(
        "it is locked by another process", operation=operation, path=Path("/jobs.db"), remedy="close it"
    )


def test_a_locked_database_is_one_fault_that_is_reported_if_it_lasts() -> None:
    now = [100.0]
    storage_retry = StorageRetry(clock=lambda: now[0], wall=lambda: 0.0)
    errors = [locked(name) for name in ("claim jobs", "renew leases", "admit recordings")]
    with capture_logs() as lines:
        for error in errors:
            storage_retry.refused(error)
        storage_retry.tend()
        assert storage_retry.complaints() == ()
        now[0] += LOCK_NOTICE_S
        for _ in range(100):
            storage_retry.tend()
        (complaint,) = storage_retry.complaints()
        assert "locked by another process, since 19" in complaint.reason
        now[0] += 60.0
        for error in errors:
            storage_retry.taken(error)
        assert storage_retry.complaints() == ()
    assert [line["event"] for line in lines] == [
        f"/jobs.db: {complaint.reason}; work goes on when it is free",
        "/jobs.db: not locked any more, after 65 s",
    ]


def test_a_short_wait_for_the_database_is_no_fault() -> None:
    now = [100.0]
    storage_retry = StorageRetry(clock=lambda: now[0])
    with capture_logs() as lines:
        for _ in range(10):
            storage_retry.refused(locked("claim jobs"))
            now[0] += LOCK_NOTICE_S / 2
            storage_retry.tend()
            storage_retry.taken(locked("claim jobs"))
    assert lines == []
