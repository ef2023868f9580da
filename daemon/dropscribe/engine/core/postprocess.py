"""Run the postprocessing stages after each batch and when streams end. No torch.

If a stage fails, the transcript lacks its result, but keeps its text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from dropscribe.engine.core.interfaces import Hypothesis, PostprocessingStage, SpeechSegment
from dropscribe.engine.protocol import NO_ANNOTATIONS, Annotations, StreamDone, StreamOptions
from dropscribe.errors import DropscribeError, EngineDiedError, release_traceback


class Postprocessing(Protocol):
    """The stages of an engine, as the scheduler calls them."""

    def add(self, stage: PostprocessingStage) -> None:
        """Add a stage, for streams that begin later."""

    def remove(self, stage: PostprocessingStage) -> None:
        """Remove a stage that no stream in the engine wants."""

    def remark(self, stream: int, about: str, text: str) -> None:
        """Add a remark to a stream that has not ended; a later one about the same replaces it."""

    def recognised(self, segments: Sequence[SpeechSegment], hypotheses: Sequence[Hypothesis]) -> None:
        """Pass a recognised batch to each stage; `hypotheses` in the order of `segments`."""

    def end(self, ends: Sequence[StreamDone], options: Mapping[int, StreamOptions]) -> None:
        """End streams whose segments were all passed to `recognised`; `options`: of each of them."""

    def ended(self) -> list[StreamDone]:
        """Streams that all stages have completed since the last call, with annotations and remarks.

        Raises EngineDiedError if the device is unusable, as any of the calls may.
        """

    def drop(self, stream: int) -> None:
        """Discard the state of a stream that failed or was aborted, also one that is ending."""


class Postprocessor:
    """All stages of an engine, in order, each call complete when it returns. Owned by the worker's thread.

    A stage is called for the streams that want it. If it raises, it is called again for each stream alone. A stream for
    which it raises again continues without this stage and gets a remark. EngineDiedError is propagated: the device is
    unusable.
    """

    def __init__(
        self, stages: Sequence[PostprocessingStage] = (), note: Callable[[str], None] = lambda _: None
    ) -> None:
        """`note` is called with the first failure of each stage, for the log; every failure is in a remark."""
        self.stages = list(stages)
        self._note = note
        #: Stages whose first failure was noted. Two models of a role have the same name.
        self._noted: set[PostprocessingStage] = set()
        #: Stream → name of a stage that failed on it, or of what else is missing → remark
        self._failed: dict[int, dict[str, str]] = {}
        self._ended: list[StreamDone] = []

    def add(self, stage: PostprocessingStage) -> None:
        """See `Postprocessing`."""
        self.stages.append(stage)

    def remove(self, stage: PostprocessingStage) -> None:
        """See `Postprocessing`."""
        self.stages.remove(stage)
        self._noted.discard(stage)

    def remark(self, stream: int, about: str, text: str) -> None:
        """See `Postprocessing`."""
        self._failed.setdefault(stream, {})[about] = text

    def recognised(self, segments: Sequence[SpeechSegment], hypotheses: Sequence[Hypothesis]) -> None:
        """Pass a recognised batch to each stage; `hypotheses` in the order of `segments`."""
        options = {s.stream: s.options for s in segments}
        for stage in self.stages:

            def run(streams: Sequence[int], stage: PostprocessingStage = stage) -> None:
                chosen = frozenset(streams)
                at = [i for i, segment in enumerate(segments) if segment.stream in chosen]
                stage.recognised([segments[i] for i in at], [hypotheses[i] for i in at])

            self._call(stage, self._streams_of(stage, options), run)

    def finish(
        self, options: Mapping[int, StreamOptions]
    ) -> tuple[dict[int, tuple[str, ...]], dict[int, Annotations]]:
        """End streams, given with their options, whose segments were all passed to `recognised`.

        Returns the remarks of the streams with failures, and what the stages add to each stream.
        """
        added: dict[int, Annotations] = {}
        for stage in self.stages:

            def run(streams: Sequence[int], stage: PostprocessingStage = stage) -> None:
                for stream, own in stage.finish(streams).items():
                    added[stream] = added[stream].with_(own) if stream in added else own

            self._call(stage, self._streams_of(stage, options), run)
        remarks = {stream: self._forget(stream) for stream in options}
        return {stream: lines for stream, lines in remarks.items() if lines}, added

    def end(self, ends: Sequence[StreamDone], options: Mapping[int, StreamOptions]) -> None:
        """See `Postprocessing`."""
        if not ends or not (self.stages or self._failed):
            self._ended += ends
            return
        remarks, annotations = self.finish(options)
        self._ended += [
            replace(
                end,
                remarks=remarks.get(end.stream, ()),
                annotations=annotations.get(end.stream, NO_ANNOTATIONS),
            )
            for end in ends
        ]

    def ended(self) -> list[StreamDone]:
        """See `Postprocessing`."""
        ended, self._ended = self._ended, []
        return ended

    def drop(self, stream: int) -> None:
        """Discard the state of a stream that failed or was aborted."""
        for stage in self.stages:
            stage.drop(stream)
        self._forget(stream)

    def _streams_of(self, stage: PostprocessingStage, options: Mapping[int, StreamOptions]) -> list[int]:
        """The streams that want the stage and for which it has not failed."""
        return [
            s for s, own in options.items() if stage.wants(own) and stage.name not in self._failed.get(s, ())
        ]

    def _call(
        self, stage: PostprocessingStage, streams: Sequence[int], run: Callable[[Sequence[int]], None]
    ) -> None:
        if not streams:
            return
        try:
            run(streams)
        except EngineDiedError:
            raise
        except Exception as e:
            error = release_traceback(e)
        else:
            return
        # Not in the handler, where the error's frames would still be alive.
        if len(streams) > 1:
            for stream in streams:
                self._call(stage, [stream], run)
            return
        self._give_up(stage, streams[0], error)

    def _give_up(self, stage: PostprocessingStage, stream: int, error: Exception) -> None:
        reason = error.reason if isinstance(error, DropscribeError) else f"{type(error).__name__}: {error}"
        remark = f"{stage.name} failed: {reason}"
        self.remark(stream, stage.name, remark)
        stage.drop(stream)
        if stage not in self._noted:
            self._noted.add(stage)
            self._note(f"{remark}; the transcripts without it have a remark")

    def _forget(self, stream: int) -> tuple[str, ...]:
        return tuple(self._failed.pop(stream, {}).values())
