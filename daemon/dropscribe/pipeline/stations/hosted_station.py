"""A station apart from the daemon: an executor on a thread of its own, which takes orders and keeps outcomes until they are
confirmed.

Knows nothing of how messages travel.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from dropscribe.errors import DropscribeError, EngineDiedError
from dropscribe.pipeline.attempt import Outcome, Work
from dropscribe.pipeline.executor import Executor
from dropscribe.pipeline.problem import FaultKind, Problem, kind_of
from dropscribe.pipeline.station import State
from dropscribe.pipeline.stations.messages import Orders, Report, UnderWay
from dropscribe.transcript.packed_segments import PackedSegments

#: Longest turn, seconds.
TURN_S = 0.5
#: Work that is ordered in advance, as the time that it will take, seconds. While more than half of it is left, reports wait for
#: `STOCKED_S`: a message costs the daemon as much as the outcome of a recording.
STOCK_S = 0.6
STOCKED_S = 0.5
#: Interval of measuring how many attempts end, seconds.
RATE_S = 1.0
#: Time without a word of the head after which the station ends itself, seconds: nobody wants its results.
ABANDONED_S = 120.0
#: Time without a turn of its thread after which the station is lost, seconds: it may wait for ever, such as for a process that
#: does not read. The longest of its own waits are those for the end of an engine, 10 s.
STUCK_S = 60.0


@dataclass(frozen=True, slots=True)
class Pacing:
    """How often a station reports, in seconds, and how much work it has in advance."""

    #: Shortest interval of reports: one tells of many outcomes.
    gather_s: float = 0.05
    #: Interval of progress in the reports.
    progress_s: float = 0.5
    #: Age of an attempt from which on its texts are in the reports: most end before anybody asks for them.
    texts_s: float = 0.8
    #: Fewest recordings to have in advance, and with which reports wait for `STOCKED_S`: below that orders follow each report.
    stocked_from: int = 1
    #: Whether it has a recording in advance for each decoder before its rate is known, because orders take their time.
    stocks_at_once: bool = True
    #: Shortest interval with few attempts, and with idle decoders for which there is nothing in advance.
    gather_urgent_s: float = 0.05
    #: Most attempts in progress for each of which somebody may be waiting: progress with texts is in the reports in intervals
    #: of `progress_few_s`.
    few: int = 0
    progress_few_s: float = 0.1


#: Of a station on another machine.
FAR = Pacing()
#: Of a station on this machine: a message takes less than a millisecond.
NEAR = Pacing(gather_urgent_s=0.005, stocked_from=8, stocks_at_once=False, few=3)


def _packed(outcome: Outcome) -> Outcome:
    """The same with its segments in one piece: the head passes them on to the process that renders them."""
    if isinstance(outcome.end, Problem):
        return outcome
    return replace(outcome, end=replace(outcome.end, segments=PackedSegments.of(outcome.end.segments)))


class Pace:
    """How many attempts to order in advance, from how many have ended. Pure."""

    def __init__(self, least: int = 0, now: float = 0.0, worthwhile: int = 1) -> None:
        """`least`: stock of a station that ends few; `worthwhile`: smallest stock that is more than that."""
        self._least = least
        self._worthwhile = worthwhile
        self._per_s = 0.0
        self._ended = 0
        self._since = now

    @property
    def stock(self) -> int:
        """Number of attempts to have in advance."""
        stock = round(self._per_s * STOCK_S)
        return stock if stock >= max(self._worthwhile, self._least) else self._least

    def add(self, ended: int, now: float) -> None:
        """Count attempts that have ended."""
        self._ended += ended
        elapsed_s = now - self._since
        if elapsed_s >= RATE_S:
            self._per_s = (self._per_s + self._ended / elapsed_s) / 2
            self._ended, self._since = 0, now


class HostedStation:
    """A station, at the other end of its link. Its methods may be called on any thread."""

    def __init__(
        self,
        make: Callable[[], Executor],
        clock: Callable[[], float] = time.monotonic,
        pacing: Pacing = FAR,
        name: str = "",
    ) -> None:
        """`make` starts the executor; it is called on the thread of the station. `name`: for the log, if there are several."""
        self._make = make
        self._pacing = pacing
        self._name = name
        self._clock = clock
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._news = threading.Condition()
        # What follows is guarded by `_news`.
        self._orders: deque[Orders] = deque()
        self._taken = 0  #: number of the newest orders that were taken
        self._report = Report(State.STARTING, "its models are being loaded")
        self._outcomes: dict[int, Outcome] = {}
        self._numbered = 0
        self._told = 0  #: number of the newest outcome that was in a report
        self._told_at = clock() - pacing.gather_s
        self._changed = True
        self._stocked = False  #: whether there is enough ordered work for the next report to wait
        self._urgent = True  #: whether somebody may wait for an attempt, or a decoder for work
        self._closing = False
        self._heard_at = clock()
        self._turns = 0  #: of its thread; counted by that alone
        self._turns_told = 0  #: as of the newest report
        self._stuck_s = 0.0  #: time since its thread made a turn, by the reports in between
        # Used by its thread only.
        self._waiting: deque[Work] = deque()
        self._begun: dict[int, float] = {}  #: by ticket that is with the executor: its start by the clock
        self._pace = Pace()
        self._decoders = 0
        self._thread = threading.Thread(target=self._run, name="station", daemon=True)
        self._thread.start()

    @property
    def abandoned(self) -> bool:
        """True once the head has not been heard for `ABANDONED_S`."""
        return self._clock() - self._heard_at > ABANDONED_S

    def feed(self, orders: Orders) -> None:
        """Take orders; ignored if they were taken before. They must arrive in order of their numbers."""
        with self._news:
            self._heard_at = self._clock()
            if orders.number <= self._taken:
                return
            self._taken = orders.number
            self._orders.append(orders)
            # Under the lock, as it is read: so it rings if and only if there are orders.
            os.eventfd_write(self._bell, 1)

    def report(self, confirmed: int, orders: Orders | None, timeout_s: float) -> Report:
        """The next report, at the latest after `timeout_s` seconds; forgets the outcomes up to number `confirmed`.

        `orders`: as for `feed`.
        """
        if orders is not None:
            self.feed(orders)
        with self._news:
            self._heard_at = self._clock()
            for number in [n for n in self._outcomes if n <= confirmed]:
                del self._outcomes[number]
            self._news.wait_for(
                lambda: self._changed or any(n > self._told for n in self._outcomes), timeout_s
            )
            self._gather(self._pacing.gather_urgent_s, lambda: self._closing)
            self._gather(self._pacing.gather_s, lambda: self._closing or self._urgent)
            self._gather(STOCKED_S, lambda: self._closing or not self._stocked)
            self._examine_thread()
            self._heard_at = self._told_at = self._clock()
            self._changed, self._told = False, self._numbered
            told = replace(self._report, outcomes=tuple(sorted(self._outcomes.items())))
            # What has been told of attempts need not be told again before there is news of them.
            self._report = replace(self._report, under_way=())
            return told

    def _gather(self, interval_s: float, over: Callable[[], bool]) -> None:
        """Wait until the newest report is `interval_s` old, or `over()`. `_news` must be held."""
        left_s = self._told_at + interval_s - self._clock()
        if left_s > 0:
            self._news.wait_for(over, left_s)

    def _examine_thread(self) -> None:
        """Be lost if the thread of the station makes no turns any more. `_news` must be held."""
        turned, self._turns_told = self._turns != self._turns_told, self._turns
        # No longer than reports are apart: this process may have been stopped itself.
        self._stuck_s = 0.0 if turned else self._stuck_s + min(self._clock() - self._told_at, 2 * TURN_S)
        if self._stuck_s > STUCK_S and self._turns and self._report.state is not State.LOST:
            self._report = Report(
                State.LOST, f"its thread has made no turn for {STUCK_S:.0f} s", restarts=self._report.restarts
            )

    def _over(self) -> bool:
        """Count a turn; whether there is to be none."""
        self._turns += 1
        return self._closing

    def close(self) -> bool:
        """End the station; False if a process of it is blocked."""
        self._closing = True
        os.eventfd_write(self._bell, 1)
        self._thread.join(30.0)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            executor = self._make()
            try:
                self._work(executor)
            finally:
                executor.close()
        except DropscribeError as e:
            reason = f"{e.reason}" + (f" ({e.remedy})" if e.remedy else "")
            self._say(Report(State.LOST, reason, restarts=self._report.restarts, error=e))
        except BaseException as e:
            self._say(Report(State.LOST, f"{type(e).__name__}: {e}"))
            raise

    def _work(self, executor: Executor) -> None:
        if not executor.wait_ready(self._over):
            return
        self._decoders = executor.room()
        least = self._decoders if self._pacing.stocks_at_once else 0
        self._pace = Pace(least, self._clock(), self._pacing.stocked_from)
        self._show(executor)
        shown_at = 0.0
        while not self._over():
            orders = self._carry_out(executor)
            ended: list[Outcome] = []
            try:
                few = len(self._begun) <= self._pacing.few
                progress_s = self._pacing.progress_few_s if few else self._pacing.progress_s
                wait_s = progress_s if self._begun else TURN_S
                # The head waits to be told that orders were carried out, before it sends more.
                wait_s = 0.0 if orders or (self._waiting and executor.room()) else wait_s
                ended = [_packed(outcome) for outcome in executor.turn(wait_s, (self._bell,))]
                for outcome in ended:
                    self._begun.pop(outcome.ticket, None)
                executor.supervise()
            except EngineDiedError as e:
                ended += self._lost(executor, e)
                # First, because the end of an engine that hangs takes long: it gets no further work meanwhile.
                with self._news:
                    self._say(
                        replace(self._report, state=State.STARTING, reason=e.reason, room=0, under_way=()),
                        ended,
                    )
                executor.replace(f"{self._name}: {e.reason}" if self._name else e.reason)
                if not executor.wait_ready(self._over):
                    return
                ended, orders = [], True
            now = self._clock()
            self._pace.add(len(ended), now)
            due = now - shown_at >= (progress_s if self._begun else TURN_S)
            if due:
                shown_at = now
            if ended or orders or due or self._hungrier(executor):
                self._show(executor, ended, self._all_under_way(executor) if due else None)

    def _hungrier(self, executor: Executor) -> bool:
        """True if nothing waits and more decoders are idle than was told."""
        return not self._waiting and executor.room() > self._report.room

    def _carry_out(self, executor: Executor) -> bool:
        """Start and abort what was ordered; attempts without a free decoder wait. Returns whether there were orders."""
        with self._news:
            orders = list(self._orders)
            self._orders.clear()
            if orders:
                os.eventfd_read(self._bell)
        for one in orders:
            self._waiting.extend(one.start)
            for ticket in one.abort:
                self._waiting = deque(w for w in self._waiting if w.ticket != ticket)
                if self._begun.pop(ticket, None) is not None:
                    executor.abort(ticket)
        while self._waiting and executor.room() > 0:
            work = self._waiting.popleft()
            self._begun[work.ticket] = self._clock()
            executor.start(work)
        if orders:
            with self._news:
                self._report = replace(self._report, carried_out=orders[-1].number)
        return bool(orders)

    def _lost(self, executor: Executor, fault: EngineDiedError) -> list[Outcome]:
        """End what was in progress, and return what waits: another station may take it while this one gets an engine."""
        problem = Problem(
            fault.code,
            f"{fault.reason} while it worked on this recording",
            "see the log of its station for what the engine met; 'dropscribe doctor' checks the chain",
            kind_of(fault.code, retryable=fault.retryable),
        )
        executor.abandon()
        unbegun = replace(problem, kind=FaultKind.NODE)
        lost = [Outcome(ticket, problem) for ticket in self._begun]
        lost += [Outcome(work.ticket, unbegun) for work in self._waiting]
        self._begun.clear()
        self._waiting.clear()
        return lost

    def _all_under_way(self, executor: Executor) -> tuple[UnderWay, ...]:
        under_way = []
        texts_s = 0.0 if len(self._begun) <= self._pacing.few else self._pacing.texts_s
        for ticket, begun_at in self._begun.items():
            progress, heard = executor.progress(ticket), executor.heard(ticket)
            if progress is None or heard is None:
                continue
            told = self._clock() - begun_at > texts_s
            under_way.append(UnderWay(ticket, progress, heard, executor.texts(ticket) if told else None))
        return tuple(under_way)

    def _show(
        self,
        executor: Executor,
        ended: list[Outcome] | None = None,
        under_way: tuple[UnderWay, ...] | None = None,
    ) -> None:
        """Say how it is; `under_way` None: as it was said before."""
        stock, idle = self._pace.stock, executor.room()
        room = max(0, idle + stock - len(self._waiting))
        with self._news:
            ahead = len(self._waiting)
            self._urgent = len(self._begun) <= self._pacing.few or (idle > 0 and not ahead)
            self._stocked = ahead >= self._pacing.stocked_from and 2 * ahead > stock
            before = self._report
            report = replace(
                before, state=State.READY, reason="", room=room, decoders=self._decoders, idle=idle, facts=executor.facts, held=executor.held,
                under_way=before.under_way if under_way is None else under_way, restarts=executor.restarts(),
            )  # fmt: skip
            self._say(report, ended or [])

    def _say(self, report: Report, ended: list[Outcome] | None = None) -> None:
        with self._news:
            self._report = report
            for outcome in ended or ():
                self._numbered += 1
                self._outcomes[self._numbered] = outcome
            self._changed = True
            self._news.notify_all()
