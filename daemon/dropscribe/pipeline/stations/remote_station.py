"""One station as the daemon sees it: what it was given, what it has said, whether it still answers.

A station that is lost never comes back: another one takes its place. So whatever arrives of it later is of an older
generation, and is dropped here.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from dropscribe.errors import DropscribeError
from dropscribe.pipeline.assembly import Heard
from dropscribe.pipeline.attempt import Outcome, Progress, Work
from dropscribe.pipeline.executor import Restarts, StationStatus
from dropscribe.pipeline.station import State
from dropscribe.pipeline.stations.messages import Orders, Report

#: Time without an answer after which a station gets no further work, seconds.
SILENT_S = 5.0
#: Longest time until its first answer, seconds: its models may have to be fetched first.
START_S = 1800.0
#: Time until a call that found the station out of reach is made again, seconds.
AGAIN_S = 0.5

Answer = Callable[[Any, Exception | None], None]


class OutOfReachError(Exception):
    """A call did not reach the station, or its answer was lost; it may be alive."""


class Link(Protocol):
    """Calls to one station. Each answer is given to `answer(value, error)` on the daemon's main thread, never within the call;
    errors as `OutOfReachError` if the call may be repeated.
    """

    def examine(self, answer: Answer) -> None:
        """Its versions, its models, its mode of authentication; nothing of these if it needs no check."""

    def feed(self, orders: bytes, answer: Answer) -> None:
        """Give it pickled `Orders`."""

    def report(self, confirmed: int, orders: bytes, answer: Answer) -> None:
        """Ask for its next pickled `Report`, and give it pickled `Orders` unless they are b""."""

    def kill(self) -> None:
        """End its process, without waiting."""


@dataclass(slots=True)
class Given:
    """An attempt that the station has. Owned by the daemon's main thread."""

    work: Work
    order: int  #: number of the orders it was sent with; 0: not yet
    since: float  #: monotonic seconds
    progress: Progress = field(default_factory=lambda: Progress(0, 0, None))
    heard: Heard | None = None
    texts: tuple[str, ...] = ()


