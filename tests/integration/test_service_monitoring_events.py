"""What the daemon finds to be told besides the ends of jobs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dropscribe.config import Settings
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import AWAY, UNWRITABLE
from dropscribe.pipeline.executor import Restarts
from dropscribe.service.jobs.claimer import Clocks
from dropscribe.service.monitoring.events import LOOK_S, EventWatch, subscriptions_of
from dropscribe.service.monitoring.status_file import Complaint
from dropscribe.service.storage.storage_retry import StorageRetry
from tests.support.ledgers import FOLDER, admission

SETTINGS = Settings.model_validate(
    {
        "folder": [{"path": str(FOLDER)}],
        "service": {"backlog_s": 600},
        "notify": [{"name": "ops", "command": ["true"], "folders": [str(FOLDER)]}],
    }
)


@dataclass
class Watched:
    """A watch whose surroundings a test sets."""

    ledger: Ledger
    wall: float = 1_000.0
    turns: float = 0.0
    low: list[Complaint] = field(default_factory=list)
    restarts: Restarts = field(default_factory=Restarts)

    def __post_init__(self) -> None:
        self.ledger.subscribe(subscriptions_of(SETTINGS))
        self.watch = EventWatch(
            self.ledger, lambda: SETTINGS, StorageRetry(), Clocks(lambda: self.turns, lambda: self.wall),
            low_disks=lambda: self.low, restarts=lambda: self.restarts,
        )  # fmt: skip

    def told(self, seconds: float = LOOK_S) -> list[tuple[str, dict[str, Any]]]:
        """Kinds and facts of the events of the next look, after so many seconds."""
        self.wall += seconds
        self.turns += seconds
        self.watch.tend(self.turns)
        claimed = self.ledger.outbox.claim("test", self.wall, 1.0, {"ops": 100})
        for message in claimed:
            self.ledger.outbox.sent(message, self.wall)
        return [(e.kind.value, dict(e.facts)) for m in claimed for e in m.events]


@pytest.fixture
def watched(ledger: Ledger) -> Watched:
    return Watched(ledger)


def test_held_recordings_of_a_folder_are_told_once_with_their_number(watched: Watched) -> None:
    watched.ledger.admit([admission(f"{i}.wav", str(i)) for i in range(3)], watched.wall)
    assert watched.told() == []
    watched.ledger.hold(FOLDER, watched.wall, reason="it is not mounted", remedy="mount it")
    ((kind, facts),) = watched.told()
    assert (kind, facts["code"], facts["jobs"]) == ("held", AWAY, 3)
    assert (facts["folder"], facts["reason"], facts["remedy"]) == (
        str(FOLDER),
        "it is not mounted",
        "mount it",
    )
    assert watched.told() == []
    watched.ledger.resume(FOLDER, watched.wall)
    assert watched.told(300.0) == []


def test_folders_that_are_held_for_the_same_reason_are_told_one_by_one(ledger: Ledger) -> None:
    watched = Watched(ledger)
    # The target wants `FOLDER` only, whose job is younger than those of the other folder.
    other = Path("/srv/other")
    others = [admission(folder=other, path=other / f"{i}.wav", sha256=f"other-{i}") for i in range(2)]
    ledger.admit(
        [*others, admission("a.wav"), admission("b.wav", "two"), admission("c.wav", "three")], watched.wall
    )
    for folder in (other, FOLDER):
        ledger.hold(folder, watched.wall, reason="the server is away", remedy="start it")
    ((kind, facts),) = watched.told()
    assert (kind, facts["folder"], facts["jobs"]) == ("held", str(FOLDER), 3)
    assert [(h.folder, h.code, h.count) for h in ledger.held_folders()] == [
        (FOLDER, AWAY, 3),
        (other, AWAY, 2),
    ]


def test_a_folder_that_is_held_for_many_reasons_is_told_once_with_that_of_most_recordings(
    ledger: Ledger,
) -> None:
    watched = Watched(ledger)
    names = [f"{i}/{j}.wav" for i in range(22) for j in range(1 + (i == 21))]
    ledger.admit([admission(name, name) for name in names], watched.wall)
    for i in range(22):
        ledger.hold(FOLDER / str(i), watched.wall, reason=f"{i} is closed", remedy="open it", code=UNWRITABLE)
    ((_, facts),) = watched.told()
    assert (facts["reason"], facts["jobs"]) == ("21 is closed", 23)


def test_a_backlog_is_told_when_it_is_old_enough(watched: Watched) -> None:
    watched.ledger.admit([admission("old.wav")], watched.wall)
    assert watched.told(599.0) == []
    ((kind, facts),) = watched.told()
    assert (kind, facts["waited_s"], facts["recording"]) == ("backlog", 629, str(FOLDER / "old.wav"))
    assert watched.told() == []


def test_a_low_disk_is_told_with_its_remedy(watched: Watched) -> None:
    watched.low = [Complaint("/srv: less than 200 MiB are free", "free some space")]
    ((kind, facts),) = watched.told()
    assert (kind, facts) == (
        "disk",
        {"problem": "/srv: less than 200 MiB are free", "remedy": "free some space"},
    )


def test_each_replaced_engine_is_told(watched: Watched) -> None:
    watched.restarts = Restarts(2, 0, "was killed by SIGKILL")
    assert watched.told() == [("engine", {"reason": "was killed by SIGKILL", "replaced": 2})]
    watched.restarts = Restarts(2, 5, "was killed by SIGKILL")
    assert watched.told() == []


def test_a_subscription_is_what_its_section_says() -> None:
    (one,) = subscriptions_of(SETTINGS)
    assert (one.target, one.folders, one.digest_s) == ("ops", frozenset({Path(FOLDER)}), 0.0)
    assert {kind.value for kind in one.events} == {"failed", "held", "backlog", "disk", "engine"}
