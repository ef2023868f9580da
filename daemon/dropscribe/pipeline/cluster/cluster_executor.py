"""The executor of a cluster: which station gets an attempt, and what becomes of those whose station is lost."""

from __future__ import annotations

import math
import select
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from dropscribe import logs
from dropscribe.engine.joint_facts import joint_facts
from dropscribe.engine.protocol import HeldModel
from dropscribe.errors import EngineDiedError, EngineError, StorageError
from dropscribe.pipeline.assembly import Heard
from dropscribe.pipeline.attempt import Outcome, Progress, Work
from dropscribe.pipeline.cluster.likeness import difference, versions
from dropscribe.pipeline.executor import Restarts, StationStatus
from dropscribe.pipeline.problem import FaultKind, Problem
from dropscribe.pipeline.station import State
from dropscribe.pipeline.stations.losses import Losses
from dropscribe.pipeline.stations.placement import Placement
from dropscribe.pipeline.stations.remote_station import Link, RemoteStation
from dropscribe.transcript.types import EngineFacts

#: Time without an answer after which a station counts as lost, seconds.
LOST_S = 30.0
#: Time without an answer of the cluster itself after which it is given up, seconds. After 60 s Ray would end the process.
GONE_S = 30.0
#: Time until a place whose station was lost or refused gets another one, seconds; the second while it is refused.
RENEW_S, REFUSED_S = 2.0, 60.0
#: Time for which a station that could not see a recording of a folder comes last for that folder, seconds.
BLIND_S = 60.0
#: Time for which the lost station of a node that has left is shown, seconds, unless its machine has another node.
GONE_NODE_S = 86_400.0
#: Interval of calls to `meanwhile` in `wait_ready`, seconds.
SLICE_S = 0.25
#: Faults that another node may not have.
_OF_NODE = frozenset(
    {FaultKind.CHANGED, FaultKind.STORAGE, FaultKind.UNANSWERED, FaultKind.MODEL, FaultKind.ENVIRONMENT}
)