class RemoteStation:
    """`Attempts` of one station, except `turn`: `take` gives its outcomes. Owned by the daemon's main thread."""

    def __init__(
        self, name: str, node: str, link: Link, check: Callable[[dict[str, str], dict[str, str], str], str], *,
        clock: Callable[[], float], lost_s: float, start_s: float = START_S,
    ) -> None:  # fmt: skip
        """`check`: why a station with these versions and models may not work; "" if it may. `start_s`: longest time until its
        first answer, `lost_s`: later time without an answer, after which it is lost, seconds.
        """
        self.name, self.node = name, node
        self.report = Report(State.STARTING, "its process is started")
        #: Why its executor could not start or go on, if it has said so.
        self.error: DropscribeError | None = None
        #: Whether it has ever been ready.
        self.was_ready = False
        self._link = link
        self._check = check
        self._clock = clock
        self._lost_s = lost_s
        self._start_s = start_s
        self._heard_at = clock()
        self._answered = False
        self._given: dict[int, Given] = {}
        #: Result of `room`, counted down by `start`, which asks each time; None once anything else has changed.
        self._room: int | None = None
        self._start: list[Work] = []
        self._abort: list[int] = []
        self._number = 0
        self._sent: Orders | None = None
        #: Whether the next report is to be asked for.
        self._due = False
        #: Whether `_sent` went along with a question for a report, whose answer confirms it.
        self._rides = False
        self._again_at: list[tuple[float, Callable[[], None]]] = []
        self._confirmed = 0
        self._counted = Restarts()
        self._ended: list[Outcome] = []
        link.examine(self._on_examined)

    @property
    def state(self) -> State:
        """Its state."""
        if self.report.state is State.READY and self._clock() - self._heard_at > SILENT_S:
            return State.SILENT
        return self.report.state

    @property
    def status(self) -> StationStatus:
        """What people see of it."""
        report, state = self.report, self.state
        silent = "it does not answer; it gets no further recordings until it does"
        return StationStatus(
            self.name,
            report.facts.device if report.facts else "",
            state,
            silent if state is State.SILENT else report.reason,
            len(self._given),
            report.decoders,
            report.idle,
        )

    @property
    def over(self) -> bool:
        """True once it is lost or refused."""
        return self.report.state in {State.LOST, State.REFUSED}

    def room(self) -> int:
        """Number of attempts that can be started now."""
        if self.state is not State.READY:
            return 0
        if self._room is None:
            unseen = sum(1 for g in self._given.values() if g.order == 0 or g.order > self.report.carried_out)
            self._room = self.report.room - unseen
        return max(0, self._room)

    def start(self, work: Work) -> None:
        """Start an attempt; `room()` must be positive."""
        self._given[work.ticket] = Given(work, 0, self._clock())
        self._start.append(work)
        if self._room is not None:
            self._room -= 1

    def abort(self, ticket: int) -> None:
        """Cancel an attempt, which then has no outcome."""
        if self._given.pop(ticket, None) is not None:
            self._room = None
            self._ended = [o for o in self._ended if o.ticket != ticket]
            self._abort.append(ticket)

    def given(self, ticket: int) -> Given | None:
        """What is known of an attempt in progress."""
        return self._given.get(ticket)

    def flush(self, *, ask: bool) -> None:
        """Send what was ordered, unless earlier orders are not confirmed: so none overtakes another.

        `ask`: with a question for the next report, if it is time for one; without it orders do not wait for it either.
        """
        if self.over:
            return
        if self._sent is None and (self._start or self._abort):
            self._number += 1
            self._sent = Orders(self._number, tuple(self._start), tuple(self._abort))
            for work in self._start:
                if work.ticket in self._given:
                    self._given[work.ticket].order = self._number
            self._start, self._abort = [], []
            # One call instead of two: calls are most of what the head does.
            self._rides = ask and self._due
            if not self._rides:
                self._send()
        if ask and self._due:
            self._due = False
            self._ask()

    def take(self) -> list[tuple[Work, Outcome]]:
        """Outcomes that have arrived since the last call, each with its work."""
        ended, self._ended = self._ended, []
        if ended:
            self._room = None
        return [(self._given.pop(o.ticket).work, o) for o in ended if o.ticket in self._given]

    def take_restarts(self) -> Restarts:
        """Processes that it has replaced since the last call."""
        before, self._counted = self._counted, self.report.restarts
        return self._counted.since(before)

    def tend(self, now: float) -> None:
        """Repeat calls that are due, and count a station as lost that has not answered for long."""
        due = [call for at, call in self._again_at if at <= now]
        self._again_at = [(at, call) for at, call in self._again_at if at > now]
        for call in due:
            if not self.over:
                call()
        limit_s = self._lost_s if self._answered else self._start_s
        if not self.over and now - self._heard_at > limit_s:
            self.lose(f"it has not answered for {limit_s:.0f} s")

    def forgive(self, now: float) -> None:
        """The head itself was stopped: its stations are not to blame for the silence."""
        self._heard_at = now

    def lose(self, reason: str, state: State = State.LOST) -> None:
        """Give the station up, and end its process. Whatever it says from now on is ignored."""
        if not self.over:
            self.report = Report(state, reason, restarts=self.report.restarts)
            self._link.kill()

    def lost(self) -> list[Work]:
        """Attempts of a station that is over, once."""
        given, self._given = self._given, {}
        return [g.work for g in given.values()]

    def close(self) -> None:
        """End its process."""
        self.lose("it was closed")

    def _send(self) -> None:
        self._link.feed(pickle.dumps(self._sent), self._on_fed)

    def _ask(self) -> None:
        orders = pickle.dumps(self._sent) if self._rides else b""
        self._link.report(self._confirmed, orders, self._on_report)

    def _on_examined(self, found: Any, error: Exception | None) -> None:
        if self._failed(error, lambda: self._link.examine(self._on_examined)):
            return
        wrong = self._check(*found)
        if wrong:
            self.lose(wrong, State.REFUSED)
        else:
            self._due = True

    def _on_fed(self, _: Any, error: Exception | None) -> None:
        if not self._failed(error, self._send):
            self._sent = None

    def _on_report(self, data: Any, error: Exception | None) -> None:
        if self._failed(error, self._ask):
            return
        if self._rides:
            self._rides, self._sent = False, None
        report: Report = pickle.loads(data)
        for number, outcome in report.outcomes:
            if number > self._confirmed:
                self._confirmed = number
                if outcome.ticket in self._given:
                    self._ended.append(outcome)
        if report.state is State.LOST:
            self.error = report.error
            self.lose(report.reason)
            return
        self.was_ready = self.was_ready or report.state is State.READY
        self.report, self._room = replace(report, outcomes=(), under_way=()), None
        for one in report.under_way:
            given = self._given.get(one.ticket)
            if given is not None:
                given.progress = one.progress
                if one.texts is not None:
                    given.texts = one.texts
                # Its clock may be that of another machine.
                given.heard = replace(one.heard, started=given.since, segments=len(given.texts))
        self._due = True

    def _failed(self, error: Exception | None, again: Callable[[], None]) -> bool:
        """Handle the error of a call; True if there was one, or nothing is wanted of the station any more."""
        if self.over:
            return True
        if isinstance(error, OutOfReachError):
            self._again_at.append((self._clock() + AGAIN_S, again))
            return True
        if error is not None:
            # One that could not even be examined will not be better in two seconds.
            self.lose(str(error), State.LOST if self._answered else State.REFUSED)
            return True
        self._heard_at, self._answered = self._clock(), True
        return False
