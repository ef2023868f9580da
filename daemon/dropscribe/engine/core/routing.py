"""Route streams to the models they ask for, and turn the schedulers of these models. No torch, no processes.

A detector and a recogniser have a scheduler of their own; the postprocessing stages are common to all. A stream whose
models are not loaded waits a bounded time for them, outside the schedulers, so that streams of other models continue.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import cast

from dropscribe.engine.core.batcher import Batcher
from dropscribe.engine.core.hotword_warnings import HotwordWarnings
from dropscribe.engine.core.interfaces import (
    NO_HOTWORDS,
    Listener,
    Multilingual,
    Pcm,
    PostprocessingStage,
    Recogniser,
    SpeechSegment,
    VadModel,
)
from dropscribe.engine.core.model_cache import RETRY_S, FoundModel, Loader, ModelCache
from dropscribe.engine.core.postprocess import Postprocessing, Postprocessor
from dropscribe.engine.core.residency import Part
from dropscribe.engine.core.scheduler import Inbox, Scheduler
from dropscribe.engine.protocol import (
    AUTO,
    Abort,
    BlockFreed,
    Event,
    PcmBlock,
    StreamDone,
    StreamFailed,
    StreamOptions,
)
from dropscribe.engine.wire import Aborted, Held, Report
from dropscribe.errors import EngineDiedError, EngineError, ModelsBusyError, ModelUnusableError
from dropscribe.transcript.roles import ASR, NULL, PUNCTUATION, SPEAKERS, VAD, ModelSet
from dropscribe.transcript.types import ModelsUsed

#: Longest time a stream waits for its models, seconds; its recording is then tried again later. Its audio takes room in the
#: engine meanwhile, which other streams need.
WAIT_S = 20.0
#: Time after which a model without room gets the next turn: streams of the models in its way are sent back, seconds.
TURN_S = 20.0
#: Interval of checking for models that are being loaded, seconds.
POLL_S = 0.05
#: Most steps of preparing a set of models at the start.
_STEPS = 12


@dataclass(slots=True, eq=False)
class _Route:
    """A detector and a recogniser with their scheduler. Owned by the worker's thread."""

    recogniser: Recogniser
    hotwords: HotwordWarnings
    scheduler: Scheduler
    inbox: list[PcmBlock | Abort] = field(default_factory=list)
    released: int = 0  #: samples, as last reported
    #: Failed streams whose last message may not have arrived.
    failed: set[int] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class _Waiting:
    """A stream whose models are not loaded yet."""

    options: StreamOptions
    models: ModelSet
    since: float  #: monotonic seconds
    blocks: list[PcmBlock] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Needs:
    """Models of a stream: those without which it fails, and stages that it can do without."""

    pair: tuple[Part, Part]
    stages: tuple[Part, ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        return (*self.pair, *self.stages)


class Router:
    """The engine's loop. Owned by the worker's thread."""

    def __init__(
        self,
        cache: ModelCache,
        loader: Loader,
        *,
        default: ModelSet,
        max_wait_s: float,
        read: Callable[[PcmBlock], Pcm],
        send: Callable[[Report | Held], None],
        clock: Callable[[], float],
        note: Callable[[str], None] = lambda _: None,
        postprocessor: Postprocessing | None = None,
    ) -> None:
        """`default`: for streams without models of their own. `read`: as of `Scheduler`. `note`: messages for the log."""
        self._cache = cache
        self._loader = loader
        self._default = default
        self._max_wait_s = max_wait_s
        self._read = read
        self._send = send
        self._clock = clock
        self._note = note
        self._noted: set[str] = set()
        self._postprocessor: Postprocessing = postprocessor or Postprocessor(note=note)
        self._routes: dict[tuple[Part, Part], _Route] = {}
        self._warming: dict[tuple[Part, Part], Future[float]] = {}
        #: Pairs that could not be warmed up: why, and until when they are not tried again, monotonic seconds.
        self._unusable: dict[tuple[Part, Part], tuple[EngineError, float]] = {}
        self._stages: dict[Part, PostprocessingStage] = {}
        self._waiting: dict[int, _Waiting] = {}
        #: Streams refused here whose last block has not arrived.
        self._refused: set[int] = set()
        self._route_of: dict[int, _Route] = {}
        self._parts_of: dict[int, tuple[Part, ...]] = {}
        self._used: dict[int, ModelsUsed] = {}
        self._batch_numbers = itertools.count(1)
        self._out: list[Event | Aborted] = []
        #: Samples released by this object and by schedulers that are gone.
        self._released = 0
        self._reported = 0  #: samples, as last reported
        self._held_version = self._checked_version = -1
        self._next_check = 0.0
        #: Size of the largest batch of the latest route, seconds.
        self._batch_s = 0.0
        cache.on_unload = self._unload

    def preload(self, sets: Sequence[ModelSet]) -> tuple[ModelsUsed, float]:
        """Load sets of models, as many as fit; returns the first one and the size of its largest batch, seconds.

        Raises EngineError if none can be loaded. If some cannot, the log names them.
        """
        first: tuple[ModelsUsed, float] | None = None
        error: EngineError | None = None
        for models in map(_effective, sets):
            try:
                made = self._preload(models)
            except EngineError as e:
                error = error or e
                if len(sets) > 1:
                    self._note(f"{e}; recordings of profiles that name it wait")
                continue
            if made is None:
                self._note(
                    f"{models.asr} has no room beside the models loaded before; it is loaded when it is needed"
                )
            first = first or made
        # Nobody waits for them: they must not take the room of the others.
        self._cache.forget_unloaded()
        if first is None:
            raise error or EngineError(
                "no model fits", operation="start engine", remedy="raise engine.model_memory_mb"
            )
        return first

    def run(self, inbox: Inbox) -> None:
        """Run until the process ends. Raises EngineDiedError when the device is unusable."""
        while True:
            self.turn(inbox)

    def turn(self, inbox: Inbox) -> None:
        """Wait for messages until something is due; route them, start streams that can start, turn the schedulers."""
        for message in inbox.take(self._wait_s()):
            self._accept(message)
        self._cache.tend()
        for pair in [pair for pair, work in self._warming.items() if work.done()]:
            self._take_warm(pair)
        self._start_waiting()
        for route in list(self._routes.values()):
            messages, route.inbox = route.inbox, []
            route.scheduler.step(messages)
            self._end_failed(route)
        self._emit([])
        if self._cache.version != self._held_version:
            self._held_version = self._cache.version
            self._send(Held(self._cache.held()))

    def _wait_s(self) -> float | None:
        now = self._clock()
        waits = [route.scheduler.wait_s(now) for route in self._routes.values()]
        if self._waiting or self._warming or self._cache.busy:
            waits.append(POLL_S)
        return min((w for w in waits if w is not None), default=None)

    def _accept(self, message: PcmBlock | Abort) -> None:
        stream = message.stream
        route = self._route_of.get(stream)
        if route is not None:
            route.inbox.append(message)
        elif isinstance(message, Abort):
            waiting = self._waiting.pop(stream, None)
            self._free(waiting.blocks if waiting else ())
            self._refused.discard(stream)
            self._out.append(Aborted(stream))
        elif stream in self._refused:
            self._free([message])
            if message.final:
                self._refused.discard(stream)
        else:
            waiting = self._waiting.get(stream)
            if waiting is None:
                models = _effective(message.options.models or self._default)
                waiting = self._waiting[stream] = _Waiting(message.options, models, self._clock())
                self._checked_version = -1
            waiting.blocks.append(message)

    def _start_waiting(self) -> None:
        """Start streams whose models are loaded by now; checked after each change, and every `POLL_S`."""
        now = self._clock()
        if self._cache.version == self._checked_version and now < self._next_check:
            return
        for stream, waiting in list(self._waiting.items()):
            self._advance(stream, waiting)
        # Starting one asks for models, which changes the version.
        self._checked_version, self._next_check = self._cache.version, now + POLL_S

    def _advance(self, stream: int, waiting: _Waiting) -> None:
        """Start a stream if its models are loaded; fail it if they cannot be, or not in time."""
        needs = self._ask(waiting.models, waiting.options)
        error = self._error_of(needs.pair) or self._warm_up_error(needs.pair)
        if error is not None:
            self._refuse(stream, waiting, error)
            return
        rival = self._cache.in_the_way(needs.parts, TURN_S)
        if rival is not None:
            self._refuse(stream, waiting, ModelsBusyError(f"it is the turn of recordings for {rival.name}"))
            return
        route = self._route(needs)
        if route is not None:
            self._start(stream, waiting, needs, route)
        elif self._clock() - waiting.since >= WAIT_S:
            missing = next((p for p in needs.parts if self._cache.loaded(p) is None), needs.pair[0])
            reason = f"its model {missing.name} is being loaded, or has no room beside the models in use"
            self._refuse(stream, waiting, ModelsBusyError(reason))

    def _ask(self, models: ModelSet, options: StreamOptions) -> _Needs:
        """Have the models of a stream loaded; the stages are known once the recogniser is found."""
        pair = Part(ASR, models.asr), Part(VAD, models.vad)
        for part in pair:
            self._cache.ask(part, pair)
        found = self._cache.found(pair[0])
        stages = () if found is None else tuple(_stages(models, options, found))
        for part in stages:
            self._cache.ask(part, (*pair, *stages))
        return _Needs(pair, stages)

    def _error_of(self, parts: Iterable[Part]) -> EngineError | None:
        return next((e for part in parts if (e := self._cache.error(part)) is not None), None)

    def _warm_up_error(self, pair: tuple[Part, Part]) -> EngineError | None:
        error, until = self._unusable.get(pair, (None, 0.0))
        if error is not None and self._clock() >= until:
            del self._unusable[pair]
            return None
        return error

    def _route(self, needs: _Needs) -> _Route | None:
        """The warm models of a stream; None while they are being loaded."""
        pending = [p for p in needs.parts if self._cache.loaded(p) is None and self._cache.error(p) is None]
        if pending or self._cache.found(needs.pair[0]) is None:
            return None
        for part in needs.stages:
            self._add_stage(part)
        if needs.pair not in self._routes and needs.pair not in self._warming:
            self._warm_up(needs.pair)
        return self._routes.get(needs.pair)

    def _models(self, pair: tuple[Part, Part]) -> tuple[Recogniser, VadModel]:
        loaded, detector = (self._cache.loaded(part) for part in pair)
        assert loaded is not None
        assert detector is not None
        return cast(Recogniser, loaded.model), cast(VadModel, detector.model)

    def _warm_up(self, pair: tuple[Part, Part]) -> None:
        """Begin to warm up a recogniser and its detector."""
        recogniser, vad = self._models(pair)
        self._cache.use(pair, warming=True)
        work = self._warming[pair] = self._cache.run(lambda: self._loader.warm_up(vad, recogniser))
        if work.done():
            self._take_warm(pair)

    def _take_warm(self, pair: tuple[Part, Part]) -> None:
        """Make the scheduler of a pair whose warm-up has ended, also if no stream waits for it any more."""
        recogniser, vad = self._models(pair)
        work = self._warming.pop(pair)
        self._cache.release(pair)
        self._checked_version = -1
        try:
            batch_s = work.result()
        except EngineDiedError:
            raise
        except Exception as e:
            self._unusable[pair] = self._cache.discard(pair[0], e), self._clock() + RETRY_S
            return
        complaint = recogniser.complaint if isinstance(recogniser, Listener) else lambda _: NO_HOTWORDS
        batcher: Batcher[SpeechSegment] = Batcher(batch_s, self._max_wait_s, self._batch_numbers)

        def send(report: Report) -> None:
            made.released = report.released
            self._emit(self._ended(made, report.events))

        scheduler = Scheduler(
            vad, recogniser, batcher, read=self._read, send=send, clock=self._clock,
            postprocessor=self._postprocessor,
        )  # fmt: skip
        made = self._routes[pair] = _Route(recogniser, HotwordWarnings(complaint, self._note), scheduler)
        self._batch_s = batch_s

    def _add_stage(self, part: Part) -> None:
        loaded = self._cache.loaded(part)
        if loaded is not None and part not in self._stages:
            stage = self._stages[part] = cast(PostprocessingStage, loaded.model)
            self._postprocessor.add(stage)

    def _unload(self, part: Part) -> None:
        """Drop what refers to a model that is being unloaded."""
        stage = self._stages.pop(part, None)
        if stage is not None:
            self._postprocessor.remove(stage)
        for pair in [pair for pair in self._routes if part in pair]:
            self._released += self._routes.pop(pair).released

    def _start(self, stream: int, waiting: _Waiting, needs: _Needs, route: _Route) -> None:
        del self._waiting[stream]
        stages = [part for part in needs.stages if self._cache.loaded(part) is not None]
        for part in needs.stages:
            error = self._cache.error(part)
            if error is not None:
                self._postprocessor.remark(stream, part.role, f"{part.role} failed: {error.reason}")
        roles = {part.role: part.name for part in stages}
        options = replace(
            waiting.options,
            models=replace(
                waiting.models, punctuation=roles.get(PUNCTUATION, ""), speakers=roles.get(SPEAKERS, "")
            ),
            punctuation=roles.get(PUNCTUATION, ""),
            speakers=waiting.options.speakers if SPEAKERS in roles else None,
            language=self._language(stream, waiting, route.recogniser),
        )
        route.hotwords.check(options.hotwords)
        parts = (*needs.pair, *stages)
        self._cache.use(parts)
        self._parts_of[stream] = parts
        self._used[stream] = self._used_models(parts)
        self._route_of[stream] = route
        first = waiting.blocks[0]
        route.inbox.append(PcmBlock(stream, first.offset, first.samples, first.final, options))
        route.inbox += waiting.blocks[1:]

    def _language(self, stream: int, waiting: _Waiting, recogniser: Recogniser) -> str:
        """The language for the recogniser; one that it does not know is left out, with a remark."""
        asked = waiting.options.language
        known = recogniser.languages if isinstance(recogniser, Multilingual) else ()
        if asked == AUTO or asked in known:
            return asked
        what = f"it knows {', '.join(known)}" if known else "it has no choice of languages"
        text = f"language {asked} was not used: {waiting.models.asr} does not know it ({what})"
        self._postprocessor.remark(stream, "language", text)
        if text not in self._noted:
            self._noted.add(text)
            self._note(text)
        return AUTO

    def _used_models(self, parts: Iterable[Part]) -> ModelsUsed:
        models = tuple((part.role, part.name) for part in parts)
        loaded = self._cache.loaded(Part(*models[0]))
        assert loaded is not None
        return ModelsUsed(models, loaded.precision, loaded.notice)

    def _refuse(self, stream: int, waiting: _Waiting, error: EngineError) -> None:
        del self._waiting[stream]
        self._free(waiting.blocks)
        if not waiting.blocks[-1].final:
            self._refused.add(stream)
        busy = isinstance(error, ModelsBusyError)
        code = error.code if busy else ModelUnusableError.code
        reason = error.reason if busy or error.path is None else f"{error.path}: {error.reason}"
        reason = reason if busy or not error.operation else f"{error.operation}: {reason}"
        self._out.append(StreamFailed(stream, code, reason, retryable=True, remedy=error.remedy))

    def _free(self, blocks: Iterable[PcmBlock]) -> None:
        for block in blocks:
            self._released += block.samples
            self._out.append(BlockFreed(block.offset))

    def _ended(self, route: _Route, events: Iterable[Event | Aborted]) -> Iterator[Event | Aborted]:
        """The events of a scheduler, with the models of streams that end, which are then not in use any more."""
        for event in events:
            if isinstance(event, StreamDone):
                yield replace(event, used=self._used.get(event.stream))
                self._forget(event.stream)
                continue
            if isinstance(event, Aborted):
                self._forget(event.stream)
            elif isinstance(event, StreamFailed):
                route.failed.add(event.stream)
            yield event

    def _end_failed(self, route: _Route) -> None:
        """Forget failed streams of which no further message is expected."""
        for stream in [s for s in route.failed if not route.scheduler.handles(s)]:
            route.failed.discard(stream)
            self._forget(stream)

    def _forget(self, stream: int) -> None:
        self._route_of.pop(stream, None)
        self._used.pop(stream, None)
        self._cache.release(self._parts_of.pop(stream, ()))

    def _emit(self, events: Iterable[Event | Aborted]) -> None:
        """Report events, and the samples released by all schedulers together."""
        out, self._out = [*self._out, *events], []
        released = self._released + sum(route.released for route in self._routes.values())
        if out or released != self._reported:
            self._reported = released
            self._send(Report(tuple(out), released))

    def _preload(self, models: ModelSet) -> tuple[ModelsUsed, float] | None:
        """Load one set; None if there is no room for it. Raises EngineError if a model of it cannot be used."""
        options = StreamOptions(punctuation=AUTO, speakers=0 if models.speakers else None, models=models)
        # All directories are checked before the first model is loaded, so that a wrong one is reported at once.
        for _ in range(2):
            needs = self._ask(models, options)
            self._cache.take()
        for _ in range(_STEPS):
            needs = self._ask(models, options)
            error = self._error_of(needs.parts) or self._warm_up_error(needs.pair)
            if error is not None:
                raise error
            if self._route(needs) is not None:
                return self._used_models(needs.parts), self._batch_s
            self._cache.tend()
        return None


def _effective(models: ModelSet) -> ModelSet:
    """The models that are loaded for a set: with a null recogniser all are."""
    return ModelSet(NULL, NULL, NULL) if models.asr == NULL else models


def _stages(models: ModelSet, options: StreamOptions, recogniser: FoundModel) -> Iterator[Part]:
    """Postprocessing models of a stream. Text of a recogniser that writes marks itself is not punctuated."""
    named = NULL if models.asr == NULL else options.punctuation
    if recogniser.writes_marks is False and named == AUTO:
        named = models.punctuation
    if named and named != AUTO and recogniser.writes_marks is not True:
        yield Part(PUNCTUATION, named)
    if options.speakers is not None and models.speakers:
        yield Part(SPEAKERS, models.speakers)
