"""What daemon and stations tell each other. Frozen records, pickled between installations of the same version."""

from __future__ import annotations

from dataclasses import dataclass, field

from dropscribe.engine.protocol import HeldModel
from dropscribe.errors import DropscribeError
from dropscribe.pipeline.assembly import Heard
from dropscribe.pipeline.attempt import Outcome, Progress, Work
from dropscribe.pipeline.executor import Restarts
from dropscribe.pipeline.station import State
from dropscribe.records import sent
from dropscribe.transcript.types import EngineFacts


@sent
@dataclass(frozen=True, slots=True)
class Orders:
    """Attempts to start and tickets to abort, in this order. `number`: of this message, from 1; repeated if it is sent again."""

    number: int
    start: tuple[Work, ...] = ()
    abort: tuple[int, ...] = ()


@sent
@dataclass(frozen=True, slots=True)
class UnderWay:
    """Progress of one attempt; `texts` as of `Executor.texts`, None if they are not told."""

    ticket: int
    progress: Progress
    heard: Heard
    texts: tuple[str, ...] | None


@sent
@dataclass(frozen=True, slots=True)
class Report:
    """State of a station. Outcomes have numbers and are repeated until the daemon has confirmed them."""

    state: State
    #: Why it is not ready; "" if it is.
    reason: str = ""
    #: Number of the newest orders that are carried out.
    carried_out: int = 0
    room: int = 0
    outcomes: tuple[tuple[int, Outcome], ...] = ()
    under_way: tuple[UnderWay, ...] = ()
    facts: EngineFacts | None = None
    held: tuple[HeldModel, ...] = ()
    restarts: Restarts = field(default_factory=Restarts)
    #: Of a station that is lost because its executor could not start or go on: why.
    error: DropscribeError | None = None
    #: Decoders, and those of them without work.
    decoders: int = 0
    idle: int = 0
