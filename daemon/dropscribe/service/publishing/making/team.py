"""The makers of one batch: publishing processes that share it, or the lane itself."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

from dropscribe import children
from dropscribe.errors import PublishingLostError
from dropscribe.service.publishing.making.child import PROGRESS, main
from dropscribe.service.publishing.making.file_maker import FileMaker, Made, Order, Placing, Watch, Written

#: Longest time for a transcript, seconds. One of a whole day takes some 10 s.
LONGEST_S = 120.0
#: Longest time without news of a lane or its process before other lanes stop waiting for that process, seconds.
SLOW_S = 5.0
#: Fewest jobs of a batch for each process: a process of its own for every job would cost more messages and syncs.
SHARE = 4
#: Time to wait for the end of a process, seconds.
_END_S = 1.0
#: Interval of looking at the clock while transcripts are rendered, seconds.
_LOOK_S = 1.0
_TOO_LONG = "took too long and was stopped"


class Child:
    """A publishing process, as the daemon sees it. Used by one thread at a time."""

    def __init__(self) -> None:
        """Start it. Raises OSError."""
        self._pipe, theirs = multiprocessing.Pipe()
        try:
            self._process = children.spawn(main, (theirs,), "dropscribe-publish", [theirs])
        except BaseException:
            self._pipe.close()
            raise
        # A process that reads nothing, as one that is stopped, must not keep who asks it for ever.
        with socket.socket(fileno=os.dup(self._pipe.fileno())) as own:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(LONGEST_S), 0))
        self._ready = False
        #: Latest news of it, or of the lane that uses it, monotonic seconds; read by any thread.
        self.news_at = time.monotonic()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def is_slow(self) -> bool:
        """True if nothing was heard of it, or of the lane that uses it, for so long that others should not wait for it."""
        return time.monotonic() - self.news_at >= SLOW_S

    def fileno(self) -> int:
        """Readable when there is something to `receive`."""
        return self._pipe.fileno()

    def is_ready(self) -> bool:
        """False while it starts; also true of one that died meanwhile, which `ask` or `receive` finds."""
        if not self._ready and self._pipe.poll():
            self._ready = True
            try:
                self._pipe.recv_bytes()
            except (OSError, EOFError):
                return True
        return self._ready

    def ask(self, step: str, argument: Sequence[Order] | Sequence[Placing]) -> None:
        """Let it do a step of `FileMaker`. Raises OSError if it is gone, BlockingIOError if it does not read for `LONGEST_S`."""
        self.news_at = time.monotonic()
        # Not `send`, whose pickler takes three times as long.
        self._pipe.send_bytes(pickle.dumps((step, argument)))

    def receive(self) -> list[Any] | None:
        """Its answer; None: it goes on. Raises OSError and EOFError if it is gone."""
        data = self._pipe.recv_bytes()
        self.news_at = time.monotonic()
        return None if data == PROGRESS else list(pickle.loads(data))

    def end(self) -> str:
        """End it; returns how it ended by itself, in words."""
        self._pipe.close()
        self._process.join(_END_S)
        how = children.how_ended(self._process.exitcode).how
        self._process.kill()
        children.is_gone(self._process, _END_S)
        return how


class Team:
    """Makes the files of one batch. Used by one thread.

    Each job stays with the maker that has rendered it. What a process that is lost had rendered is rendered here; what it was
    writing may be there or not, so those jobs are to be planned again: their answer is a PublishingLostError.
    """

    def __init__(
        self,
        here: FileMaker,
        watch: Watch,
        processes: Sequence[Child] = (),
        lost: Callable[[Child, str], None] = lambda _, __: None,
        working: Callable[[], None] = lambda: None,
    ) -> None:
        """`watch`: for the calls of the processes to file systems. `lost` gets a process that is not of use any more, and why.

        `working` is called about once a second while processes render.
        """
        self._here = here
        self._watch = watch
        self._processes = list(processes)
        self._lost = lost
        self._working = working
        #: Process that has rendered a job; none: rendered here.
        self._with: dict[int, Child] = {}

    def render(self, orders: Sequence[Order]) -> list[Made | Exception]:
        """See `FileMaker.render`."""
        count = len(self._processes)
        shares = {process: list(orders[at::count]) for at, process in enumerate(self._processes)}
        asked = {p: share for p, share in shares.items() if share}
        made: dict[int, Made | Exception] = {}
        for process, answers in self._asked("render", asked, LONGEST_S, self._working).items():
            for order, one in zip(shares[process], answers, strict=True):
                self._with[order.transcript.job_id] = process
                made[order.transcript.job_id] = one
        rest = [one for one in orders if one.transcript.job_id not in made]
        for order, one in zip(rest, self._here.render(rest), strict=True):
            made[order.transcript.job_id] = one
        return [made[one.transcript.job_id] for one in orders]

    def write(self, placings: Sequence[Placing]) -> list[Written | Exception]:
        """See `FileMaker.write`."""
        shares: dict[Child, list[Placing]] = {}
        here = []
        for one in placings:
            process = self._with.get(one.job_id)
            if process is None:
                here.append(one)
            else:
                shares.setdefault(process, []).append(one)
        written: dict[int, Written | Exception] = {}
        if shares:
            first = next(iter(shares.values()))[0]
            with self._watch(first.path) as answered:
                for process, answers in self._asked("write", shares, None, answered).items():
                    written |= {p.job_id: one for p, one in zip(shares[process], answers, strict=True)}
        written |= {p.job_id: one for p, one in zip(here, self._here.write(here), strict=True)}
        return [written[one.job_id] if one.job_id in written else _lost(one) for one in placings]

    def _asked(
        self,
        step: str,
        shares: dict[Child, Any],
        longest_s: float | None,
        answered: Callable[[], None],
    ) -> dict[Child, list[Any]]:
        """Answers of the processes that are not lost. `longest_s`: without news such a process is lost."""
        waiting: dict[int, Child] = {}
        try:
            for process, share in shares.items():
                if process not in self._processes:
                    continue
                try:
                    process.ask(step, share)
                except BlockingIOError:
                    self._drop(process, _TOO_LONG)
                except OSError:
                    self._drop(process)
                else:
                    waiting[process.fileno()] = process
            return self._answers(waiting, longest_s, answered)
        finally:
            # After an error: what they answer later would be taken for the answer to the next question.
            for process in waiting.values():
                self._drop(process)

    def _answers(
        self, waiting: dict[int, Child], longest_s: float | None, answered: Callable[[], None]
    ) -> dict[Child, list[Any]]:
        poll = select.poll()
        for fd in waiting:
            poll.register(fd, select.POLLIN)
        answers: dict[Child, list[Any]] = {}
        # Without end if it takes as long as it takes: a thread that waits for a file system is known by that.
        timeout_ms = None if longest_s is None else _LOOK_S * 1000
        while waiting:
            for fd, _ in poll.poll(timeout_ms):
                process = waiting[fd]
                answered()
                try:
                    answer = process.receive()
                except (OSError, EOFError):
                    poll.unregister(fd)
                    del waiting[fd]
                    self._drop(process)
                    continue
                if answer is not None:
                    answers[process] = answer
                    poll.unregister(fd)
                    del waiting[fd]
            if longest_s is None:
                continue
            # No file system is waited for, and not for long.
            answered()
            for fd, process in list(waiting.items()):
                if time.monotonic() - process.news_at >= longest_s:
                    poll.unregister(fd)
                    del waiting[fd]
                    self._drop(process, _TOO_LONG)
        return answers

    def _drop(self, process: Child, why: str = "") -> None:
        self._processes.remove(process)
        self._lost(process, why)


def _lost(placing: Placing) -> PublishingLostError:
    return PublishingLostError("the process that wrote it ended", path=placing.path)
