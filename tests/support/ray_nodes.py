"""A Ray cluster on this machine, of as few processes as it works with."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

#: As few resources as Ray accepts.
LITTLE = {"include_dashboard": False, "include_log_monitor": False, "object_store_memory": 80_000_000}
#: Of a Ray that needs a token, and tells nobody that it runs.
ENVIRONMENT = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64, "RAY_USAGE_STATS_ENABLED": "0"}


class RayNodes:
    """A head, with a station if `head`, and nodes with one each."""

    def __init__(self, nodes: int, *, head: bool = False) -> None:
        # Ray reads the environment once, when it is imported.
        cluster_utils = pytest.importorskip("ray.cluster_utils")
        mine = LITTLE | {"num_cpus": int(head), "no_monitor": True}
        self._cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=mine)
        self.nodes = [self.join() for _ in range(nodes)]

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def join(self, **variables: str) -> Any:
        """Add a node, with these variables in its environment."""
        return self._cluster.add_node(num_cpus=1, env_vars=variables or None, **LITTLE)

    def kill(self, node: Any) -> None:
        """Kill all processes of a node at once, as a power cut does."""
        send(
            [p for kind in node.all_processes.values() for one in kind for p in family(one.process.pid)],
            signal.SIGKILL,
        )
        self._cluster.remove_node(node, allow_graceful=False)

    def kill_head(self) -> None:
        self.kill(self._cluster.head_node)

    def stations(self, node: Any) -> list[psutil.Process]:
        """Processes of the stations of a node, with their engines and decoders."""
        raylet = node.all_processes["raylet"][0].process.pid
        found = [p for p in family(raylet) if p.name().startswith("ray::Station")]
        return [p for station in found for p in family(station.pid)]

    def close(self) -> None:
        for node in self._cluster.list_all_nodes():
            self.kill(node)
        self._cluster.shutdown()


@contextmanager
def ray_nodes(nodes: int, *, head: bool = False) -> Iterator[RayNodes]:
    """A cluster, and its token in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        made = RayNodes(nodes, head=head)
        try:
            yield made
        finally:
            made.close()


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it has started."""
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def send(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            continue
