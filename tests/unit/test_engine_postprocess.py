"""What the log says of stages that fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dropscribe.engine.core.postprocess import Postprocessor
from dropscribe.engine.models.null import NullStage
from dropscribe.engine.protocol import Annotations, StreamOptions
from dropscribe.errors import EngineError

OPTIONS = StreamOptions(punctuation="auto", speakers=0)


class Failing(NullStage):
    name = "punctuation"

    def __init__(self, why: str) -> None:
        self.why = why

    def wants(self, options: StreamOptions) -> bool:
        return True

    def finish(self, streams: Sequence[int]) -> Mapping[int, Annotations]:
        raise EngineError(self.why)


def test_the_first_failure_of_each_of_two_models_of_a_role_is_noted() -> None:
    notes: list[str] = []
    postprocessor = Postprocessor((), notes.append)
    first, other = Failing("no memory"), Failing("bad shape")
    for stream, stage in enumerate([first, other, first]):
        postprocessor.add(stage)
        postprocessor.finish({stream: OPTIONS})
        postprocessor.finish({stream: OPTIONS})
        postprocessor.remove(stage)
    reasons = [note.partition(";")[0] for note in notes]
    assert reasons == [f"punctuation failed: {why}" for why in ("no memory", "bad shape", "no memory")]
