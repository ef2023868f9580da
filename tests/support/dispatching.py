"""A dispatcher whose turns are run by a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import cast
from unittest.mock import create_autospec

import pytest

from dropscribe.config import Settings
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import JobState
from dropscribe.pipeline.executor import Executor
from dropscribe.pipeline.problem import Problem
from dropscribe.service.jobs.beginning import Beginning
from dropscribe.service.jobs.claimer import Claimer, Clocks
from dropscribe.service.jobs.dispatcher import Dispatcher
from dropscribe.service.jobs.unusable_models import UnusableModels
from dropscribe.service.publishing.failure_notes import FailureNotes
from dropscribe.service.publishing.partial_writer import Partials
from dropscribe.service.publishing.publisher import Publisher
from dropscribe.service.storage.storage_retry import StorageRetry
from dropscribe.service.wall_clock import WallClock
from tests.support.claiming import AtOnce

START = 1_000.0


class Turning:
    """A dispatcher with a mock executor; with `room` 0 all decoders are busy and claimed jobs do not start."""

    def __init__(
        self, ledger: Ledger, *, limit: int = 10, room: int = 0,
        thread: futures.Executor | None = None, begin: futures.Executor | None = None,
    ) -> None:  # fmt: skip
        self.now = START
        #: Storage failures and their retries.
        self.storage_retry = StorageRetry()
        #: Offset of the system's clock from `now`, seconds.
        self.ahead = 0.0
        self.wall = WallClock(lambda: self.now, lambda: self.now + self.ahead)
        #: Number of times that the claiming or the beginning thread has woken the main thread.
        self.woken = 0
        self.has_room: Callable[[], bool] = lambda: True
        #: Watched folders without space for the results of their jobs.
        self.full: list[Path] = []
        #: Settings with the recipe of `ledgers.admission`.
        # The recipe is that of the jobs in tests.support.ledgers.
        off = {"default": {"punctuation": "off"}}
        self.settings = Settings.model_validate(
            {"engine": {"model": "mini", "vad_model": "vad"}, "profiles": off}
        )
        #: Number of times that an outdated recipe was found.
        self.outdated = 0
        #: Recordings whose outputs may not be written, with the problem.
        self.unwritable: list[tuple[Path, Problem]] = []
        self.executor = executor = create_autospec(Executor, instance=True, spec_set=True)
        executor.room.return_value = room
        executor.turn.return_value = []
        executor.heard.return_value = None
        self.publisher = publisher = create_autospec(Publisher, instance=True)
        publisher.completed.return_value = []
        publisher.waiting = frozenset()
        publisher.notes = create_autospec(FailureNotes, instance=True)
        publisher.partials = create_autospec(Partials, instance=True)
        clocks = Clocks(lambda: self.now, self.wall.now)
        self.claiming = Claimer(
            ledger, thread or AtOnce(), self.wake, worker="w", limit=limit,
            clocks=clocks, storage_retry=self.storage_retry, has_room=self.look_for_room,
            full=lambda: self.full,
        )  # fmt: skip
        self.beginning = Beginning(
            ledger, begin or AtOnce(), self.wake, storage_retry=self.storage_retry, clock=lambda: self.now
        )
        self.models = UnusableModels(ledger, lambda: self.settings, lambda: self.now, self.wall.now)
        self.dispatcher = Dispatcher(
            ledger, cast("Executor", executor), cast("Publisher", publisher), self.claiming, self.beginning,
            settings=lambda: self.settings, clocks=clocks, storage_retry=self.storage_retry, outdated=self.find_outdated,
            unwritable=lambda claim, problem: self.unwritable.append((claim.path, problem)), models=self.models,
        )  # fmt: skip

    def wake(self) -> None:
        self.woken += 1

    def look_for_room(self) -> bool:
        return self.has_room()

    def find_outdated(self) -> None:
        self.outdated += 1

    def turn(self, after_s: float = 0.0) -> None:
        self.now += after_s
        self.dispatcher.wake()
        self.dispatcher.turn(0.0, (), claiming=True)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(DatabaseLocation(tmp_path / "jobs.db"))
    yield opened
    opened.close()


def states(ledger: Ledger) -> list[JobState]:
    return [job.state for job in ledger.jobs(oldest_first=True)]
