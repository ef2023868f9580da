"""Pausing of new work while free disk space is low, and resuming."""

from __future__ import annotations

from pathlib import Path

from dropscribe.service.storage.disk_space import Floor, Reading

MIB = 1024**2
PLACE, OTHER = Path("/srv/a"), Path("/srv/b")


def low(
    floor: Floor, free_mib: float, now: float, *, total_mib: float = 100_000.0, at: float | None = None
) -> bool:
    reading = Reading(int(free_mib * MIB), int(total_mib * MIB), now if at is None else at)
    return PLACE in floor.judge({PLACE: reading}, now)


def test_work_pauses_below_the_floor_and_resumes_only_well_above_it() -> None:
    floor = Floor(200 * MIB)
    story = [
        (500, False),
        (200, False),
        (199, True),
        (250, True),
        (299, True),
        (300, False),
        (250, False),
        (10, True),
    ]
    for now, (free, expected) in enumerate(story):
        assert low(floor, free, float(now)) is expected, (now, free)


def test_on_a_small_disk_the_floor_is_a_tenth_of_it() -> None:
    floor = Floor(200 * MIB)
    assert not low(floor, 60, 0.0, total_mib=100)
    assert low(floor, 9, 1.0, total_mib=100)
    assert low(floor, 14, 2.0, total_mib=100)
    assert not low(floor, 15, 3.0, total_mib=100)


def test_without_a_floor_no_place_is_low() -> None:
    assert not low(Floor(0), 0, 0.0)


def test_a_share_that_hangs_keeps_its_state() -> None:
    floor = Floor(200 * MIB)
    assert not low(floor, 10, 100.0, at=0.0)
    assert low(floor, 10, 100.0)
    assert low(floor, 10_000, 200.0, at=150.0)
    assert not low(floor, 10_000, 200.0)


def test_each_place_is_judged_separately_and_keeps_its_start_time() -> None:
    floor = Floor(200 * MIB)
    full, roomy = Reading(0, 10**12, 5.0), Reading(10**11, 10**12, 5.0)
    assert set(floor.judge({PLACE: full, OTHER: roomy}, 5.0)) == {PLACE}
    found = floor.judge({PLACE: full, OTHER: full}, 7.0)
    assert {p: f.since for p, f in found.items()} == {PLACE: 5.0, OTHER: 7.0}
    assert found[PLACE].resume_bytes == 300 * MIB
    # The state of a folder that is no longer watched is discarded.
    assert floor.judge({}, 8.0) == {}