class NodeLike(Protocol):
    """A node that is alive."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def gpus(self) -> int: ...
    @property
    def stations(self) -> int: ...


class Cluster(Protocol):
    """Nodes, and links to stations at them."""

    @property
    def nodes(self) -> tuple[NodeLike, ...]: ...
    @property
    def counts(self) -> int:
        """How many times the nodes were counted."""

    @property
    def failure(self) -> EngineError | None: ...
    def fileno(self) -> int: ...
    def hear(self) -> None: ...
    def link(self, node: Any, /) -> Link: ...
    def close(self) -> bool: ...


class ClusterExecutor:
    """`Executor` whose stations are at the nodes of a cluster. Owned by the daemon's main thread."""

    def __init__(
        self, cluster: Cluster, clock: Callable[[], float] = time.monotonic, lost_s: float = LOST_S
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._lost_s = lost_s
        self._log = logs.get("engine")
        #: By place, a node and a number; a station that is over stays until another takes its place.
        self._stations: dict[tuple[str, int], RemoteStation] = {}
        self._renew_at: dict[tuple[str, int], float] = {}
        self._placement = Placement(self._stations.values, clock())
        #: Node → its machine, of nodes that have or had stations.
        self._hosts: dict[str, str] = {}
        #: By ticket that a node could not process: names of the stations that tried, each with its reason.
        self._tried: dict[int, dict[str, str]] = {}
        #: Attempts that wait for a station which has not tried them.
        self._moving: deque[tuple[Work, Problem]] = deque()
        self._blind: dict[tuple[str, Path | None], float] = {}
        #: By station and folder: why it could not process a recording which another one could; until it can.
        self._unable: dict[tuple[str, Path | None], str] = {}
        self._losses = Losses()
        self._outcomes: list[Outcome] = []
        self._versions = versions()
        self._models: dict[str, str] | None = None
        self._facts: dict[str, EngineFacts] = {}
        self._restarts = Restarts()
        self._counted_at = clock()
        self._counts = 0
        #: Whether a node with a GPU was seen: nodes without one would give another text.
        self._on_gpu = False

    @property
    def facts(self) -> EngineFacts:
        """See `Executor`."""
        return joint_facts([self._facts[name] for name in sorted(self._facts)])

    @property
    def held(self) -> tuple[HeldModel, ...]:
        """See `Executor`."""
        return tuple(dict.fromkeys(one for s in self._stations.values() for one in s.report.held))

    def stations(self) -> tuple[StationStatus, ...]:
        """See `Executor`."""
        return tuple(sorted((self._status(s) for s in self._stations.values()), key=lambda s: s.name))

    def wait_ready(self, meanwhile: Callable[[], bool]) -> bool:
        """See `Executor`. Waits for the first station for as long as it takes: nodes may come late."""
        ended: list[Outcome] = []
        try:
            while not meanwhile():
                ended += self.turn(SLICE_S)
                if self._facts:
                    return True
            return False
        finally:
            self._outcomes[:0] = ended

    def room(self) -> int:
        """See `Executor`."""
        return max(0, self._placement.room() - len(self._moving))

    def start(self, work: Work) -> None:
        """See `Executor`."""
        # The head places the outputs: whether it may write them is no matter of the node.
        work = replace(work, outputs=None)
        if not self._start(work, ()):
            # Since `room` was asked, the station that had some went silent.
            reason = "no station is free for this recording"
            problem = Problem(EngineDiedError.code, reason, "it waits for one", FaultKind.NODE)
            self._moving.append((work, problem))

    def abort(self, ticket: int) -> None:
        """See `Executor`."""
        self._tried.pop(ticket, None)
        self._moving = deque((w, p) for w, p in self._moving if w.ticket != ticket)
        self._outcomes = [o for o in self._outcomes if o.ticket != ticket]
        self._placement.abort(ticket)

    def turn(self, timeout_s: float, wake: Sequence[int] = ()) -> list[Outcome]:
        """See `Executor`; never raises EngineDiedError, since a cluster without stations waits for some.

        Raises EngineError if the cluster cannot be joined, or does not answer any more.
        """
        # What was started since the last turn goes along with the questions for the next reports.
        self._placement.flush(ask=True)
        if not self._outcomes and timeout_s > 0:
            select.select([self._cluster.fileno(), *wake], [], [], timeout_s)
        self._cluster.hear()
        if self._cluster.failure is not None:
            raise self._cluster.failure
        now = self._clock()
        if not self._placement.begin_turn(now, timeout_s):
            self._counted_at = now
        self._require_answers(now)
        self._renew(now)
        for place, station in list(self._stations.items()):
            for work, outcome in station.take():
                self._placement.ended(work.ticket)
                self._end(station, work, outcome.end if isinstance(outcome.end, Problem) else None, outcome)
            station.tend(now)
            self._restarts += station.take_restarts()
            if station.report.facts is not None and station.state is State.READY:
                self._welcome(station, station.report.facts)
            if station.over:
                self._mourn(place, station, now)
        self._placement.changed()
        moving, self._moving = self._moving, deque()
        for work, problem in moving:
            self._move(work, problem)
        self._placement.flush(ask=False)
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def progress(self, ticket: int) -> Progress | None:
        """See `Executor`."""
        return self._placement.progress(ticket, waits=self._waits(ticket))

    def heard(self, ticket: int) -> Heard | None:
        """See `Executor`."""
        return self._placement.heard(ticket, self._clock(), waits=self._waits(ticket))

    def texts(self, ticket: int) -> tuple[str, ...]:
        """See `Executor`."""
        return self._placement.texts(ticket)

    def supervise(self) -> None:
        """See `Executor`: each turn does it."""

    def abandon(self) -> list[int]:
        """See `Executor`."""
        tickets = [*self._placement.tickets, *(w.ticket for w, _ in self._moving)]
        for ticket in tickets:
            self.abort(ticket)
        return tickets

    def replace(self, why: str) -> None:
        """See `Executor`."""
        for station in self._stations.values():
            station.lose(why)

    def restarts(self) -> Restarts:
        """See `Executor`."""
        return self._restarts

    def close(self) -> bool:
        """See `Executor`."""
        for station in self._stations.values():
            station.close()
        return self._cluster.close()

    def _require_answers(self, now: float) -> None:
        """Raises EngineError if the cluster has not answered for long. Before the first answer it is being joined."""
        if self._cluster.counts != self._counts:
            self._counts, self._counted_at = self._cluster.counts, now
        elif self._counts and now - self._counted_at > GONE_S:
            raise EngineError(
                f"Ray's head has not answered for {GONE_S:.0f} s", operation="work with the cluster",
                remedy="start Ray again at the head, then at the nodes, then dropscribe (its service does it by itself): what was in "
                "progress is done again",
            )  # fmt: skip

    def _status(self, station: RemoteStation) -> StationStatus:
        status = station.status
        unable = sorted(said for (name, _), said in self._unable.items() if name == station.name)
        return replace(status, reason=unable[0]) if unable and status.state is State.READY else status

    def _start(self, work: Work, tried: Collection[str]) -> bool:
        """Give an attempt to a station that has not tried it; False if none has room."""
        now = self._clock()
        return self._placement.start(work, tried, lambda station: not self._sees(station, work, now))

    def _waits(self, ticket: int) -> bool:
        return any(w.ticket == ticket for w, _ in self._moving)

    def _sees(self, station: RemoteStation, work: Work, now: float) -> bool:
        return self._blind.get((station.name, work.folder), 0.0) <= now

    def _end(self, station: RemoteStation, work: Work, problem: Problem | None, outcome: Outcome) -> None:
        if problem is None or problem.kind not in _OF_NODE:
            tried = self._tried.pop(work.ticket, {})
            if problem is None:
                self._losses.recognised(work.path)
                self._unable.pop((station.name, work.folder), None)
                for name, reason in tried.items():
                    self._note_unable(name, work, reason)
            self._outcomes.append(outcome)
            return
        self._tried.setdefault(work.ticket, {})[station.name] = problem.reason
        self._blind[station.name, work.folder] = self._clock() + BLIND_S
        self._move(work, problem)

    def _note_unable(self, name: str, work: Work, reason: str) -> None:
        """Log that a station could not process a recording which another one has processed; again once it could."""
        if (name, work.folder) in self._unable or not any(
            s.name == name and not s.over for s in self._stations.values()
        ):
            return
        where = work.folder or work.path.parent
        self._unable[name, work.folder] = said = (
            f"it could not process a recording of {where} that another one could: {reason}"
        )
        logs.problem(
            self._log, logs.Action.ENGINE,
            f"station {name}: {said}; see whether {where} is mounted there, at the same path and readable",
        )  # fmt: skip

    def _move(self, work: Work, problem: Problem) -> None:
        """Give an attempt to another station, now or later; end it if all have tried."""
        tried = self._tried.get(work.ticket, {})
        if self._start(work, tried):
            return
        if any(s.name not in tried and not s.over for s in self._stations.values()):
            self._moving.append((work, problem))
            return
        self._tried.pop(work.ticket, None)
        if problem.kind is FaultKind.CHANGED:
            # Not said to have changed: intake, at the head, notices that. The nodes may see it later, or never.
            problem = Problem(
                StorageError.code,
                f"no node sees the recording as this machine does ({', '.join(sorted(tried))}: {problem.reason})",
                f"mount {work.folder or work.path.parent} at the same path on every node; see docs/cluster.md",
                FaultKind.STORAGE,
            )
        self._outcomes.append(Outcome(work.ticket, problem))

    def _renew(self, now: float) -> None:
        """Start a station at each place that has none, once it is due."""
        alive = {node.id for node in self._cluster.nodes}
        for place, station in self._stations.items():
            if place[0] not in alive:
                station.lose("its node has left the cluster")
        self._forget_left(alive, now)
        self._on_gpu = self._on_gpu or any(node.gpus for node in self._cluster.nodes)
        for node in self._cluster.nodes:
            if self._on_gpu and not node.gpus:
                if (resting := self._stations.get((node.id, 0))) is not None:
                    resting.lose("it has no GPU, and gives another text than nodes with one", State.REFUSED)
                continue
            for number in range(node.stations):
                place = (node.id, number)
                if place in self._stations and now < self._renew_at.get(place, math.inf):
                    continue
                self._renew_at.pop(place, None)
                name = node.name if node.stations == 1 else f"{node.name}#{number}"
                self._hosts[node.id] = node.host
                self._stations[place] = RemoteStation(
                    name,
                    node.id,
                    self._cluster.link(node),
                    self._check,
                    clock=self._clock,
                    lost_s=self._lost_s,
                )

    def _forget_left(self, alive: set[str], now: float) -> None:
        """Forget lost stations of nodes that have left: Ray that is started again on a machine is a new node."""
        here = {node.host for node in self._cluster.nodes if node.stations}
        for place, renew_at in list(self._renew_at.items()):
            if place[0] in alive or now < renew_at + (0.0 if self._hosts[place[0]] in here else GONE_NODE_S):
                continue
            station = self._stations.pop(place)
            del self._renew_at[place]
            if len(self._facts) > 1:
                self._facts.pop(station.name, None)

    def _mourn(self, place: tuple[str, int], station: RemoteStation, now: float) -> None:
        """End the attempts of a station that is over, once."""
        if place not in self._renew_at:
            refused = station.state is State.REFUSED
            self._renew_at[place] = now + (REFUSED_S if refused else RENEW_S)
            if not refused:
                self._restarts += Restarts(1, 0, f"{station.name}: {station.report.reason}")
            if len(self._facts) > 1:  # those of the last one stay: its results may still be published
                self._facts.pop(station.name, None)
            said = "may not work" if refused else "is lost"
            logs.problem(
                self._log, logs.Action.ENGINE, f"station {station.name} {said}: {station.report.reason}; the others go on"
            )  # fmt: skip
        for key in [k for k in (*self._unable, *self._blind) if k[0] == station.name]:
            self._unable.pop(key, None)
            self._blind.pop(key, None)
        lost = station.lost()
        for work in lost:
            self._placement.ended(work.ticket)
            self._tried.pop(work.ticket, None)
        self._outcomes += self._losses.lost(lost, station.name, station.report.reason)

    def _welcome(self, station: RemoteStation, facts: EngineFacts) -> None:
        if station.name not in self._facts:
            self._facts[station.name] = facts
            logs.event(self._log, logs.Action.ENGINE, f"station {station.name} is ready: {facts.device}")

    def _check(self, found: dict[str, str], models: dict[str, str], authentication: str) -> str:
        """Why a station may not work; "" if it may. The first one that may says which models all the others must have."""
        if authentication != "token":
            return "Ray was started there without RAY_AUTH_MODE=token; stop it and start it with the token"
        wrong = difference("version", self._versions, found)
        if wrong:
            return f"{wrong}; install the same version on both"
        if "?" in models:
            return f"its models cannot be used: {models['?']}"
        if self._models is None:
            self._models = models
        wrong = difference("content", self._models, models)
        return f"{wrong}; copy the model folder of one to the other" if wrong else ""
