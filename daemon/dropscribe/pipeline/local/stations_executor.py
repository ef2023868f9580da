"""The executor of a machine with several GPUs: a station for each, in a process of its own.

One process for all would be limited by its interpreter, which feeds decoders and engines a thousand times a second.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from dropscribe import logs
from dropscribe.config import Settings
from dropscribe.engine.joint_facts import check_alike, joint_facts
from dropscribe.engine.protocol import HeldModel
from dropscribe.errors import DropscribeError, EngineDiedError, EngineError
from dropscribe.pipeline import sizing
from dropscribe.pipeline.assembly import Heard
from dropscribe.pipeline.attempt import Outcome, Progress, Work
from dropscribe.pipeline.executor import Executor, Restarts, StationStatus
from dropscribe.pipeline.local import engine_plan
from dropscribe.pipeline.local.child_station import ChildLink, StationPlan
from dropscribe.pipeline.local.engine_supervisor import MOST_FAILED_STARTS, SLICE_S
from dropscribe.pipeline.local.local_executor import LocalExecutor
from dropscribe.pipeline.local.station_plans import have_processes, plan_stations
from dropscribe.pipeline.problem import Problem
from dropscribe.pipeline.station import State
from dropscribe.pipeline.stations.losses import Losses
from dropscribe.pipeline.stations.placement import Placement
from dropscribe.pipeline.stations.remote_station import Link, RemoteStation
from dropscribe.transcript.types import EngineFacts

#: Time without an answer after which a station counts as lost, seconds. It answers once a second, whatever its engine does.
LOST_S = 30.0
#: The same before its first answer: until its modules are loaded from a cold, busy disk.
START_S = 120.0
#: Delay before the next start on a device after `MOST_FAILED_STARTS` consecutive failed starts, seconds; other devices
#: continue. Such a fault (a GPU that fell off the bus) needs a person, or time.
REST_S = 600.0
#: Delay before the next start of a process that the system did not give, seconds.
AGAIN_S = 10.0
#: Longest wait for the end of killed processes, seconds: at the stop, and before another station takes the device.
CLOSE_S = 5.0
#: Longest turn while a process does not read what it was sent, seconds.
FULL_PIPE_S = 0.05


class ProcessLink(Link, Protocol):
    """`Link` to a process of this machine, such as `ChildLink`."""

    @property
    def pending(self) -> bool:
        """True if the process does not read what it was sent."""

    def fileno(self) -> int:
        """Descriptor that is readable when `hear` has answers to give."""

    def hear(self) -> None:
        """Give the answers that have arrived, and send what could not be sent before."""

    def gone(self, wait_s: float = 0.0) -> bool:
        """Wait at most so long for the end of all its killed processes; call it until True."""


@dataclass(slots=True)
class Place:
    """A device and its station. Owned by the daemon's main thread."""

    plan: StationPlan
    link: ProcessLink
    station: RemoteStation
    #: Facts of the engine that this station has now, as they were noted; None before it is ready.
    facts: EngineFacts | None = None
    #: Consecutive stations here that were lost before they were ready.
    failed_starts: int = 0
    #: When the next station is due, monotonic seconds; None unless the last one is lost.
    due: float | None = None
    #: Why the last one was lost.
    error: EngineDiedError | None = None

    @property
    def rests(self) -> bool:
        """True while no station is tried here, since several have failed to start."""
        return self.due is not None and self.failed_starts >= MOST_FAILED_STARTS


