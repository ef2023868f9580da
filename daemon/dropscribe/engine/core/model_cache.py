"""Load models when a recording needs them, share them, and unload the least recently used ones. No torch.

A model is found first (its directory, the size of its weights), then loaded once it fits beside the others. Both happen
outside the scheduler's thread, so that recordings of other models continue.
"""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from dropscribe import escapes
from dropscribe.engine.core.interfaces import PostprocessingStage, Recogniser, VadModel
from dropscribe.engine.core.residency import Part, Resident, room_for
from dropscribe.engine.protocol import HeldModel
from dropscribe.errors import EngineDiedError, EngineError, ModelUnusableError, OutOfDeviceMemoryError

#: Time after which a model that could not be loaded is tried again, if a recording needs it, seconds.
RETRY_S = 10.0
#: Time for which a model is made room for after the latest recording that needs it, seconds: recordings that waited in
#: vain come back later.
WANTED_S = 90.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that can be loaded."""

    part: Part
    size: int  #: of its weights on the device, bytes
    #: Of a recogniser: True if it writes marks itself, False if not, None if it may.
    writes_marks: bool | None = False
    source: Any = None  #: for the loader only


@dataclass(frozen=True, slots=True, eq=False)
class ReadyModel:
    """A model on the device: a detector, a recogniser, or a postprocessing stage."""

    model: VadModel | Recogniser | PostprocessingStage
    precision: str = ""  #: of a recogniser
    notice: str | None = None  #: of a recogniser, see `EngineFacts.notice`


class Loader(Protocol):
    """Loads models onto the device. Called by one thread at a time, not always the same one."""

    def find(self, part: Part) -> FoundModel:
        """Find a model, fetching it if need be. Raises EngineError if it is not there or cannot be used."""

    def load(self, found: FoundModel) -> ReadyModel:
        """Load a model. Raises EngineError."""

    def warm_up(self, vad: VadModel, recogniser: Recogniser) -> float:
        """Warm up a recogniser and its detector; returns the size of its largest batch, padded audio seconds."""

    def unloaded(self) -> None:
        """Release the memory of models that nothing refers to any more."""

    def memory(self) -> int:
        """Memory for models, bytes."""


@dataclass(slots=True, eq=False)
class _Entry:
    """A model that was asked for. Owned by the worker's thread."""

    part: Part
    work: Future[Any] | None = None  #: finding or loading it
    found: FoundModel | None = None
    loaded: ReadyModel | None = None
    error: EngineError | None = None
    error_at: float = 0.0
    #: Models of recordings that need it, by recording's set, and when each was last asked for: those of one set must fit
    #: together, and stay while this one is made room for.
    sets: dict[frozenset[Part], float] = field(default_factory=dict)
    asked_at: float = 0.0
    no_room_since: float | None = None
    streams: int = 0
    used_at: float = 0.0
    was_used: bool = False
    loaded_s: float = 0.0


