"""When a recording fails that was worked on alone while its daemon was killed: limits and waits."""

from __future__ import annotations

import pytest

from dropscribe.ledger.sqlite.jobs.lone_trials import (
    FIRST_WAIT_S,
    LONGEST_WAIT_S,
    MOST_DEATHS,
    MOST_DEATHS_UNPROVEN,
    is_last,
    wait_after,
)


def test_it_fails_at_a_limit_of_its_own_where_others_come_through() -> None:
    assert [n for n in range(1, 200) if is_last(n, others_done=True)] == [*range(MOST_DEATHS, 200)]


def test_where_nothing_comes_through_it_is_tried_far_longer_but_not_for_ever() -> None:
    assert [n for n in range(1, 200) if is_last(n, others_done=False)] == [*range(MOST_DEATHS_UNPROVEN, 200)]
    assert MOST_DEATHS_UNPROVEN >= 2 * MOST_DEATHS


def test_waits_double_up_to_a_limit() -> None:
    waits = [wait_after(n) for n in range(1, MOST_DEATHS_UNPROVEN)]
    assert waits[:3] == [FIRST_WAIT_S, 2 * FIRST_WAIT_S, 4 * FIRST_WAIT_S]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT_S


@pytest.mark.parametrize(("hit", "most"), [(1 / 3, 0.00002), (1 / 2, 0.001)])
def test_the_odds_of_an_innocent_recording_are_those_that_are_documented(hit: float, most: float) -> None:
    assert hit**MOST_DEATHS < most
