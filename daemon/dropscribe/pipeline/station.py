"""Interface of a station: decoders and engine that work side by side on many recordings.

`Pump` is the station of this machine. An executor holds one or several of them. The contract is that of
`dropscribe.pipeline.executor`, which is verified for every implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from dropscribe.pipeline.assembly import Heard
from dropscribe.pipeline.attempt import Outcome, Progress, Work


class State(StrEnum):
    """State of one of several stations as people see it."""

    STARTING = "starting"  #: its process starts, or its models are being loaded
    READY = "ready"
    SILENT = "silent"  #: was ready and does not answer at the moment; gets no further work
    REFUSED = "refused"  #: may not work, because it would give another text
    LOST = "lost"  #: is gone; started anew once its node is there


class Attempts(Protocol):
    """What starts attempts at recordings and ends each with an outcome. Owned by one thread; not thread-safe."""

    def room(self) -> int:
        """Number of attempts that can be started now."""

    def start(self, work: Work) -> None:
        """Start an attempt; `room()` must be positive."""

    def abort(self, ticket: int) -> None:
        """Cancel an attempt, which then has no outcome; ignored once it has ended."""

    def turn(self, timeout_s: float, wake: Sequence[int] = ()) -> list[Outcome]:
        """Wait at most `timeout_s` seconds for events or a readable descriptor in `wake`; return new outcomes.

        Raises EngineDiedError; outcomes found before that are returned by the next call.
        """

    def progress(self, ticket: int) -> Progress | None:
        """Progress of an attempt; None once it has ended."""

    def heard(self, ticket: int) -> Heard | None:
        """Extent of the text of an attempt from its start up to the first missing segment; None once it has ended."""

    def texts(self, ticket: int) -> tuple[str, ...]:
        """Texts of the segments counted by `heard`."""


class Station(Attempts, Protocol):
    """Decoders and engine, joined. It notices their death by itself, and is told what to do about it."""

    def engine_idle_s(self) -> float:
        """Time without progress of an engine with work, seconds."""

    def abandon_engine(self) -> list[int]:
        """Discard all attempts after the engine was lost; returns their tickets."""
