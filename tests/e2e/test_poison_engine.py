"""One recording among many crashes the engine at every attempt: it fails alone with its reason, and the others get the
same transcripts as without it.
"""

from __future__ import annotations

import wave
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.daemon_process import wait_until, write_speech
from tests.support.faulty_engine import MARKER, Plan, faulty
from tests.support.poison import LIMITS, assert_as_alone, drop_with, reason_of


def poison(folder: Path) -> Path:
    """Speech with the marker in its middle, which decoding does not change."""
    path = write_speech(folder / "bad.wav", seconds=4)
    with closing(wave.open(str(path), "rb")) as source:
        said = np.frombuffer(source.readframes(source.getnframes()), np.int16).copy()
    said[32_000 : 32_000 + len(MARKER)] = MARKER
    with closing(wave.open(str(path), "wb")) as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(16_000)
        target.writeframes(said.tobytes())
    return path


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        pytest.param("crash", "engine_died", "killed by SIGSEGV", marks=pytest.mark.soak),
        # The device counts as failing until other recordings are done.
        ("assert", "device_failed", "its device failed"),
    ],
)
def test_a_recording_that_brings_down_the_engine_fails_alone(
    tmp_path: Path, alone: dict[str, dict[str, Any]], fault: str, code: str, said: str
) -> None:
    daemon, faults = faulty(
        tmp_path, Plan(fault, poison=True, blameless_wait_s=6.0), extra=f"{LIMITS}max_attempts = 1\n"
    )
    with daemon:
        bad, good = drop_with(daemon, poison, "poison", len(alone))
        assert_as_alone(daemon, good, alone)
        wait_until(lambda: daemon.state(bad) == "failed" or not daemon.running, "the bad one has failed")
        why, reason, attempts = reason_of(daemon, bad)
        assert (why, attempts) == (code, 1)
        assert said in reason
        assert len(faults.strikes) >= 2, "among others, and alone"
        counted = daemon.rows("select attempts from jobs where state = 'done'")
        assert [row["attempts"] for row in counted] == [1] * len(alone)
        # Recordings that were in the engine with it were tried alone and done.
        assert daemon.rows("select 1 from jobs where state not in ('done', 'failed')") == []
