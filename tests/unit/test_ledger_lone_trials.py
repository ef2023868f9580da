"""Attempts of a recording that was under way alone when its daemon was killed: limits and delays."""

from __future__ import annotations

import pytest

from dropscribe.ledger.lone_trials import (
    FIRST_WAIT_S,
    LONGEST_WAIT_S,
    MOST_DEATHS,
    MOST_DEATHS_UNPROVEN,
    is_last,
    wait_after,
)


def test_a_lone_recording_fails_at_its_own_limit_while_others_succeed() -> None:
    assert [n for n in range(1, 200) if is_last(n, others_done=True)] == [*range(MOST_DEATHS, 200)]


def test_while_no_recording_succeeds_it_is_retried_far_longer_but_not_for_ever() -> None:
    assert [n for n in range(1, 200) if is_last(n, others_done=False)] == [*range(MOST_DEATHS_UNPROVEN, 200)]
    assert MOST_DEATHS_UNPROVEN >= 2 * MOST_DEATHS


def test_retry_delays_double_up_to_a_limit() -> None:
    waits = [wait_after(n) for n in range(1, MOST_DEATHS_UNPROVEN)]
    assert waits[:3] == [FIRST_WAIT_S, 2 * FIRST_WAIT_S, 4 * FIRST_WAIT_S]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT_S


@pytest.mark.parametrize(("hit", "most"), [(1 / 3, 0.00002), (1 / 2, 0.001)])
def test_the_risk_for_an_innocent_recording_is_as_documented(hit: float, most: float) -> None:
    assert hit**MOST_DEATHS < most