class ModelCache:
    """Models by role and name. Owned by the worker's thread."""

    def __init__(
        self, loader: Loader, *, clock: Callable[[], float], note: Callable[[str], None] = lambda _: None
    ) -> None:
        """`note` is called with messages for the log. Until `go_on_in_background` all work is done by the calling thread."""
        self._loader = loader
        self._clock = clock
        self._note = note
        self._background: ThreadPoolExecutor | None = None
        self._entries: dict[Part, _Entry] = {}
        self._loaded_at = -math.inf  #: when the last model was loaded that takes memory, monotonic seconds
        #: Called with each model that is about to be unloaded.
        self.on_unload: Callable[[Part], None] = lambda _: None
        #: Incremented when `held` has changed.
        self.version = 0

    def go_on_in_background(self) -> None:
        """Find and load models in a thread of their own from now on."""
        self._background = ThreadPoolExecutor(1, thread_name_prefix="models")

    @property
    def busy(self) -> bool:
        """True while a model is being found, loaded or made room for."""
        return any(e.work is not None or e.no_room_since is not None for e in self._entries.values())

    def ask(self, part: Part, keep: Collection[Part] = ()) -> None:
        """Have a model loaded, if it is not. `keep`: models of the same recording, which stay meanwhile."""
        now = self._clock()
        entry = self._entries.get(part)
        if entry is not None and entry.error is not None and now - entry.error_at >= RETRY_S:
            entry = entry if entry.streams else None
        if entry is None:
            entry = self._entries[part] = _Entry(part, asked_at=now)
            entry.work = self.run(lambda: self._loader.find(part))
            self.version += 1
        entry.asked_at = now
        entry.sets[frozenset((*keep, part))] = now

    def found(self, part: Part) -> FoundModel | None:
        """What is known of a model that was asked for; None until it is found."""
        entry = self._entries.get(part)
        return None if entry is None else entry.found

    def loaded(self, part: Part) -> ReadyModel | None:
        """A model that was asked for; None unless it is loaded."""
        entry = self._entries.get(part)
        return None if entry is None else entry.loaded

    def error(self, part: Part) -> EngineError | None:
        """Why a model that was asked for cannot be loaded; None if that is not known, or it can."""
        entry = self._entries.get(part)
        return None if entry is None else entry.error

    def use(self, parts: Iterable[Part], *, warming: bool = False) -> None:
        """Note that a recording, or with `warming` only their warm-up, uses these loaded models until `release`."""
        for part in parts:
            entry = self._entries[part]
            entry.streams += 1
            entry.was_used = entry.was_used or not warming

    def release(self, parts: Iterable[Part]) -> None:
        """Note that a recording does not use these models any more."""
        for part in parts:
            entry = self._entries[part]
            entry.streams -= 1
            entry.used_at = self._clock()

    def discard(self, part: Part, error: Exception) -> EngineError:
        """Drop a loaded model that turned out to be unusable, unless others use it; returns the error for recordings."""
        entry = self._entries[part]
        known = _as_error(error, part)
        if not entry.streams:
            self.on_unload(part)
            entry.loaded, entry.error, entry.error_at = None, known, self._clock()
        self.version += 1
        return known

    def forget_unloaded(self) -> None:
        """Forget models that were asked for and are not loaded, but not why some cannot be."""
        for entry in [e for e in self._entries.values() if not (e.loaded or e.work or e.error or e.streams)]:
            del self._entries[entry.part]
            self.version += 1

    def take(self) -> None:
        """Take what was found and loaded. Raises EngineDiedError if the device is unusable."""
        for entry in list(self._entries.values()):
            if entry.work is not None and entry.work.done():
                self._take(entry)

    def tend(self) -> None:
        """Take what was found and loaded; load what fits. Raises EngineDiedError if the device is unusable."""
        self.take()
        now = self._clock()
        for entry in [e for e in self._entries.values() if e.found and not (e.loaded or e.work or e.error)]:
            self._make_room(entry, now)

    def in_the_way(self, parts: Collection[Part], waited_s: float) -> Part | None:
        """The model that waits longest for memory, for `waited_s` seconds or more, if one of `parts` takes its room.

        Of two that wait for each other's room only one has the turn, and what is not loaded takes no room.
        """
        waiting = [(e.no_room_since, e) for e in self._entries.values() if e.no_room_since is not None]
        since, first = min(waiting, key=lambda pair: pair[0], default=(0.0, None))
        # What was loaded last has its turn before that of the next one begins.
        since = max(since, self._loaded_at)
        if first is None or self._clock() - since < waited_s or first.part in parts:
            return None
        holding = {part for part in parts if self._is_held(part)}
        return None if any(holding <= own for own in first.sets) else first.part

    def held(self) -> tuple[HeldModel, ...]:
        """All models and their states, by role and name."""
        return tuple(self._held())

    def run(self, work: Callable[[], T]) -> Future[T]:
        """Do some work on the device, one piece after another."""
        if self._background is not None:
            return self._background.submit(work)
        done: Future[T] = Future()
        try:
            done.set_result(work())
        except Exception as e:
            done.set_exception(e)
        return done

    def _take(self, entry: _Entry) -> None:
        """Take the result of finding or loading a model."""
        assert entry.work is not None
        work, entry.work = entry.work, None
        self.version += 1
        try:
            result = work.result()
        except EngineDiedError:
            raise
        except Exception as e:
            entry.error, entry.error_at = _as_error(e, entry.part), self._clock()
            return
        if isinstance(result, FoundModel):
            entry.found = result
            return
        entry.loaded, entry.loaded_s = result
        entry.used_at, entry.was_used = self._clock(), False
        if self._is_held(entry.part):
            self._loaded_at = entry.used_at
        if self._background is not None:
            mib = f", {entry.found.size >> 20} MiB" if entry.found and entry.found.size else ""
            self._note(f"loaded {entry.part.name} ({entry.part.role}{mib}) in {entry.loaded_s:.1f} s")

    def _is_held(self, part: Part) -> bool:
        """True if a model is loaded and takes memory."""
        entry = self._entries.get(part)
        return (
            entry is not None
            and entry.loaded is not None
            and entry.found is not None
            and entry.found.size > 0
        )

    def _make_room(self, entry: _Entry, now: float) -> None:
        """Load a model that was found, if there is memory for it."""
        found = entry.found
        assert found is not None
        unload: tuple[Part, ...] | None = ()
        if found.size > 0:
            budget = self._loader.memory()
            entry.sets = {own: at for own, at in entry.sets.items() if now - at <= WANTED_S} or entry.sets
            kept = max(self._size_beside(entry, own) for own in entry.sets)
            if found.size + kept > budget:
                entry.error, entry.error_at = _too_large(found, kept, budget), now
                entry.no_room_since = None
                self.version += 1
                return
            residents = list(self._residents(entry))
            rooms = (room_for(found.size, residents, own, budget, now) for own in entry.sets)
            unload = next((room for room in rooms if room is not None), None)
        if unload is None:
            if entry.no_room_since is None:
                entry.no_room_since = now
                self.version += 1
            elif now - entry.asked_at > WANTED_S:
                del self._entries[entry.part]
                self.version += 1
            return
        entry.no_room_since = None
        for part in unload:
            self._unload(part)
        entry.work = self.run(lambda: self._load(found))
        self.version += 1
        if entry.work.done():
            self._take(entry)

    def _size_beside(self, entry: _Entry, own: Collection[Part]) -> int:
        """Bytes of the other models of a set, as far as they are found."""
        others = (self._entries.get(part) for part in own if part != entry.part)
        return sum(other.found.size for other in others if other is not None and other.found is not None)

    def _load(self, found: FoundModel) -> tuple[ReadyModel, float]:
        started = self._clock()
        # Only here, where no thread is loading: it frees what was unloaded before.
        self._loader.unloaded()
        return self._loader.load(found), self._clock() - started

    def _unload(self, part: Part) -> None:
        self.on_unload(part)
        del self._entries[part]
        self._note(f"unloaded {part.name} ({part.role}): another model needs its memory")

    def _residents(self, but: _Entry) -> Iterator[Resident]:
        """Models that take memory, also those that are being loaded."""
        for entry in self._entries.values():
            if entry is not but and entry.found and (entry.loaded or entry.work):
                streams = entry.streams + (entry.loaded is None)
                yield Resident(entry.part, entry.found.size, streams, entry.used_at, entry.was_used)

    def _held(self) -> Iterator[HeldModel]:
        for entry in sorted(self._entries.values(), key=lambda e: (e.part.role, e.part.name)):
            state = "loaded" if entry.loaded else "failed" if entry.error else "loading"
            if entry.no_room_since is not None:
                state = "waiting"
            size = entry.found.size if entry.found else 0
            problem = "" if entry.error is None else str(entry.error)
            yield HeldModel(entry.part.role, entry.part.name, state, size, problem)


def _as_error(error: Exception, part: Part) -> EngineError:
    """The error for recordings that need a model which could not be found or loaded."""
    if isinstance(error, OutOfDeviceMemoryError):
        return ModelUnusableError(
            "the device has no memory left for it",
            operation=f"load {part.name}",
            remedy="lower engine.model_memory_mb or engine.batch_s, or free the device",
        )
    if isinstance(error, EngineError):
        return error
    sys.stderr.write(escapes.lines("".join(traceback.format_exception(error))))
    return EngineError(
        f"{type(error).__name__}: {error}",
        operation=f"load {part.name}",
        remedy="look at what stands above this on standard error or in the journal, and report it",
    )


def _too_large(found: FoundModel, kept: int, budget: int) -> EngineError:
    beside = f" beside {kept >> 20} MiB of the models that work with it" if kept else ""
    return ModelUnusableError(
        f"it takes {found.size >> 20} MiB{beside}, and models may take {budget >> 20} MiB",
        operation=f"load {found.part.name}",
        remedy="raise engine.model_memory_mb, or name a smaller model",
    )
