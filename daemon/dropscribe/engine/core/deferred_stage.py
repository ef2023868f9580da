"""A postprocessing stage that is loaded when a recording needs it. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dropscribe.engine.core.interfaces import Hypothesis, PostprocessingStage, SpeechSegment
from dropscribe.engine.protocol import Annotations, StreamOptions


class DeferredStage:
    """See `dropscribe.engine.core.interfaces.PostprocessingStage`. Owned by the worker's thread."""

    def __init__(
        self, name: str, wants: Callable[[StreamOptions], bool], load: Callable[[], PostprocessingStage]
    ) -> None:
        """`name`, `wants`: those of the stage that `load` returns. If `load` raises, the next call loads again."""
        self.name = name
        self.wants = wants
        self._load = load
        self._stage: PostprocessingStage | None = None

    def recognised(self, segments: Sequence[SpeechSegment], hypotheses: Sequence[Hypothesis]) -> None:
        """Load the stage if this is the first call, and process a batch."""
        self._loaded().recognised(segments, hypotheses)

    def finish(self, streams: Sequence[int]) -> Mapping[int, Annotations]:
        """Load the stage if this is the first call, and complete streams."""
        return self._loaded().finish(streams)

    def drop(self, stream: int) -> None:
        """Discard the state of a stream; a stage that is not loaded has none."""
        if self._stage is not None:
            self._stage.drop(stream)

    def _loaded(self) -> PostprocessingStage:
        if self._stage is None:
            self._stage = self._load()
        return self._stage
