"""Interface of executors: decode and recognise many recordings at once, on this machine or elsewhere.

Contract, verified by `tests/contract/test_executors.py` for every implementation:

- each started attempt yields exactly one `Outcome` from `turn`, or none if it is aborted or abandoned;
- `turn` does the work that is due and returns the attempts that ended; `progress` counts all recognised segments of
  an attempt, `heard` only those before the first gap;
- `progress` and `heard` are None, and `texts` is (), for an attempt that has ended or was never started;
- `texts` has one text per segment counted by `heard`, and each result has the previous one as a prefix;
- once `turn` or `supervise` has raised EngineDiedError, the caller calls `abandon`, `replace` and `wait_ready`, in this
  order, before it starts further attempts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dropscribe.engine.protocol import HeldModel
from dropscribe.pipeline.station import Attempts, State
from dropscribe.records import sent
from dropscribe.transcript.types import EngineFacts


@sent
@dataclass(frozen=True, slots=True)
class Restarts:
    """Processes that were started in place of others since the start. `last_reason`: of the newest engine; "" if none was."""

    engines: int = 0
    decoders: int = 0
    last_reason: str = ""

    def __add__(self, other: Restarts) -> Restarts:
        """Of both; `other` are the later ones."""
        reason = other.last_reason if other.engines else self.last_reason
        return Restarts(self.engines + other.engines, self.decoders + other.decoders, reason)

    def since(self, before: Restarts) -> Restarts:
        """Those after `before`."""
        engines = self.engines - before.engines
        return Restarts(engines, self.decoders - before.decoders, self.last_reason if engines else "")


@dataclass(frozen=True, slots=True)
class StationStatus:
    """One of several stations, for people."""

    name: str  #: the device on this machine; of a cluster the machine, and the beginning of Ray's number of its node
    device: str  #: "" before it is ready
    state: State
    reason: str  #: why it does not work; "" if it does
    in_progress: int  #: recordings
    #: Decoders, and those of them without work.
    decoders: int = 0
    idle: int = 0


class Executor(Attempts, Protocol):
    """Attempts, and the processes that make them; independent of the ledger. Owned by one thread; not thread-safe."""

    @property
    def facts(self) -> EngineFacts:
        """Model, device and versions. Raises EngineError before the engine is ready."""

    @property
    def held(self) -> tuple[HeldModel, ...]:
        """Models that were asked for, and their states."""

    def wait_ready(self, meanwhile: Callable[[], bool]) -> bool:
        """Wait until attempts can be started, calling `meanwhile` a few times a second; False once that returns True.

        Raises EngineError if the engine cannot be started, EngineDiedError if it dies at every start.
        """

    def supervise(self) -> None:
        """Raise EngineDiedError if no engine process can continue; call it after each turn."""

    def abandon(self) -> list[int]:
        """Discard all attempts in progress after the engine was lost; returns their tickets."""

    def replace(self, why: str) -> None:
        """End the engine and start another, logging `why`; `wait_ready` must follow."""

    def stations(self) -> tuple[StationStatus, ...]:
        """Stations, in order; () if there is only one, in this process."""

    def restarts(self) -> Restarts:
        """How many processes were replaced."""

    def close(self) -> bool:
        """End all processes and drop attempts in progress; may be called twice.

        Returns False if a process is blocked by a file system that does not answer.
        """
