"""Which folders' recordings are begun, decided with passed clocks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from dropscribe.config import Settings
from dropscribe.ledger.control import Pause
from dropscribe.ledger.records import Claim
from dropscribe.schedules import Hours, parse_pace
from dropscribe.service.control.folder_rules import SAVED_S, FolderRules, PaceMeter

A, B = Path("/srv/a"), Path("/srv/b")


class Clocked:
    """Rules at a time that the test sets; local time is UTC."""

    def __init__(self, **of_a: Any) -> None:
        self.now = datetime(2026, 11, 30, 12, 0, tzinfo=UTC).timestamp()
        self.settings = Settings.model_validate({"folder": [{"path": str(A)} | of_a, {"path": str(B)}]})
        self.rules = FolderRules(
            lambda: self.settings,
            wall=lambda: self.now,
            monotonic=lambda: self.now,
            local=lambda instant: datetime.fromtimestamp(instant, UTC),
        )

    def most(self, folder: Path = A, in_flight: int = 0) -> int | None:
        return self.rules.terms([claim(folder)] * in_flight).of[folder].most


def claim(folder: Path) -> Claim:
    return cast("Claim", _Claimed(folder))


class _Claimed:
    def __init__(self, folder: Path) -> None:
        self.folder = folder


def test_a_folder_without_limits_is_open() -> None:
    clocked = Clocked()
    assert clocked.most() is None
    assert clocked.rules.waits([]) == []
    assert not clocked.rules.is_closed(A)


def test_outside_its_hours_a_folder_waits_and_says_until_when() -> None:
    clocked = Clocked(hours="19:00-07:00")
    (wait,) = clocked.rules.waits([])
    assert (wait.folder, wait.code, wait.reason) == (A, "hours", "its hours are 19:00-07:00")
    assert wait.until == clocked.now + 7 * 3600
    assert clocked.most() == 0
    assert clocked.most(B) is None
    clocked.now += 7 * 3600
    assert clocked.most() is None
    assert clocked.rules.waits([]) == []


def test_when_the_hours_begin_is_looked_for_once_in_each_closed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search goes through the minutes of a week, and the main loop asks every second."""
    searched: list[float] = []
    search = Hours.next_opening

    def counted(hours: Hours, now: float, *local: Any) -> float | None:
        searched.append(now)
        return search(hours, now, *local)

    monkeypatch.setattr(Hours, "next_opening", counted)
    clocked = Clocked(hours="19:00-07:00")
    begin = clocked.now
    for _ in range(5):
        clocked.rules.waits([])
        clocked.now += 1
    assert searched == [begin]
    for after_h in (8, 24):
        clocked.now = begin + after_h * 3600
        clocked.rules.waits([])
    assert searched == [begin, begin + 24 * 3600]


def test_a_pause_closes_its_folder_and_a_pause_of_all_closes_each() -> None:
    clocked = Clocked()
    clocked.rules.pauses = [Pause(A, "anna", 1.0)]
    assert (clocked.rules.is_closed(A), clocked.rules.is_closed(B)) == (True, False)
    clocked.rules.pauses = [Pause(None, "anna", 1.0)]
    assert clocked.rules.is_closed(B)
    assert [(w.folder, w.reason) for w in clocked.rules.waits([])] == [(None, "paused by anna")]


def test_recordings_keep_their_pace_over_hours() -> None:
    clocked = Clocked(pace="60/h")
    begun = 0
    for _ in range(3 * 3600):
        most = clocked.most() or 0
        clocked.rules.claimed([claim(A)] * most)
        begun += most
        clocked.now += 1
    assert begun == 180
    clocked.rules.claimed([claim(A)])
    (wait,) = clocked.rules.waits([])
    assert wait.code == "pace"
    assert wait.until is not None
    assert 0 < wait.until - clocked.now <= 60


def test_a_folder_that_had_nothing_to_do_may_not_catch_up_for_hours() -> None:
    meter = PaceMeter(parse_pace("60/h"), 0.0)
    assert meter.room(7 * 24 * 3600.0, 0) == SAVED_S / 60


def test_a_pace_of_audio_begins_one_at_a_time_and_waits_for_what_it_had() -> None:
    clocked = Clocked(pace="2 h/h")
    assert clocked.most() == 1
    assert clocked.most(in_flight=1) == 0
    clocked.rules.done(A, 3600.0)
    assert clocked.most() == 0
    clocked.now += 1799
    assert clocked.most() == 0
    clocked.now += 1
    assert clocked.most() == 1


def test_a_reload_that_changes_the_pace_begins_anew_and_one_that_does_not_changes_nothing() -> None:
    clocked = Clocked(pace="60/h")
    clocked.rules.claimed([claim(A)] * 5)
    clocked.rules.keep({f.path: f for f in clocked.settings.folders})
    assert clocked.most() == 0
    clocked.settings = Settings.model_validate(
        {"folder": [{"path": str(A), "pace": "120/h"}, {"path": str(B)}]}
    )
    assert clocked.most() == 1
