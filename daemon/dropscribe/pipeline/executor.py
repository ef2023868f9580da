"""What runs attempts: decoding and recognition of many recordings at once, on this machine or elsewhere.

Contract, held by `tests/contract/test_executors.py` for every implementation:

- each attempt that was started ends in exactly one `Outcome` of `turn`, unless it is aborted or abandoned: then in none;
- `progress` and `heard` are None, and `texts` is (), for an attempt that has ended or was never started;
- `texts` has as many texts as `heard` counts segments, and what it returned once stays the beginning of what it returns;
- once `turn` or `supervise` has raised EngineDiedError, the caller calls `abandon`, `replace` and `wait_ready`, in this
  order, before it starts further attempts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from dropscribe.pipeline.assembly import Heard
from dropscribe.pipeline.attempt import Outcome, Progress, Work
from dropscribe.transcript.types import EngineFacts


class Executor(Protocol):
    """Runs attempts at recordings; knows no ledger. Owned by one thread; not thread-safe."""

    @property
    def facts(self) -> EngineFacts:
        """Model, device and versions. Raises EngineError before the engine is ready."""

    def wait_ready(self, meanwhile: Callable[[], bool]) -> bool:
        """Wait until attempts can be started, calling `meanwhile` a few times a second; False when that says stop.

        Raises EngineError when the engine cannot be started at all, EngineDiedError when it dies each time.
        """

    def room(self) -> int:
        """How many attempts may be started now."""

    def start(self, work: Work) -> None:
        """Begin an attempt; there must be `room()`."""

    def abort(self, ticket: int) -> None:
        """Forget an attempt; ignored once it has ended."""

    def turn(self, timeout_s: float, wake: Sequence[int] = ()) -> list[Outcome]:
        """Wait for something to happen (or for a descriptor in `wake`), handle it, return what ended.

        Raises EngineDiedError; outcomes found before that are kept for the next call.
        """

    def progress(self, ticket: int) -> Progress | None:
        """How far an attempt has come."""

    def heard(self, ticket: int) -> Heard | None:
        """How much of an attempt is text, from its beginning on and without a gap."""

    def texts(self, ticket: int) -> tuple[str, ...]:
        """The texts of the segments that `heard` counts."""

    def supervise(self, now: float) -> None:
        """To be called after each turn: replace what died or hangs while the rest goes on; `now`: monotonic seconds.

        Raises EngineDiedError when nothing is left that could go on.
        """

    def abandon(self) -> list[int]:
        """Give up every attempt under way because the engine is gone; returns their tickets."""

    def replace(self, why: str) -> None:
        """End the engine and start another, logging `why`; `wait_ready` must follow."""

    def close(self) -> bool:
        """End all processes; what is under way is dropped. False when one waits for a file system that does not answer.

        May be called twice.
        """