class StationsExecutor:
    """`Executor` whose stations are child processes. Owned by the daemon's main thread."""

    def __init__(
        self,
        plans: Sequence[StationPlan],
        start: Callable[[StationPlan], ProcessLink] = ChildLink,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start all processes; `wait_ready` must follow."""
        self._plans = plans
        self._start_process = start
        self._clock = clock
        self._log = logs.get("engine")
        self._places: list[Place] = []
        self._placement = Placement(lambda: [p.station for p in self._places], clock())
        #: Attempts that no station could take any more.
        self._waiting: deque[Work] = deque()
        self._losses = Losses()
        self._outcomes: list[Outcome] = []
        self._restarts = Restarts()
        #: By index of the place, of every station that has been ready.
        self._facts: dict[int, EngineFacts] = {}
        #: True until all stations have been ready: until then the failure of one is that of the start.
        self._starting = True
        self._start_all()

    @property
    def facts(self) -> EngineFacts:
        """See `Executor`."""
        return joint_facts([self._facts[at] for at in sorted(self._facts)])

    @property
    def held(self) -> tuple[HeldModel, ...]:
        """See `Executor`."""
        return tuple(dict.fromkeys(one for p in self._places for one in p.station.report.held))

    def stations(self) -> tuple[StationStatus, ...]:
        """See `Executor`."""
        said = (p.station.status for p in self._places)
        # Nothing is examined here: one that ended before its first word is lost as the others are.
        return tuple(replace(s, state=State.LOST) if s.state is State.REFUSED else s for s in said)

    def restarts(self) -> Restarts:
        """See `Executor`."""
        return self._restarts

    def wait_ready(self, meanwhile: Callable[[], bool]) -> bool:
        """See `Executor`: waits until all stations are ready."""
        ended: list[Outcome] = []
        try:
            while not meanwhile():
                ended += self.turn(SLICE_S)
                if all(p.station.state is State.READY for p in self._places):
                    self._starting = False
                    return True
            return False
        finally:
            self._outcomes[:0] = ended

    def room(self) -> int:
        """See `Executor`."""
        return max(0, self._placement.room() - len(self._waiting))

    def start(self, work: Work) -> None:
        """See `Executor`."""
        if not self._placement.start(work):
            # Since `room` was asked, the station that had some went silent.
            self._waiting.append(work)

    def abort(self, ticket: int) -> None:
        """See `Executor`."""
        self._waiting = deque(w for w in self._waiting if w.ticket != ticket)
        self._outcomes = [o for o in self._outcomes if o.ticket != ticket]
        self._placement.abort(ticket)

    def turn(self, timeout_s: float, wake: Sequence[int] = ()) -> list[Outcome]:
        """See `Executor`; raises EngineDiedError only when no station is left."""
        # What was started since the last turn goes along with the questions for the next reports.
        self._placement.flush(ask=True)
        if not self._outcomes and timeout_s > 0:
            links = [p.link for p in self._places if not p.station.over]
            longest_s = FULL_PIPE_S if any(link.pending for link in links) else timeout_s
            poll = select.poll()
            for descriptor in (*(link.fileno() for link in links), *wake):
                poll.register(descriptor, select.POLLIN)
            poll.poll(min(timeout_s, longest_s) * 1000)
        for place in self._places:
            place.link.hear()
        now = self._clock()
        self._placement.begin_turn(now, timeout_s)
        for at, place in enumerate(self._places):
            self._tend(at, place, now)
        self._placement.changed()
        while self._waiting and self._placement.start(self._waiting[0]):
            self._waiting.popleft()
        self._placement.flush(ask=False)
        if all(p.rests for p in self._places):
            raise next(p.error for p in self._places if p.error is not None)
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
        """See `Executor`: each turn does it, and each station supervises its own engine."""

    def abandon(self) -> list[int]:
        """See `Executor`."""
        tickets = [*self._placement.tickets, *(w.ticket for w in self._waiting)]
        for ticket in tickets:
            self.abort(ticket)
        return tickets

    def replace(self, why: str) -> None:
        """See `Executor`."""
        logs.problem(self._log, logs.Action.ENGINE, f"{why}; all stations are replaced")
        self._restarts += Restarts(1, 0, why)
        self._end_all()
        self._starting = True
        self._start_all()

    def close(self) -> bool:
        """See `Executor`."""
        ended = self._end_all()
        self._places.clear()
        return ended

    def _start_all(self) -> None:
        self._places.clear()
        try:
            for plan in self._plans:
                link, station = self._open(plan)
                self._places.append(Place(plan, link, station))
        except BaseException:
            self.close()
            raise

    def _open(self, plan: StationPlan) -> tuple[ProcessLink, RemoteStation]:
        try:
            link = self._start_process(plan)
        except OSError as e:
            raise EngineDiedError(
                f"no process can be started: {e.strerror}",
                operation="start station",
                remedy="look at the limits on processes and memory of the service",
            ) from e
        station = RemoteStation(
            plan.name,
            plan.name,
            link,
            lambda *_: "",  # models and packages are those of this installation
            clock=self._clock,
            lost_s=LOST_S,
            start_s=START_S,
        )
        return link, station

    def _end_all(self) -> bool:
        """Kill all processes, and wait for their end; false if one is blocked in the kernel."""
        # All first, so that they release their devices in parallel.
        for place in self._places:
            place.station.close()
        until = time.monotonic() + CLOSE_S
        gone = [p.link.gone(max(0.0, until - time.monotonic())) for p in self._places]
        return all(gone)

    def _tend(self, at: int, place: Place, now: float) -> None:
        """Collect what the station of a place has ended, and replace it if it is lost."""
        station = place.station
        for work, outcome in station.take():
            self._placement.ended(work.ticket)
            if not isinstance(outcome.end, Problem):
                self._losses.recognised(work.path)
            self._outcomes.append(outcome)
        station.tend(now)
        self._restarts += station.take_restarts()
        facts = station.report.facts
        # It replaces its engine by itself, whose models may be other ones.
        if facts is not None and facts != place.facts and station.state is State.READY:
            self._welcome(at, place, facts)
        if station.over and place.due is None:
            self._mourn(place, now)
        if place.due is not None and place.due <= now and (place.link.gone() or now > place.due + CLOSE_S):
            self._reopen(place, now)

    def _reopen(self, place: Place, now: float) -> None:
        """Start a station in place of a lost one. If the system gives no process, that is a failed start; others go on."""
        try:
            place.link, place.station = self._open(place.plan)
        except EngineDiedError as e:
            if self._starting:
                raise
            place.failed_starts, place.error = place.failed_starts + 1, e
            place.due = now + (REST_S if place.rests else AGAIN_S)
            logs.problem(self._log, logs.Action.ENGINE, f"station {place.plan.name}: {e}{self._others()}")
        else:
            place.due, place.facts = None, None

    def _welcome(self, at: int, place: Place, facts: EngineFacts) -> None:
        """Note that a station has an engine. One whose models differ would give another text, and is lost."""
        first, place.facts = place.facts is None, facts
        try:
            for other in self._facts.values():
                check_alike(facts, other)
        except EngineError as e:
            place.station.error, place.station.was_ready = e, False
            place.station.lose(e.reason)
            return
        self._facts[at] = facts
        if first and not self._starting:
            logs.event(self._log, logs.Action.ENGINE, f"station {place.plan.name} is ready: {facts.device}")

    def _mourn(self, place: Place, now: float) -> None:
        """End the attempts of a lost station, and decide when another one is started.

        Raises the error of a station that cannot start while all are being started, or whose decoders cannot be.
        """
        station, error = place.station, place.station.error
        reason = f"{station.name}: {station.report.reason}"
        if error is not None and not isinstance(error, EngineError):
            raise error
        place.failed_starts = 0 if station.was_ready else place.failed_starts + 1
        if isinstance(error, EngineDiedError):
            # It has tried that often itself.
            place.failed_starts = MOST_FAILED_STARTS
        rests = place.failed_starts >= MOST_FAILED_STARTS
        place.error = _died(error, reason, place.failed_starts)
        if self._starting and error is not None:
            raise error.with_reason(f"{station.name}: {error.reason}")
        if self._starting and rests:
            raise place.error
        place.due = now + (REST_S if rests else 0.0)
        self._restarts += Restarts(1, 0, reason)
        then = f"it is tried again in {REST_S:.0f} s" if rests else "another one takes its place"
        logs.problem(self._log, logs.Action.ENGINE, f"station {reason}; {then}{self._others()}")
        lost = station.lost()
        for work in lost:
            self._placement.ended(work.ticket)
        self._outcomes += self._losses.lost(lost, station.name, station.report.reason)

    def _others(self) -> str:
        return "; the other devices go on" if len(self._places) > 1 else ""

    def _waits(self, ticket: int) -> bool:
        return bool(self._waiting) and any(w.ticket == ticket for w in self._waiting)


def _died(error: DropscribeError | None, reason: str, times: int) -> EngineDiedError:
    """The loss of a station as the death of its engine."""
    kind = type(error) if isinstance(error, EngineDiedError) else EngineDiedError
    often = f", {times} times in a row" if error is None and times > 1 else ""
    remedy = "" if error is None else error.remedy
    return kind(f"{reason}{often}", operation="start station", remedy=remedy)


def start_executor(settings: Settings) -> Executor:
    """Start the executor of this machine; `wait_ready` must follow. That of a cluster: `dropscribe.pipeline.cluster`."""
    devices = engine_plan.devices_of(settings.engine)
    gpus = engine_plan.gpus_of(settings.engine)
    if have_processes(
        settings.engine.station_processes, devices=len(devices), gpus=gpus, cores=sizing.cores()
    ):
        return StationsExecutor(plan_stations(settings, devices))
    return LocalExecutor(settings)
