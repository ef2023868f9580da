"""Stations at nodes of a Ray cluster on this machine: real processes, the null engine. `tests/e2e/test_cluster.py` has daemons."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dropscribe.config import Settings
from dropscribe.errors import EngineError
from dropscribe.pipeline.assembly import Result
from dropscribe.pipeline.attempt import Outcome, Work
from dropscribe.pipeline.cluster.cluster_executor import ClusterExecutor
from dropscribe.pipeline.cluster.ray_cluster import RayCluster, StationActor
from dropscribe.pipeline.problem import FaultKind, Problem
from dropscribe.pipeline.station import State
from dropscribe.pipeline.stations.messages import Orders
from tests.support.daemon_process import write_speech
from tests.support.long_forms import IN_SOAK
from tests.support.ray_nodes import RayNodes, ray_nodes, send

pytestmark = pytest.mark.filterwarnings("default")  # of Ray's own modules

SETTINGS = Settings.model_validate({"engine": {"model": "null", "device": "cpu"}, "media": {"decoders": 1}})
#: Time limit, seconds; only a hang reaches it.
LONG_S = 120.0
#: Variable of a node that has another version of torch, or does not see the recordings.
UNLIKE = "DROPSCRIBE_TEST_UNLIKE"


class UnlikeActor(StationActor):
    """A station whose node differs from the others as its environment says."""

    def examine(self) -> tuple[dict[str, str], dict[str, str], str]:
        versions, models, mode = super().examine()
        return versions | ({"torch": "0.1"} if os.environ.get(UNLIKE) == "version" else {}), models, mode

    def feed(self, orders: bytes) -> None:
        if os.environ.get(UNLIKE) == "blind":
            given: Orders = pickle.loads(orders)
            elsewhere = tuple(replace(work, path=Path("/nowhere") / work.path.name) for work in given.start)
            orders = pickle.dumps(replace(given, start=elsewhere))
        super().feed(orders)


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    """Two nodes, one with another version, and one that does not see the recordings."""
    with ray_nodes(2) as made:
        for unlike in ("version", "blind"):
            made.join(**{UNLIKE: unlike})
        yield made


@pytest.fixture(scope="module")
def executor(nodes: RayNodes) -> Iterator[ClusterExecutor]:
    made = ClusterExecutor(RayCluster(nodes.address, SETTINGS, UnlikeActor), lost_s=4.0)
    until(made, lambda: ready(made) == 3 and State.REFUSED in {s.state for s in made.stations()})
    yield made
    assert made.close()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write_speech(tmp_path / "recording.wav", seconds=40)


def ready(executor: ClusterExecutor) -> int:
    return sum(s.state is State.READY for s in executor.stations())


def until(executor: ClusterExecutor, reached: Any) -> list[Outcome]:
    """Turn until `reached()`; returns what ended meanwhile."""
    deadline, ended = time.monotonic() + LONG_S, []
    while not reached():
        assert time.monotonic() < deadline, executor.stations()
        ended += executor.turn(0.2)
    return ended


def run(executor: ClusterExecutor, works: list[Work]) -> dict[int, Outcome]:
    waiting = list(works)
    ended: dict[int, Outcome] = {}
    deadline = time.monotonic() + LONG_S
    while len(ended) < len(works):
        assert time.monotonic() < deadline, executor.stations()
        while waiting and executor.room():
            executor.start(waiting.pop(0))
        for outcome in executor.turn(0.2):
            assert outcome.ticket not in ended, "each attempt ends once"
            ended[outcome.ticket] = outcome
    return ended


@IN_SOAK
def test_a_node_that_does_not_see_a_recording_costs_nothing_and_one_of_another_version_gets_none(
    executor: ClusterExecutor, recording: Path
) -> None:
    works = [Work(n, recording, None, folder=recording.parent) for n in range(1, 25)]
    works.append(Work(25, recording.with_name("missing.wav"), None))
    ended = run(executor, works)
    missing = ended.pop(25).end
    assert isinstance(missing, Problem)
    assert missing.kind is FaultKind.STORAGE, "it is not to blame: no node may see the folder"
    assert all(isinstance(o.end, Result) and o.end.segments for o in ended.values())
    assert executor.facts.model == "null"
    (refused,) = [s for s in executor.stations() if s.state is State.REFUSED]
    assert "version of torch: 0.1 there" in refused.reason


@IN_SOAK
def test_a_station_that_is_stopped_or_killed_loses_its_own_attempts_only_and_comes_back(
    executor: ClusterExecutor, nodes: RayNodes, recording: Path
) -> None:
    stopped, killed = (nodes.stations(node) for node in nodes.nodes)
    send(stopped, signal.SIGSTOP)
    try:
        ended = run(executor, [Work(n, recording, None) for n in range(101, 121)])
    finally:
        send(stopped, signal.SIGCONT)
    ends = [o.end for o in ended.values()]
    assert any(isinstance(e, Result) for e in ends)
    assert {e.kind for e in ends if isinstance(e, Problem)} == {FaultKind.NODE}
    late = until(executor, lambda: ready(executor) == 3)
    assert late == [], "what a lost station says later is ignored"
    send(killed[:1], signal.SIGKILL)
    until(executor, lambda: ready(executor) < 3)
    until(executor, lambda: ready(executor) == 3)
    assert all(isinstance(o.end, Result) for o in run(executor, [Work(201, recording, None)]).values())


def test_an_address_at_which_nobody_listens_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    made = ClusterExecutor(RayCluster("127.0.0.1:1", SETTINGS))
    try:
        with pytest.raises(EngineError, match="refused") as failed:
            made.wait_ready(lambda: False)
        assert "ray start" in failed.value.remedy
    finally:
        assert made.close()


def test_a_cluster_is_refused_without_authentication(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(EngineError, match="token authentication is off") as refused:
        RayCluster("127.0.0.1:1", SETTINGS)
    assert "RAY_AUTH_MODE=token" in refused.value.remedy
