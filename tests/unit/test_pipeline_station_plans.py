"""How a machine is divided between the stations of its GPUs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from dropscribe.config import Settings
from dropscribe.pipeline.local.station_plans import (
    CpuSet,
    cpus_of,
    divide,
    have_processes,
    near_cpus,
    shared_out,
)

ALL = frozenset(range(8))
LOW, HIGH = frozenset(range(4)), frozenset(range(4, 8))


@pytest.mark.parametrize(
    ("wanted", "devices", "gpus", "cores", "processes"),
    [
        ("auto", 1, 1, 16, True),
        ("auto", 1, 1, 4, False),  # memory and cores are scarce
        ("auto", 1, 0, 16, False),  # a CPU is the limit itself
        ("several", 1, 1, 16, False),
        ("several", 2, 2, 4, True),
        ("always", 1, 0, 2, True),
    ],
)
def test_a_single_gpu_gets_a_process_where_there_are_cores_for_it(
    wanted: str, devices: int, gpus: int, cores: int, *, processes: bool
) -> None:
    assert have_processes(wanted, devices=devices, gpus=gpus, cores=cores) is processes


def test_decoders_threads_and_audio_are_divided() -> None:
    settings = Settings.model_validate({"engine": {"device": ["cpu", "cpu"]}})
    first, second = divide(settings, ("cpu", "cpu"), 5, 8, (None, None))
    assert [first.name, second.name] == ["cpu#1", "cpu#2"]
    assert [p.settings.media.decoders for p in (first, second)] == [3, 2]
    assert {p.settings.engine.threads for p in (first, second)} == {4}
    assert {p.settings.engine.device for p in (first, second)} == {"cpu"}
    assert {p.settings.service.queue_audio_s for p in (first, second)} == {300.0}


def test_an_engine_has_no_more_threads_than_its_station_has_cpus() -> None:
    settings = Settings.model_validate({"engine": {"device": ["cuda:0", "cuda:1"]}})
    few, many = frozenset(range(2)), frozenset(range(2, 8))
    plans = divide(settings, ("cuda:0", "cuda:1"), 4, 8, (few, many))
    assert [p.settings.engine.threads for p in plans] == [2, 4]
    settings = Settings.model_validate({"engine": {"device": ["cuda:0", "cuda:1"], "threads": 3}})
    plans = divide(settings, ("cuda:0", "cuda:1"), 4, 8, (few, many))
    assert [p.settings.engine.threads for p in plans] == [3, 3]


@pytest.mark.parametrize(
    ("decoders", "cpus", "shares"),
    [
        (12, (None, None), [6, 6]),
        (12, (LOW, HIGH), [6, 6]),
        (12, (ALL, LOW), [9, 3]),  # four CPUs are shared
        (12, (LOW, LOW, HIGH), [3, 3, 6]),
        (1, (None, None, None), [1, 1, 1]),
        (32, (None,), [32]),
    ],
)
def test_a_station_has_decoders_for_the_cpus_near_it(
    decoders: int, cpus: tuple[CpuSet, ...], shares: list[int]
) -> None:
    assert shared_out(decoders, cpus) == shares


def told(lists: Mapping[str, str]) -> Callable[[str], str]:
    def read(path: str) -> str:
        address = path.split("/")[-2]
        if address not in lists:
            raise FileNotFoundError(path)
        return lists[address] + "\n"

    return read


@pytest.mark.parametrize(
    ("devices", "mine", "lists", "near"),
    [
        (("cuda:0", "cuda:1"), ALL, {"a": "0-3", "b": "4-7"}, [LOW, HIGH]),
        (("cuda:1", "cuda:0"), ALL, {"a": "0-3", "b": "4-7"}, [HIGH, LOW]),
        (("cuda:0", "cuda:1"), ALL, {"a": "0-7", "b": "0-7"}, [None, None]),
        (("cuda:0", "cuda:1"), LOW, {"a": "0-3", "b": "4-7"}, [None, None]),  # confined to one side
        (("cuda:0", "cuda:1"), ALL, {"a": "0-1", "b": "4-5"}, [None, None]),  # half of them would do nothing
        (("cuda:0", "cuda:1"), ALL, {"a": "0-3"}, [None, None]),
        (("cuda:0", "cuda:7"), ALL, {"a": "0-3", "b": "4-7"}, [None, None]),
        (("cuda:0", "cuda:0"), ALL, {"a": "0-3", "b": "4-7"}, [None, None]),
        (("cpu", "cpu"), ALL, {"a": "0-3", "b": "4-7"}, [None, None]),
    ],
)
def test_a_station_stays_near_its_gpu_where_that_makes_a_difference(
    devices: tuple[str, ...], mine: frozenset[int], lists: Mapping[str, str], near: list[CpuSet]
) -> None:
    assert near_cpus(devices, mine, lambda: ("a", "b"), told(lists)) == near


def test_a_list_of_cpus_is_read() -> None:
    assert cpus_of("0-2,8,10-11\n") == {0, 1, 2, 8, 10, 11}
    assert cpus_of("\n") == frozenset()
    with pytest.raises(ValueError, match="invalid"):
        cpus_of("none")
