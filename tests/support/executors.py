"""An executor without decoders and engine, for tests of its callers."""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from dropscribe.engine.protocol import HeldModel
from dropscribe.errors import DropscribeError, EngineDiedError, NoAudioError, RecordingGoneError
from dropscribe.output_places import require_outputs
from dropscribe.pipeline.assembly import Heard, Result
from dropscribe.pipeline.attempt import Outcome, Progress, Work
from dropscribe.pipeline.executor import Restarts, StationStatus
from dropscribe.pipeline.problem import Problem
from dropscribe.transcript.types import EngineFacts
from tests.support.ledgers import ENGINE, MEDIA, TIMINGS, segments

#: Attempts under way at a time.
ROOM = 8


class InstantExecutor:
    """End each attempt at the turn after its start. Passes `tests/contract/test_executors.py`."""

    def __init__(self, texts: Mapping[str, str] | None = None) -> None:
        """`texts`: text of each recording by file name; 一 by default. A recording whose text is empty fails."""
        self._texts = {} if texts is None else texts
        self._under_way: deque[Work] = deque()
        self._dead = False
        self._replacing = False
        #: Names of the recordings that were recognised, in order.
        self.recognised: list[str] = []

    @property
    def facts(self) -> EngineFacts:
        return ENGINE

    @property
    def held(self) -> tuple[HeldModel, ...]:
        return ()

    def wait_ready(self, meanwhile: Callable[[], bool]) -> bool:
        if meanwhile():
            return False
        self._replacing = False
        return True

    def room(self) -> int:
        return ROOM - len(self._under_way)

    def start(self, work: Work) -> None:
        assert self.room() > 0, "room() was not asked"
        assert not self._replacing, "wait_ready() was not called"
        self._under_way.append(work)

    def abort(self, ticket: int) -> None:
        self._under_way = deque(w for w in self._under_way if w.ticket != ticket)

    def turn(self, timeout_s: float, wake: Sequence[int] = ()) -> list[Outcome]:
        if self._dead:
            raise EngineDiedError("was killed by SIGKILL", operation="recognise")
        if not self._under_way:
            select.select(wake, [], [], timeout_s)
        ended, self._under_way = self._under_way, deque()
        return [Outcome(work.ticket, self._end(work)) for work in ended]

    def progress(self, ticket: int) -> Progress | None:
        return Progress(0, 0, None) if self._is_under_way(ticket) else None

    def heard(self, ticket: int) -> Heard | None:
        return Heard(0.0, 0, 0, None) if self._is_under_way(ticket) else None

    def texts(self, ticket: int) -> tuple[str, ...]:
        del ticket
        return ()

    def supervise(self) -> None:
        pass

    def abandon(self) -> list[int]:
        tickets = [work.ticket for work in self._under_way]
        self._under_way.clear()
        return tickets

    def replace(self, why: str) -> None:
        del why
        self._dead, self._replacing = False, True

    def stations(self) -> tuple[StationStatus, ...]:
        return ()

    def restarts(self) -> Restarts:
        return Restarts()

    def close(self) -> bool:
        self._under_way.clear()
        return True

    def die(self) -> None:
        """Simulate the death of the engine at the next turn."""
        self._dead = True

    def _is_under_way(self, ticket: int) -> bool:
        return any(work.ticket == ticket for work in self._under_way)

    def _end(self, work: Work) -> Result | Problem:
        path = work.path
        try:
            if work.outputs is not None:
                require_outputs(work.outputs, path)
        except DropscribeError as e:
            return Problem.of(e)
        if not path.exists():
            return Problem.of(RecordingGoneError("the file is no longer there", path=path))
        if self._texts.get(path.name) == "":
            return Problem.of(NoAudioError("it has\nno audio", path=path, remedy="record it again"))
        self.recognised.append(path.name)
        return Result(MEDIA, segments(self._texts.get(path.name, "一")), TIMINGS)
