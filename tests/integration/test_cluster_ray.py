"""Stations at two nodes of a Ray cluster on this machine: real processes, the null engine."""

from __future__ import annotations

import os
import signal
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dropscribe.config import Settings
from dropscribe.errors import EngineError
from dropscribe.pipeline.assembly import Result
from dropscribe.pipeline.attempt import Outcome, Work
from dropscribe.pipeline.cluster.cluster_executor import ClusterExecutor
from dropscribe.pipeline.cluster.ray_cluster import RayCluster
from dropscribe.pipeline.problem import FaultKind, Problem
from dropscribe.pipeline.station import State
from tests.support.daemon_process import DaemonProcess, write_speech

pytestmark = pytest.mark.filterwarnings("default")  # of Ray's own modules

SETTINGS = Settings.model_validate({"engine": {"model": "null", "device": "cpu"}, "media": {"decoders": 2}})
#: Time limit, seconds; only a hang reaches it.
LONG_S = 120.0
#: As few resources as Ray accepts.
NODE = {"include_dashboard": False, "object_store_memory": 80_000_000}


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Any]:
    """A head without a station, and two nodes with one each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", "0" * 64)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Ray reads them once, when it is imported.
        cluster_utils = pytest.importorskip("ray.cluster_utils")
        cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0})
        for _ in range(2):
            cluster.add_node(num_cpus=1, **NODE)
        yield cluster
        cluster.shutdown()


@pytest.fixture(scope="module")
def executor(ray_cluster: Any) -> Iterator[ClusterExecutor]:
    made = ClusterExecutor(RayCluster(ray_cluster.address, SETTINGS), lost_s=4.0)
    until(made, lambda: ready(made) == 2)
    yield made
    assert made.close()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "recording.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        noise = np.random.default_rng(1).integers(-3000, 3000, 40 * 16_000, np.int16)
        file.writeframes(noise.tobytes())
    return path


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


def test_a_daemon_works_by_the_nodes_says_so_and_stops_in_order(ray_cluster: Any, tmp_path: Path) -> None:
    # Before the others: their stations occupy the nodes.
    address = f'[cluster]\naddress = "{ray_cluster.address}"'
    with DaemonProcess(tmp_path, model="null", service=address) as daemon:
        recording = write_speech(daemon.inbox / "a.wav")
        daemon.wait_for(recording)
        assert recording.with_name("a.txt").exists()
        assert " on cpu: ready" in " ".join(daemon.status().split())
        assert daemon.children("ds-decoder") == [], "the head decodes nothing"
        assert daemon.stop() == 0
    assert daemon.actions("stopped")


def test_recordings_are_recognised_at_the_nodes_and_a_missing_one_is_not_to_blame(
    executor: ClusterExecutor, recording: Path
) -> None:
    works = [Work(n, recording, None) for n in range(1, 12)]
    works.append(Work(12, recording.with_name("missing.wav"), None))
    ended = run(executor, works)
    missing = ended.pop(12).end
    assert isinstance(missing, Problem)
    assert missing.kind is FaultKind.STORAGE
    assert all(isinstance(o.end, Result) and o.end.segments for o in ended.values())
    assert executor.facts.model == "null"


def test_a_station_that_is_stopped_or_killed_loses_its_own_attempts_only_and_comes_back(
    executor: ClusterExecutor, recording: Path
) -> None:
    pids = station_pids()
    assert len(pids) == 2
    os.kill(pids[0], signal.SIGSTOP)
    try:
        ended = run(executor, [Work(n, recording, None) for n in range(101, 107)])
    finally:
        os.kill(pids[0], signal.SIGCONT)
    ends = [o.end for o in ended.values()]
    assert any(isinstance(e, Result) for e in ends)
    assert {e.kind for e in ends if isinstance(e, Problem)} <= {FaultKind.NODE}
    late = until(executor, lambda: ready(executor) == 2)
    assert late == [], "what a lost station says later is ignored"
    os.kill(pids[1], signal.SIGKILL)
    until(executor, lambda: ready(executor) < 2)
    until(executor, lambda: ready(executor) == 2)
    assert all(isinstance(o.end, Result) for o in run(executor, [Work(201, recording, None)]).values())


def test_an_address_at_which_nobody_listens_is_said_with_what_to_do(ray_cluster: Any) -> None:
    del ray_cluster  # for its token
    cluster = RayCluster("127.0.0.1:1", SETTINGS)
    made = ClusterExecutor(cluster)
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


def station_pids() -> list[int]:
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                line = (directory / "cmdline").read_bytes()
                parent = int((directory / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if (
                line.startswith(b"ray::StationActor")
                and b"ray::" not in (Path("/proc") / str(parent) / "cmdline").read_bytes()
            ):
                found.append(int(directory.name))
    return sorted(found)
