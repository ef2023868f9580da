"""Schedule VAD passes, batches and postprocessing in the engine process. No torch, no processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from dropscribe.engine.core.batch_results import Recognised, failure_of, joined, match_results
from dropscribe.engine.core.batcher import Batch, Batcher
from dropscribe.engine.core.interfaces import (
    Pcm,
    Pipelined,
    Recogniser,
    SpeechSegment,
    VadModel,
    WholeBatch,
    needs_samples,
)
from dropscribe.engine.core.postprocess import Postprocessing, Postprocessor
from dropscribe.engine.core.streams import Stream
from dropscribe.engine.core.vad_runner import Offered, VadRunner
from dropscribe.engine.core.vad_schedule import ON_CPU, ON_GPU, VadSchedule, next_pass
from dropscribe.engine.protocol import (
    Abort,
    BlockFreed,
    Event,
    PcmBlock,
    SegmentDone,
    StreamFailed,
)
from dropscribe.engine.wire import Aborted, Report
from dropscribe.errors import EngineDiedError, OutOfDeviceMemoryError, release_traceback

Batched = Batch[SpeechSegment]
#: Stream count at which the scheduler favours throughput over latency.
THROUGHPUT_STREAMS = 4
#: VAD passes under way in throughput mode: one whose results are handled while the device runs the next.
MOST_PASSES = 2
#: Interval of looking for results while the device has enough to do, seconds.
LOOK_S = 0.002


class Inbox(Protocol):
    """Source of blocks and aborts."""

    def take(self, timeout_s: float | None) -> Sequence[PcmBlock | Abort]:
        """All messages that have arrived; waits at most `timeout_s` for the first one, without limit if None.

        May return none before, when a stage on another thread has completed streams.
        """


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    """A batch in progress, or one that failed to start."""

    batch: Batched
    started: float  #: monotonic seconds
    handle: object
    error: Exception | None


class Scheduler:
    """The scheduler of a detector and a recogniser: turns blocks into events. Owned by the worker's thread."""

    def __init__(
        self,
        vad: VadModel,
        recogniser: Recogniser,
        batcher: Batcher[SpeechSegment],
        *,
        read: Callable[[PcmBlock], Pcm],
        send: Callable[[Report], None],
        clock: Callable[[], float],
        postprocessor: Postprocessing | None = None,
    ) -> None:
        """`read` returns a block's samples in the arena; they are not read after the block is reported free."""
        self._vad = vad
        self._vad_runner = VadRunner(vad)
        self._recogniser = recogniser
        self._pipeline = recogniser if isinstance(recogniser, Pipelined) else WholeBatch(recogniser)
        self._batcher = batcher
        self._postprocessor: Postprocessing = postprocessor or Postprocessor()
        self._read = read
        self._keeps_samples = needs_samples(vad, recogniser)
        self._send = send
        self._clock = clock
        self._blocks: deque[PcmBlock] = deque()
        #: Batches launched and not delivered, oldest first.
        self._running: deque[_Running] = deque()
        self._finished_at = 0.0
        self._vad_schedule = VadSchedule()
        #: True if the last step had nothing to do while the device was at work.
        self._looking = False
        self._pass_bounds = ON_GPU if self._pipeline.depth > 1 else ON_CPU
        self._streams: dict[int, Stream] = {}
        #: Slots that a VAD pass under way may be reading, with their streams.
        self._being_read: dict[int, int] = {}
        #: Failed streams whose last block (or abort) has not arrived yet: their blocks are only freed.
        self._failed: set[int] = set()
        self._out: list[Event | Aborted] = []
        self._received = 0  #: samples in all blocks so far
        self._unread = 0  #: samples in blocks not read yet
        self._unanswered = 0  #: samples in segments not recognised yet
        self._released = 0  #: samples, as last reported

    def handles(self, stream: int) -> bool:
        """True while messages of this stream are expected, or its end has not been reported."""
        return stream in self._streams or stream in self._failed

    def turn(self, inbox: Inbox) -> None:
        """Wait for messages until something is due, then do one `step`."""
        self.step(inbox.take(self.wait_s(self._clock())))

    def step(self, messages: Iterable[PcmBlock | Abort]) -> None:
        """Accept messages, run a VAD pass and a batch where they are due, report.

        In throughput mode nothing here waits for the device: results are taken over when they are there, so that the
        next pass or batch is launched as soon as it is due.
        """
        for message in messages:
            self._accept(message)
        many = self._throughput_mode()
        passes = len(self._vad_runner)
        vad_due = self._vad_wait_s(self._clock()) == 0.0 and (not many or passes < MOST_PASSES)
        if vad_due:
            self._begin_vad_pass()
        busy = len(self._vad_runner) > 0
        self._finish_vad_passes(wait=not many)
        batch = None
        if len(self._running) < self._pipeline.depth:
            batch = self._batcher.next(self._clock(), flush=self._nothing_is_coming(), throughput_mode=many)
        if batch is not None:
            self._begin(batch)
        batches = len(self._running)
        while self._running and self._to_be_finished(idle=not (batch or busy)):
            self._finish(self._running.popleft())
        still = len(self._vad_runner) == passes and len(self._running) == batches
        self._looking = many and still and not (vad_due or batch)
        self._report()

    def _to_be_finished(self, *, idle: bool) -> bool:
        """True if the oldest batch is to be finished now: in throughput mode, if that does not wait.

        Otherwise, if enough batches are in progress, or if there is nothing else to do.
        """
        if self._throughput_mode():
            oldest = self._running[0]
            return oldest.error is not None or self._pipeline.ready(oldest.handle)
        return len(self._running) >= self._pipeline.depth or idle

    def wait_s(self, now: float) -> float | None:
        """Longest wait for messages, seconds: until the next VAD pass or batch is due; None if nothing waits."""
        if self._running or self._vad_runner:
            return LOOK_S if self._looking else 0.0
        waits = [self._vad_wait_s(now)]
        deadline = self._batcher.deadline(throughput_mode=self._throughput_mode())
        if deadline is not None:
            waits.append(max(0.0, deadline - now))
        return min((w for w in waits if w is not None), default=None)

    def _vad_wait_s(self, now: float) -> float | None:
        """Seconds until the next VAD pass is due; None while no blocks are waiting."""
        if not self._blocks:
            return None
        return self._vad_schedule.wait_s(now, self._unread, throughput_mode=self._throughput_mode())

    def _throughput_mode(self) -> bool:
        """True if larger and less frequent passes and batches are faster: with many streams on a pipelined device."""
        return self._pipeline.depth > 1 and len(self._streams) >= THROUGHPUT_STREAMS

    def _nothing_is_coming(self) -> bool:
        return not self._blocks and not any(s.open for s in self._streams.values())

    def _accept(self, message: PcmBlock | Abort) -> None:
        if isinstance(message, PcmBlock):
            self._blocks.append(message)
            self._received += message.samples
            self._unread += message.samples
            if message.stream not in self._failed and message.stream not in self._streams:
                self._streams[message.stream] = Stream(
                    message.stream, self._vad.open(), message.options, keeps_samples=self._keeps_samples
                )
            return
        self._discard([b for b in self._blocks if b.stream == message.stream])
        self._blocks = deque(b for b in self._blocks if b.stream != message.stream)
        # Whatever the device reads from now on in their place is of no use to anybody.
        being_read = [slot for slot, stream in self._being_read.items() if stream == message.stream]
        self._free(being_read, message.stream)
        self._forget(message.stream)
        self._failed.discard(message.stream)
        self._out.append(Aborted(message.stream))

    def _begin_vad_pass(self) -> None:
        """Start a VAD pass over the waiting blocks, oldest first, as many as one pass takes."""
        offered = []
        chosen = next_pass(self._blocks, self._pass_bounds)
        for blocks in chosen:
            number, final = blocks[-1].stream, blocks[-1].final
            stream = self._streams.get(number)
            if stream is None:
                self._discard(blocks)
                if final:
                    self._failed.discard(number)
                continue
            slots = tuple(block.offset for block in blocks)
            self._unread -= sum(block.samples for block in blocks)
            self._being_read.update(dict.fromkeys(slots, number))
            # Not copied here: the detector copies them, or a device reads them itself.
            offered.append(Offered(stream, tuple(map(self._read, blocks)), final, slots))
        self._vad_schedule.record_pass(self._clock())
        self._vad_runner.begin(offered)

    def _finish_vad_passes(self, *, wait: bool) -> None:
        """Handle the results of all VAD passes; without `wait`, of those that are ready."""
        now = self._clock()
        searched = []
        for one, found in self._vad_runner.finish(now, wait=wait):
            self._free(one.slots, one.stream.number)
            if self._streams.get(one.stream.number) is not one.stream:
                # Failed or aborted during the pass.
                if one.final:
                    self._failed.discard(one.stream.number)
                continue
            if isinstance(found, Exception):
                self._fail(failure_of(one.stream.number, found), more_to_come=not one.final)
                continue
            for segment in found:
                self._unanswered += segment.samples
                self._batcher.add(segment, now)
            searched.append(one.stream.number)
        self._end_complete(searched)

    def _begin(self, batch: Batched) -> None:
        """Launch a batch. An error at launch is handled in `_finish`, in the order of the batches."""
        started = self._clock()
        try:
            running = _Running(batch, started, self._pipeline.begin(batch.segments), None)
        except EngineDiedError:
            raise
        except Exception as e:
            running = _Running(batch, started, None, release_traceback(e))
        self._running.append(running)

    def _finish(self, running: _Running) -> None:
        """Wait for a batch, then deliver its results."""
        batch, error = running.batch, running.error
        if error is None:
            try:
                recognised = match_results(batch.segments, self._pipeline.finish(running.handle))
            except EngineDiedError:
                raise
            except Exception as e:
                error = release_traceback(e)
        if error is not None:
            recognised = self._in_parts(batch, error)
        now = self._clock()
        # Batches overlap: each is charged the time since the previous one finished.
        seconds = now - max(running.started, self._finished_at)
        self._finished_at = now
        self._deliver(batch, recognised, running.started, seconds)

    def _recognise(self, batch: Batched) -> Recognised:
        """Run part of a failed batch."""
        try:
            return match_results(batch.segments, self._recogniser(batch.segments))
        except EngineDiedError:
            raise
        except Exception as e:
            error = release_traceback(e)
        # Not in the handler, where the error's frames would still be alive.
        return self._in_parts(batch, error)

    def _in_parts(self, batch: Batched, error: Exception) -> Recognised:
        """Run a failed batch again in parts, down to the segment at fault."""
        segments = batch.segments
        if len(segments) == 1:
            return Recognised((), (failure_of(segments[0].stream, error),))
        if isinstance(error, OutOfDeviceMemoryError):
            # A batch of this size would not fit next time either.
            self._batcher.limit(batch.padded_s / 2)
            half = len(segments) // 2
            parts = [segments[:half], segments[half:]]
        else:
            parts = [(s,) for s in segments]
        return joined([self._recognise(Batch(batch.number, part)) for part in parts])

    def _deliver(self, batch: Batched, recognised: Recognised, started: float, seconds: float) -> None:
        by_key = {(h.stream, h.index): h for h in recognised.hypotheses}
        failed = {f.stream for f in recognised.failures}
        size, audio_s, padded_s = len(batch.segments), batch.audio_s, batch.padded_s
        delivered: list[SpeechSegment] = []
        for segment in batch.segments:
            self._unanswered -= segment.samples
            stream = self._streams.get(segment.stream)
            # The stream was aborted or failed after the segment was found.
            if stream is None or segment.stream in failed:
                continue
            hypothesis = by_key[segment.stream, segment.index]
            self._out.append(
                SegmentDone(
                    segment.stream,
                    segment.index,
                    segment.start_ms,
                    segment.end_ms,
                    hypothesis.text,
                    hypothesis.tokens,
                    batch.number,
                    size,
                    padded_s,
                    audio_s,
                    started - segment.found_at,
                    seconds * segment.audio_s / audio_s if audio_s else 0.0,
                    hypothesis.tags,
                )
            )
            stream.answered()
            delivered.append(segment)
        if delivered:
            self._postprocessor.recognised(delivered, [by_key[s.stream, s.index] for s in delivered])
        self._end_complete([s.stream for s in delivered])
        for failure in recognised.failures:
            stream = self._streams.get(failure.stream)
            if stream is not None:
                self._fail(failure, more_to_come=stream.open)

    def _end_complete(self, streams: Iterable[int]) -> None:
        """Begin to end, in one call, the given streams whose segments have all been delivered."""
        ends, options = [], {}
        for number in dict.fromkeys(streams):
            stream = self._streams.get(number)
            end = None if stream is None else stream.end()
            if end is not None:
                options[number] = self._streams.pop(number).options
                ends.append(end)
        if ends:
            self._postprocessor.end(ends, options)

    def _fail(self, failure: StreamFailed, *, more_to_come: bool) -> None:
        self._forget(failure.stream)
        if more_to_come:
            self._failed.add(failure.stream)
        self._out.append(failure)

    def _forget(self, stream: int) -> None:
        self._streams.pop(stream, None)
        self._postprocessor.drop(stream)
        for segment in self._batcher.drop(stream):
            self._unanswered -= segment.samples

    def _discard(self, blocks: Iterable[PcmBlock]) -> None:
        """Free the slots of blocks that are not read."""
        for block in blocks:
            self._unread -= block.samples
            self._out.append(BlockFreed(block.offset))

    def _free(self, slots: Iterable[int], stream: int) -> None:
        """Free slots whose samples have been read, unless they were freed when the stream was aborted."""
        for slot in slots:
            if self._being_read.get(slot) == stream:
                del self._being_read[slot]
                self._out.append(BlockFreed(slot))

    def _report(self) -> None:
        self._out += self._postprocessor.ended()
        released = self._received - self._unread - self._vad_runner.samples - self._unanswered
        if self._out or released != self._released:
            self._send(Report(tuple(self._out), released))
            self._out, self._released = [], released
