"""The executor of one station in this process, whose engine is watched over."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from dropscribe.config import Settings
from dropscribe.engine.protocol import HeldModel
from dropscribe.media.pool import DecoderPool
from dropscribe.pipeline.assembly import Heard
from dropscribe.pipeline.attempt import Outcome, Progress, Work
from dropscribe.pipeline.executor import Restarts, StationStatus
from dropscribe.pipeline.local.arena import SLOT_BYTES, Arena
from dropscribe.pipeline.local.engine_plan import EnginePlan, gpus_of
from dropscribe.pipeline.local.engine_supervisor import EngineSupervisor
from dropscribe.pipeline.local.pump import Pump
from dropscribe.pipeline.sizing import audio_bounds, decoder_count
from dropscribe.transcript.types import EngineFacts


class LocalExecutor:
    """`Executor` with decoders and an engine, joined by a `Pump` over one arena. Owned by one thread."""

    def __init__(self, settings: Settings) -> None:
        """Start all processes; `wait_ready` must follow. Raises DecoderDiedError if no decoder can be started.

        `engine.device` must be one device.
        """
        arena_s, capacity_s = audio_bounds(settings, gpus_of(settings.engine))
        with ExitStack() as stack:
            arena = Arena(arena_s)
            stack.callback(arena.close)
            self._supervisor = EngineSupervisor(EnginePlan(settings.engine, arena, capacity_s))
            stack.callback(self._supervisor.close)
            self._decoders = DecoderPool(
                arena.fd,
                SLOT_BYTES,
                workers=decoder_count(settings),
                settings=settings.media,
                clock=time.monotonic,
            )
            stack.callback(self._decoders.close)
            self._pump = Pump(self._decoders, self._supervisor.engine, arena, time.monotonic)
            self._stack = stack.pop_all()

    @property
    def facts(self) -> EngineFacts:
        """See `Executor`."""
        return self._supervisor.engine.facts

    @property
    def held(self) -> tuple[HeldModel, ...]:
        """See `Executor`."""
        return self._supervisor.engine.held

    def wait_ready(self, meanwhile: Callable[[], bool]) -> bool:
        """See `Executor`."""
        if not self._supervisor.wait_ready(meanwhile):
            return False
        # The engine may have been replaced because it died before it was ready.
        self._pump.use_engine(self._supervisor.engine)
        return True

    def room(self) -> int:
        """See `Executor`."""
        return self._pump.room()

    def start(self, work: Work) -> None:
        """See `Executor`."""
        self._pump.start(work)

    def abort(self, ticket: int) -> None:
        """See `Executor`."""
        self._pump.abort(ticket)

    def turn(self, timeout_s: float, wake: Sequence[int] = ()) -> list[Outcome]:
        """See `Executor`."""
        return self._pump.turn(timeout_s, wake)

    def progress(self, ticket: int) -> Progress | None:
        """See `Executor`."""
        return self._pump.progress(ticket)

    def heard(self, ticket: int) -> Heard | None:
        """See `Executor`."""
        return self._pump.heard(ticket)

    def texts(self, ticket: int) -> tuple[str, ...]:
        """See `Executor`."""
        return self._pump.texts(ticket)

    def supervise(self) -> None:
        """See `Executor`."""
        self._supervisor.expect_progress(self._pump.engine_idle_s())

    def abandon(self) -> list[int]:
        """See `Executor`."""
        return self._pump.abandon_engine()

    def replace(self, why: str) -> None:
        """See `Executor`."""
        self._supervisor.replace(why)

    def stations(self) -> tuple[StationStatus, ...]:
        """See `Executor`."""
        return ()

    def restarts(self) -> Restarts:
        """See `Executor`."""
        return Restarts(self._supervisor.replaced, self._decoders.replaced, self._supervisor.last_reason)

    def close(self) -> bool:
        """See `Executor`."""
        self._stack.close()
        return self._decoders.ended()
