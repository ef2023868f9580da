"""A cluster in this process, for tests of the head: stations whose messages the test carries, loses or delays."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dropscribe.errors import EngineError
from dropscribe.pipeline.attempt import Outcome
from dropscribe.pipeline.cluster.answers import Answers
from dropscribe.pipeline.cluster.likeness import versions
from dropscribe.pipeline.executor import Executor
from dropscribe.pipeline.station import State
from dropscribe.pipeline.stations.hosted_station import HostedStation
from dropscribe.pipeline.stations.messages import Orders, Report
from dropscribe.pipeline.stations.remote_station import Answer
from tests.support.ledgers import ENGINE

TOKEN = "token"


@dataclass(frozen=True)
class FakeNode:
    id: str
    stations: int = 1
    gpus: int = 0
    machine: str = ""

    @property
    def host(self) -> str:
        return self.machine or self.id

    @property
    def name(self) -> str:
        return self.id


@dataclass(eq=False)
class FakeLink:
    """A station that says what the test lets it say. `calls` that wait for their answers, by method."""

    versions: dict[str, str] = field(default_factory=versions)
    models: dict[str, str] = field(default_factory=dict)
    mode: str = TOKEN
    calls: dict[str, Answer] = field(default_factory=dict)
    orders: list[Orders] = field(default_factory=list)
    killed: bool = False
    #: Whether the test answers `feed`.
    holds_orders: bool = False

    def examine(self, answer: Answer) -> None:
        self.calls["examine"] = answer

    def feed(self, orders: bytes, answer: Answer) -> None:
        self.orders.append(pickle.loads(orders))
        self.calls["feed"] = answer
        if not self.holds_orders:
            self.answer("feed")

    def report(self, confirmed: int, orders: bytes, answer: Answer) -> None:
        if orders:
            self.orders.append(pickle.loads(orders))
        self.calls["report"] = answer

    def kill(self) -> None:
        self.killed = True

    def answer(self, method: str, value: Any = None, error: Exception | None = None) -> None:
        self.calls.pop(method)(value, error)

    def be_examined(self) -> None:
        self.answer("examine", (self.versions, self.models, self.mode))

    def say(self, *ended: tuple[int, Outcome], room: int = 4) -> None:
        carried_out = self.orders[-1].number if self.orders else 0
        self.answer("report", pickle.dumps(Report(State.READY, "", carried_out, room, ended, (), ENGINE)))


class FakeCluster:
    """`Cluster` of nodes that the test adds and removes."""

    def __init__(self, *names: str) -> None:
        self.nodes: tuple[FakeNode, ...] = tuple(FakeNode(name) for name in names)
        self.failure: EngineError | None = None
        self.answers = True
        self._counts = 0
        #: By node: its links, the newest last.
        self.links: dict[str, list[FakeLink]] = {}
        #: What a new link is made by.
        self.make: Callable[[str], FakeLink] = lambda _: FakeLink()
        self._bell = os.eventfd(1)

    def fileno(self) -> int:
        return self._bell

    @property
    def counts(self) -> int:
        self._counts += self.answers
        return self._counts

    def hear(self) -> None:
        pass

    def link(self, node: Any) -> FakeLink:
        link = self.make(node.id)
        self.links.setdefault(node.id, []).append(link)
        return link

    def close(self) -> bool:
        os.close(self._bell)
        return True


class HostedLink:
    """`Link` to a real station in this process, with a thread for each kind of call, as Ray has them."""

    def __init__(self, answers: Answers, make: Callable[[], Executor]) -> None:
        self._answers = answers
        self._station = HostedStation(make)
        self._feeding, self._reporting = ThreadPoolExecutor(1, "feed"), ThreadPoolExecutor(1, "report")
        self._closed = False

    def examine(self, answer: Answer) -> None:
        self._answers.add(partial(answer, (versions(), {}, TOKEN), None))

    def feed(self, orders: bytes, answer: Answer) -> None:
        self._feeding.submit(self._call, answer, lambda: self._station.feed(pickle.loads(orders)))

    def report(self, confirmed: int, orders: bytes, answer: Answer) -> None:
        given = pickle.loads(orders) if orders else None
        if not self._closed:
            self._reporting.submit(
                self._call, answer, lambda: pickle.dumps(self._station.report(confirmed, given, 0.1))
            )

    def kill(self) -> None:
        self._closed = True
        self._feeding.submit(self._station.close)

    def join(self) -> None:
        """Wait for the end of the threads of a killed station."""
        self._feeding.shutdown()
        self._reporting.shutdown()

    def _call(self, answer: Answer, call: Callable[[], Any]) -> None:
        self._answers.add(partial(answer, call(), None))


class HostedCluster:
    """`Cluster` of real stations in this process, one for each executor."""

    failure: EngineError | None = None
    counts = 0

    def __init__(self, *executors: Executor) -> None:
        self._executors = executors
        self.nodes = tuple(FakeNode(f"node-{n}") for n in range(len(executors)))
        self._answers = Answers()
        self._links: list[HostedLink] = []

    def fileno(self) -> int:
        return self._answers.fileno()

    def hear(self) -> None:
        self._answers.give()

    def link(self, node: Any) -> HostedLink:
        executor = self._executors[self.nodes.index(node)]
        link = HostedLink(self._answers, lambda: executor)
        self._links.append(link)
        return link

    def close(self) -> bool:
        for link in self._links:
            link.join()
        return True
