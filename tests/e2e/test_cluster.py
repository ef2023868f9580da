"""A daemon whose stations are at nodes of a Ray cluster on this machine, while the daemon, a node or Ray's head is killed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from dropscribe.errors import EngineError
from tests.support.daemon_process import DaemonProcess, wait_until, write_speech
from tests.support.long_forms import IN_SOAK
from tests.support.ray_nodes import RayNodes, ray_nodes, send

pytestmark = pytest.mark.filterwarnings("default")  # of Ray's own modules


def daemon_of(root: Path, nodes: RayNodes) -> DaemonProcess:
    cluster = f'[media]\ndecoders = 1\n[cluster]\naddress = "{nodes.address}"\n'
    return DaemonProcess(root, model="null", service=cluster)


def drop(daemon: DaemonProcess, count: int, seconds: float, name: str = "") -> list[Path]:
    """Recordings with different contents."""
    return [write_speech(daemon.inbox / f"{name}{n:02d}.wav", seconds=seconds + n) for n in range(count)]


def done(daemon: DaemonProcess) -> int:
    return len(daemon.rows("select 1 from jobs where state = 'done'"))


def until_done(daemon: DaemonProcess, count: int) -> None:
    wait_until(lambda: done(daemon) >= count or not daemon.running, f"{count} jobs are done")


def assert_each_done_once(daemon: DaemonProcess, recordings: list[Path]) -> None:
    """Every recording has one job, one try that counts, and one transcript."""
    until_done(daemon, len(recordings))
    found = daemon.rows("select state, version, attempts, count(*) as n from jobs group by 1, 2, 3")
    assert [tuple(row) for row in found] == [("done", 1, 1, len(recordings))], daemon.lines[-5:]
    ends = daemon.rows("select job_id from attempts where outcome = 'done'")
    assert len({row["job_id"] for row in ends}) == len(ends) == len(recordings)
    twice = "select path from outputs where published = 1 group by path having count(*) > 1"
    assert daemon.rows(twice) == []
    assert {p.name.split(".")[0] for p in daemon.inbox.iterdir()} == {p.stem for p in recordings}
    assert all(p.with_suffix(".txt").read_text(encoding="utf-8") for p in recordings)


def test_a_daemon_that_is_killed_in_the_middle_goes_on_with_the_same_nodes(tmp_path: Path) -> None:
    with ray_nodes(0, head=True) as nodes:
        daemon = daemon_of(tmp_path, nodes)
        recordings = drop(daemon, 10, 60)
        daemon.start().wait_ready()
        until_done(daemon, 2)
        daemon.kill()
        with daemon:
            assert_each_done_once(daemon, recordings)
            assert " on cpu: ready" in " ".join(daemon.status().split())
            assert daemon.children("ds-decoder") == [], "the head decodes nothing"
            assert daemon.stop() == 0


@IN_SOAK
def test_a_node_that_is_killed_in_the_middle_costs_no_recording_a_try(tmp_path: Path) -> None:
    with ray_nodes(2) as nodes:
        daemon = daemon_of(tmp_path, nodes)
        recordings = drop(daemon, 40, 200)
        with daemon:
            until_done(daemon, 4)
            nodes.kill(nodes.nodes[0])
            assert_each_done_once(daemon, recordings)
            assert daemon.stop() == 0


@IN_SOAK
def test_a_killed_head_of_ray_ends_the_daemon_with_what_to_do_and_the_next_start_goes_on(
    tmp_path: Path,
) -> None:
    with ray_nodes(1) as nodes:
        daemon = daemon_of(tmp_path, nodes)
        recordings = drop(daemon, 40, 200)
        daemon.start().wait_ready()
        until_done(daemon, 2)
        # So that something is in progress to the end.
        send([p for p in nodes.stations(nodes.nodes[0]) if p.name() == "ds-engine"], signal.SIGSTOP)
        nodes.kill_head()
        wait_until(lambda: not daemon.running, "the daemon has ended")
        said = daemon.lines[-1]["event"]
        assert "head has not answered" in said
        assert "start Ray again" in said
        assert daemon.process is not None
        assert daemon.process.returncode == EngineError.exit_code
        left = daemon.rows("select distinct state, attempts, isolate from jobs where state != 'done'")
        assert [tuple(row) for row in left] == [("queued", 0, 0)], "nothing counts as interrupted"
    recordings += drop(daemon, 5, 100, name="later")
    with ray_nodes(1) as nodes, daemon_of(tmp_path, nodes) as daemon:
        assert_each_done_once(daemon, recordings)
        assert daemon.stop() == 0
