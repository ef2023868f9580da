"""What people asked for reaches the running daemon, also when it was written to the ledger by another process."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import pytest

from dropscribe.config import Settings
from dropscribe.ledger.control import Change, Verb
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import JobState
from dropscribe.service.control.folder_rules import FolderRules
from dropscribe.service.control.queue_control import QueueControl
from dropscribe.service.control.requests import BATCH, Request
from dropscribe.service.storage.storage_retry import StorageRetry
from tests.support.dispatching import Turning, states
from tests.support.ledgers import FOLDER, admission


class Controlled:
    """A dispatcher with rules and control, without a socket."""

    def __init__(self, ledger: Ledger, tmp_path: Path) -> None:
        self.w = Turning(ledger)
        self.settings = Settings.model_validate(
            {"database": str(tmp_path / "jobs.db"), "folder": [{"path": str(FOLDER)}]}
        )
        self.rules = FolderRules(lambda: self.settings, wall=time.time, monotonic=time.monotonic)
        self.control = QueueControl(
            ledger, self.rules, lambda: self.settings, storage_retry=StorageRetry(), wake=lambda: None
        )
        self.control.attach(self.w.dispatcher)

    def apply(self) -> None:
        self.control._apply_rules()


@pytest.fixture
def controlled(ledger: Ledger, tmp_path: Path) -> Controlled:
    return Controlled(ledger, tmp_path)


def test_what_was_only_claimed_goes_back_when_its_folder_is_paused(
    ledger: Ledger, controlled: Controlled
) -> None:
    ledger.admit([admission(f"{n}.wav", str(n)) for n in range(3)], 1.0)
    controlled.w.turn()
    controlled.w.turn()
    assert states(ledger) == [JobState.RUNNING] * 3
    ledger.pause(FOLDER, 2.0, "anna")
    controlled.apply()
    controlled.w.turn()
    assert states(ledger) == [JobState.QUEUED] * 3
    ledger.resume_folder(FOLDER, 3.0, "anna")
    controlled.apply()
    controlled.w.turn()
    controlled.w.turn()
    assert states(ledger) == [JobState.RUNNING] * 3
    assert all(job.attempts == 0 for job in ledger.jobs())


def test_a_stop_waits_for_one_batch_of_jobs_and_begins_no_other_request(
    ledger: Ledger, controlled: Controlled, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.admit([admission(f"{n}.wav", str(n)) for n in range(BATCH + 1)], 1.0)
    begun = Event()
    cancel, cancelled = ledger.cancel_jobs, list[int]()

    def slow(jobs: Sequence[int], now: float, who: str) -> list[Change]:
        begun.set()
        assert controlled.control._stopped.wait(60.0)
        cancelled.append(len(jobs))
        return cancel(jobs, now, who)

    monkeypatch.setattr(ledger, "cancel_jobs", slow)
    monkeypatch.chdir(controlled.control._location.directory)  # the path of a socket is short
    with ExitStack() as stack:
        controlled.control.listen(stack)
        for request in (Request(Verb.CANCEL, everything=True), Request(Verb.PAUSE, folder=str(FOLDER))):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(controlled.control.path.name)
            client.sendall(json.dumps(request.record()).encode() + b"\n")
            controlled.control.tend(0.0)
        assert begun.wait(60.0)
    assert cancelled == [BATCH]
    assert ledger.pauses() == []


def test_a_drain_that_a_kill_interrupted_has_ended_at_the_next_start(
    ledger: Ledger, controlled: Controlled
) -> None:
    ledger.pause(None, 2.0, "anna", draining=True)
    assert controlled.control.was_drained()
    assert ledger.pauses() == []
    assert not controlled.control.was_drained()
