"""`transcribe` without decoders and engine: each file ends once, whatever becomes of the engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from dropscribe.config import Settings
from dropscribe.errors import DeviceFailedError
from dropscribe.pipeline import oneshot
from dropscribe.pipeline.assembly import Result
from dropscribe.pipeline.oneshot import OneShot
from tests.support.executors import InstantExecutor


class HungOnce(InstantExecutor):
    """Its engine counts as hung in the turn in which something ends, once."""

    hangs = True

    def supervise(self) -> None:
        super().supervise()
        if self.hangs and self.recognised:
            self.hangs = False
            raise DeviceFailedError("it hung", operation="recognise")


def test_a_file_that_ends_in_the_turn_in_which_the_engine_hangs_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{name}.wav" for name in "abc"]
    for path in paths:
        path.touch()
    monkeypatch.setattr(oneshot, "start_executor", lambda _: HungOnce())
    with OneShot(Settings.model_validate({})) as run:
        ended = list(run.transcribe(paths, lambda *_: None))
    assert sorted(f.path for f in ended) == paths
    assert all(isinstance(f.end, Result) for f in ended)
