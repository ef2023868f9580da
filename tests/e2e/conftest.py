"""Fixtures: one running daemon for the tests of a module, and transcripts made without bad recordings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dropscribe.config import Settings
from dropscribe.pipeline.assembly import Result
from dropscribe.pipeline.oneshot import OneShot, transcript_of
from dropscribe.transcript import render
from tests.support.daemon_process import DaemonProcess
from tests.support.poison import FORMATS, GOOD, said, write_good


@pytest.fixture(scope="module")
def dropscribe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with the bundled model, ready."""
    with DaemonProcess(tmp_path_factory.mktemp("daemon")) as process:
        yield process


@pytest.fixture(scope="module", params=GOOD)
def alone(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """Transcript files of every good recording by name, made without bad recordings."""
    settings = Settings.model_validate(
        {"engine": {"model": "paraformer-mini", "vad_model": "vad-mini", "device": "cpu"}}
    )
    found: dict[str, dict[str, Any]] = {}
    with OneShot(settings) as one:
        for path in write_good(tmp_path_factory.mktemp("alone"), request.param):
            (finished,) = one.transcribe([path], lambda *_: None)
            assert isinstance(finished.end, Result), finished
            transcript = transcript_of(path, finished.end, one.facts, settings.recipe("default"))
            found[path.name] = {f: said(render.render(transcript, f, render.Options()), f) for f in FORMATS}
    return found
