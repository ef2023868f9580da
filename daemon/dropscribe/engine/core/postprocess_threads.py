"""Run the postprocessing stages beside the scheduler, each on a thread of its own. No torch.

So the scheduler launches the next batches while a stage waits for its own passes over the device, or clusters.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from dropscribe.engine.core.interfaces import Hypothesis, PostprocessingStage, SpeechSegment
from dropscribe.engine.core.postprocess import Postprocessor
from dropscribe.engine.protocol import NO_ANNOTATIONS, Annotations, StreamDone, StreamOptions

#: Batches that wait for a stage; the scheduler waits beyond that. Segments may hold memory of the device.
MOST_BATCHES = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    segments: tuple[SpeechSegment, ...]
    hypotheses: tuple[Hypothesis, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _End:
    options: Mapping[int, StreamOptions]


@dataclass(frozen=True, slots=True)
class _Drop:
    stream: int


@dataclass(frozen=True, slots=True)
class _Stop:
    """The last job of a thread."""


@dataclass(frozen=True, slots=True, eq=False)
class _Result:
    """What a stage made of streams: remarks and annotations, as `Postprocessor.finish` returns them."""

    lane: int
    streams: tuple[int, ...]
    remarks: Mapping[int, tuple[str, ...]]
    added: Mapping[int, Annotations]


_Job = _Batch | _End | _Drop | _Stop


class _Lane(threading.Thread):
    """The thread of one stage. It takes all that is queued at once, so that a slow stage gets larger calls."""

    def __init__(
        self,
        number: int,
        stage: PostprocessingStage,
        note: Callable[[str], None],
        done: Callable[[object], None],
    ) -> None:
        super().__init__(name=f"stage-{stage.name}", daemon=True)
        self.stage = stage
        self._number = number
        self._postprocessor = Postprocessor((stage,), note)
        self._done = done
        self._changed = threading.Condition()
        #: Guarded by `_changed`, as the next two.
        self._queue: deque[_Job] = deque()
        self._batches = 0  #: in the queue
        self._ended = False

    def post(self, job: _Job) -> None:
        """Queue a job; a batch waits while there are `MOST_BATCHES`."""
        with self._changed:
            if isinstance(job, _Batch):
                self._changed.wait_for(lambda: self._batches < MOST_BATCHES or self._ended)
                self._batches += 1
            self._queue.append(job)
            self._changed.notify_all()

    def run(self) -> None:
        """Work until `_Stop`; an error that concerns more than a stream ends it, and is passed on."""
        try:
            while self._work(self._take()):
                pass
        except BaseException as e:
            self._done(e)
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _take(self) -> Sequence[_Job]:
        with self._changed:
            self._changed.wait_for(lambda: self._queue)
            jobs = tuple(self._queue)
            self._queue.clear()
            self._batches = 0
            self._changed.notify_all()
        return jobs

    def _work(self, jobs: Sequence[_Job]) -> bool:
        """Batches, then drops, then ends: no stream has a batch after its end, and a dropped one needs no other call.

        Returns False after `_Stop`.
        """
        dropped = {job.stream for job in jobs if isinstance(job, _Drop)}
        batches = [job for job in jobs if isinstance(job, _Batch)]
        pairs = [
            (segment, hypothesis)
            for batch in batches
            for segment, hypothesis in zip(batch.segments, batch.hypotheses, strict=True)
            if segment.stream not in dropped
        ]
        if pairs:
            self._postprocessor.recognised([s for s, _ in pairs], [h for _, h in pairs])
        for stream in dropped:
            self._postprocessor.drop(stream)
        ending = {
            stream: options
            for job in jobs
            if isinstance(job, _End)
            for stream, options in job.options.items()
            if stream not in dropped
        }
        if ending:
            self._done(_Result(self._number, tuple(ending), *self._postprocessor.finish(ending)))
        return not any(isinstance(job, _Stop) for job in jobs)


@dataclass(slots=True)
class _Ending:
    """A stream whose stages have not all answered; results by number of the lane."""

    end: StreamDone
    missing: set[int]
    remarks: dict[int, tuple[str, ...]]
    added: dict[int, Annotations]

    def complete(self) -> StreamDone:
        annotations = NO_ANNOTATIONS
        for lane in sorted(self.added):
            annotations = annotations.with_(self.added[lane])
        remarks = tuple(line for lane in sorted(self.remarks) for line in self.remarks[lane])
        return replace(self.end, remarks=self.end.remarks + remarks, annotations=annotations)


class PostprocessingThreads:
    """See `dropscribe.engine.core.postprocess.Postprocessing`. Owned by the scheduler's thread."""

    def __init__(
        self,
        stages: Sequence[PostprocessingStage],
        note: Callable[[str], None] = lambda _: None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """`note`: as of `Postprocessor`. `wake`: called on a thread of a stage whenever `ended` has something new."""
        self._wake = wake
        #: Results and errors, filled by the threads of the stages; appending to a deque is atomic.
        self._results: deque[object] = deque()
        self._note = note
        #: By number, in order.
        self._lanes: dict[int, _Lane] = {}
        self._numbers = itertools.count()
        #: Remarks on streams besides those of stages, by what they are about.
        self._remarks: dict[int, dict[str, str]] = {}
        #: Streams whose end is not returned yet.
        self._ending: dict[int, _Ending] = {}
        self._complete: list[StreamDone] = []
        for stage in stages:
            self.add(stage)

    def add(self, stage: PostprocessingStage) -> None:
        """See `Postprocessing`."""
        number = next(self._numbers)
        self._lanes[number] = _Lane(number, stage, self._note, self._done)
        self._lanes[number].start()

    def remove(self, stage: PostprocessingStage) -> None:
        """See `Postprocessing`."""
        for number in [n for n, lane in self._lanes.items() if lane.stage is stage]:
            self._lanes.pop(number).post(_Stop())

    def remark(self, stream: int, about: str, text: str) -> None:
        """See `Postprocessing`."""
        self._remarks.setdefault(stream, {})[about] = text

    def recognised(self, segments: Sequence[SpeechSegment], hypotheses: Sequence[Hypothesis]) -> None:
        """See `Postprocessing`. Waits while a stage has too much to do."""
        for lane in self._lanes.values():
            wanted = [i for i, segment in enumerate(segments) if lane.stage.wants(segment.options)]
            if wanted:
                lane.post(_Batch(tuple(segments[i] for i in wanted), tuple(hypotheses[i] for i in wanted)))

    def end(self, ends: Sequence[StreamDone], options: Mapping[int, StreamOptions]) -> None:
        """See `Postprocessing`."""
        for plain in ends:
            own = tuple(self._remarks.pop(plain.stream, {}).values())
            end = replace(plain, remarks=own) if own else plain
            missing = {i for i, lane in self._lanes.items() if lane.stage.wants(options[end.stream])}
            if missing:
                self._ending[end.stream] = _Ending(end, missing, {}, {})
            else:
                self._complete.append(end)
        for i, lane in self._lanes.items():
            wanted = {
                end.stream: options[end.stream]
                for end in ends
                if end.stream in self._ending and i in self._ending[end.stream].missing
            }
            if wanted:
                lane.post(_End(wanted))

    def ended(self) -> list[StreamDone]:
        """See `Postprocessing`. Raises the error that ended the thread of a stage."""
        while self._results:
            result = self._results.popleft()
            if isinstance(result, BaseException):
                raise result
            assert isinstance(result, _Result)
            for stream in result.streams:
                self._answer(stream, result)
        complete, self._complete = self._complete, []
        return complete

    def drop(self, stream: int) -> None:
        """See `Postprocessing`."""
        self._ending.pop(stream, None)
        self._remarks.pop(stream, None)
        for lane in self._lanes.values():
            lane.post(_Drop(stream))

    def _answer(self, stream: int, result: _Result) -> None:
        ending = self._ending.get(stream)
        if ending is None:
            # Dropped while its stages were at work.
            return
        ending.missing.discard(result.lane)
        ending.remarks[result.lane] = result.remarks.get(stream, ())
        ending.added[result.lane] = result.added.get(stream, NO_ANNOTATIONS)
        if not ending.missing:
            del self._ending[stream]
            self._complete.append(ending.complete())

    def _done(self, result: object) -> None:
        self._results.append(result)
        self._wake()
