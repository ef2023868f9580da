"""Working hours follow the local clock, over midnight and when it is changed; what is no schedule says how to write one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from dropscribe.schedules import parse_hours, parse_pace

BERLIN = ZoneInfo("Europe/Berlin")


def local(instant: float) -> datetime:
    return datetime.fromtimestamp(instant, BERLIN)


def at(text: str, *, fold: int = 0) -> float:
    """Epoch seconds of a local time; `fold` 1: the second time that it comes."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp()


@pytest.mark.parametrize(
    ("hours", "moment", "expected"),
    [
        ("19:00-07:00", "2026-11-30T18:59:59", False),
        ("19:00-07:00", "2026-11-30T19:00", True),
        ("19:00-07:00", "2026-11-30T06:59:59", True),
        ("19:00-07:00", "2026-11-30T07:00", False),
        ("12:00-13:00, 22:00-24:00", "2026-11-30T12:30", True),
        ("12:00-13:00, 22:00-24:00", "2026-11-30T23:59:59", True),
        ("12:00-13:00, 22:00-24:00", "2026-12-01T00:00", False),
        # 2026-11-30 is a Monday. A span belongs to the day on which it begins.
        ("Mon-Fri 19:00-07:00, Sat Sun 00:00-24:00", "2026-12-05T03:00", True),
        ("Fri 19:00-07:00", "2026-12-05T03:00", True),
        ("Fri 19:00-07:00", "2026-12-06T03:00", False),
        ("Sat-Mon 10:00-11:00", "2026-11-30T10:30", True),
        ("Sat-Mon 10:00-11:00", "2026-12-01T10:30", False),
    ],
)
def test_hours(hours: str, moment: str, expected: bool) -> None:
    assert parse_hours([hours]).is_open(at(moment), local) is expected


def test_the_next_opening_is_the_first_minute_of_the_next_span() -> None:
    hours = parse_hours(["Mon-Fri 19:00-07:00"])
    assert hours.next_opening(at("2026-11-30T12:34:56"), local) == at("2026-11-30T19:00")
    assert hours.next_opening(at("2026-12-05T08:00"), local) == at("2026-12-07T19:00")


def test_when_the_clock_is_put_forward_a_span_that_is_left_out_opens_where_the_clock_goes_on() -> None:
    # On 2027-03-28 the hour from 02:00 to 03:00 does not exist.
    assert parse_hours(["02:30-04:00"]).next_opening(at("2027-03-28T01:00"), local) == at("2027-03-28T03:00")
    within = parse_hours(["02:00-03:00"])
    assert within.next_opening(at("2027-03-28T01:00"), local) == at("2027-03-29T02:00")


def test_when_the_clock_is_put_back_an_hour_that_comes_twice_counts_twice() -> None:
    hours = parse_hours(["02:00-03:00"])
    first, second = at("2027-10-31T02:30"), at("2027-10-31T02:30", fold=1)
    assert second - first == 3600.0
    assert hours.is_open(first, local)
    assert hours.is_open(second, local)


@pytest.mark.parametrize(
    "text", ["", "7-19", "25:00-26:00", "10:61-11:00", "10:00-10:00", "Mondays", "xyz 10:00-11:00"]
)
def test_what_are_no_hours_is_refused_with_how_to_write_them(text: str) -> None:
    with pytest.raises(ValueError, match=r"write|00:00-24:00"):
        parse_hours([text])


@pytest.mark.parametrize(
    ("text", "amount", "per_s", "audio"),
    [("60/h", 60, 3600, False), ("500 / day", 500, 86_400, False), ("10 h/h", 36_000, 3600, True), ("1.5h/d", 5400, 86_400, True)],
)  # fmt: skip
def test_pace(text: str, amount: float, per_s: float, audio: bool) -> None:
    pace = parse_pace(text)
    assert (pace.amount, pace.per_s, pace.audio) == (amount, per_s, audio)


@pytest.mark.parametrize("text", ["", "60", "0/h", "-1/h", "60/min", "fast"])
def test_what_is_no_pace_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="60/h"):
        parse_pace(text)


def test_local_time_is_that_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    now: Callable[[], float] = datetime(2026, 11, 30, 12, 0, tzinfo=UTC).timestamp
    minute = datetime.fromtimestamp(now(), UTC).astimezone()
    assert parse_hours([f"{minute:%H:%M}-{minute:%H}:59"]).is_open(now())
