"""Wall clock without jumps until a jump of the system clock is applied."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.service.wall_clock import STEP_S, WallClock


class Clocks:
    """Clocks of a system whose wall clock can be set."""

    def __init__(self) -> None:
        self.passed, self.offset = 50.0, 1_700_000_000.0

    def monotonic(self) -> float:
        return self.passed

    def wall(self) -> float:
        return self.passed + self.offset


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 86_400.0 * 365, STEP_S * 1.5])
def test_a_clock_jump_is_applied_by_step_and_returned_once(jump: float) -> None:
    clocks = Clocks()
    wall = WallClock(clocks.monotonic, clocks.wall)
    before = wall.now()
    clocks.offset += jump
    clocks.passed += 2.0
    assert wall.now() == before + 2.0
    assert wall.step() == pytest.approx(jump)
    assert wall.now() == pytest.approx(clocks.wall())
    assert wall.step() == 0.0


def test_slewing_and_late_readings_are_not_a_jump() -> None:
    clocks = Clocks()
    wall = WallClock(clocks.monotonic, clocks.wall)
    for _ in range(5):
        clocks.offset += STEP_S / 10
        assert wall.step() == 0.0


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(-1e9, 1e9)), max_size=20))
def test_time_never_goes_back_between_two_steps(history: list[tuple[float, float]]) -> None:
    clocks = Clocks()
    wall = WallClock(clocks.monotonic, clocks.wall)
    for passes, jump in history:
        before = wall.now()
        clocks.passed += passes
        clocks.offset += jump
        assert wall.now() - before == pytest.approx(passes, abs=1e-3)
        wall.step()
        assert abs(wall.now() - clocks.wall()) < STEP_S + 1e-3
