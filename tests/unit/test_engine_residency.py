"""Which models are unloaded for another one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dropscribe.engine.core.residency import UNUSED_KEPT_S, Part, Resident, room_for

NOW = 1000.0


def resident(
    name: str, size: int, used_at: float = 0.0, streams: int = 0, *, was_used: bool = True
) -> Resident:
    return Resident(Part("asr", name), size, streams, used_at, was_used)


def names(parts: tuple[Part, ...] | None) -> list[str] | None:
    return None if parts is None else [p.name for p in parts]


def test_nothing_is_unloaded_while_there_is_room() -> None:
    assert room_for(40, [resident("a", 60)], (), 100, NOW) == ()


def test_the_least_recently_used_ones_go_first_and_no_more_than_need_be() -> None:
    held = [resident("new", 30, 3.0), resident("old", 30, 1.0), resident("middle", 30, 2.0)]
    assert names(room_for(40, held, (), 100, NOW)) == ["old"]
    assert names(room_for(70, held, (), 100, NOW)) == ["old", "middle"]


def test_small_models_stay_if_a_large_one_has_to_go_anyway() -> None:
    held = [resident("small", 5, 1.0), resident("large", 80, 2.0)]
    assert names(room_for(60, held, (), 100, NOW)) == ["large"]


def test_models_with_recordings_in_the_engine_and_those_of_the_same_recording_stay() -> None:
    busy, needed = resident("busy", 50, streams=1), resident("needed", 20)
    assert room_for(40, [busy, needed], {needed.part}, 100, NOW) is None
    assert names(room_for(40, [busy, needed], (), 100, NOW)) == ["needed"]


def test_a_model_that_was_just_loaded_is_kept_for_the_recordings_it_was_loaded_for() -> None:
    fresh = resident("fresh", 80, NOW - UNUSED_KEPT_S / 2, was_used=False)
    assert room_for(40, [fresh], (), 100, NOW) is None
    assert names(room_for(40, [fresh], (), 100, NOW + UNUSED_KEPT_S)) == ["fresh"]


RESIDENTS = st.lists(
    st.builds(
        Resident,
        st.builds(Part, st.just("asr"), st.uuids().map(str)),
        st.integers(0, 50),
        st.integers(0, 1),
        st.floats(0, NOW),
        st.booleans(),
    ),
    max_size=8,
)


@given(RESIDENTS, st.integers(0, 100), st.integers(1, 200))
def test_what_is_left_fits_and_no_unloading_is_needless(held: list[Resident], size: int, budget: int) -> None:
    unload = room_for(size, held, (), budget, NOW)
    may_go = {r.part for r in held if r.may_go(NOW)}
    if unload is None:
        assert size + sum(r.size for r in held if r.part not in may_go) > budget
        return
    assert set(unload) <= may_go
    left = sum(r.size for r in held if r.part not in unload)
    assert size + left <= budget
    for part in unload:
        assert size + left + next(r.size for r in held if r.part == part) > budget
