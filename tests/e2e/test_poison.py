"""One bad recording among many: it fails alone with its reason, and the others get the same transcripts as without it."""

from __future__ import annotations

import json
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.support.daemon_process import DaemonProcess, write_speech
from tests.support.poison import (
    LIMITS,
    assert_as_alone,
    drop_with,
    reason_of,
    signal_decoders,
)


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon under `LIMITS`."""
    with DaemonProcess(tmp_path_factory.mktemp("limited"), extra=LIMITS) as process:
        yield process


def long_speech(folder: Path) -> Path:
    """Long enough to be caught while it is decoded."""
    return write_speech(folder / "bad.wav", seconds=600)


def test_a_recording_that_kills_its_decoder_every_time(
    limited: DaemonProcess, alone: dict[str, dict[str, Any]]
) -> None:
    with signal_decoders(limited, limited.inbox / "crash" / "bad.wav", signal.SIGSEGV) as hit:
        bad, good = drop_with(limited, long_speech, "crash", len(alone))
        code, reason, attempts = reason_of(limited, bad)
    assert code == "decoder_died"
    assert "SIGSEGV" in reason
    assert len(hit) == attempts >= 2
    assert_as_alone(limited, good, alone)


def test_a_recording_whose_decoding_never_ends(
    limited: DaemonProcess, alone: dict[str, dict[str, Any]]
) -> None:
    with signal_decoders(limited, limited.inbox / "endless" / "bad.wav", signal.SIGSTOP) as hit:
        bad, good = drop_with(limited, long_speech, "endless", len(alone))
        code, reason, _ = reason_of(limited, bad)
    assert (code, len(hit)) == ("media_limit", 1)
    assert "brought nothing for 8 s" in reason
    assert_as_alone(limited, good, alone)


def test_a_decompression_bomb(limited: DaemonProcess, alone: dict[str, dict[str, Any]]) -> None:
    def bomb(folder: Path) -> Path:
        path = folder / "bad.flac"
        with soundfile.SoundFile(path, "w", 16_000, 1, "PCM_16") as out:
            for _ in range(20):
                out.write(np.zeros((60 * 16_000, 1), np.int16))
        assert path.stat().st_size < 200_000
        return path

    bad, good = drop_with(limited, bomb, "bomb", len(alone))
    code, reason, _ = reason_of(limited, bad)
    assert code == "media_limit"
    assert "longer than 0.2 hours" in reason
    assert_as_alone(limited, good, alone)


def test_a_header_that_claims_ten_days(limited: DaemonProcess, alone: dict[str, dict[str, Any]]) -> None:
    """Existing audio is transcribed, and the rest that the header declares is reported as missing."""

    def liar(folder: Path) -> Path:
        path = write_speech(folder / "bad.wav", seconds=4)
        data = bytearray(path.read_bytes())
        # Ten days at 16 kHz exceed a 32-bit size; at 2 kHz they do not.
        data[24:32] = struct.pack("<II", 2_000, 4_000)
        for at in (4, 40):
            data[at : at + 4] = struct.pack("<I", 10 * 86_400 * 4_000)
        path.write_bytes(data)
        return path

    bad, good = drop_with(limited, liar, "days", len(alone))
    limited.wait_for(bad)
    media = json.loads(bad.with_suffix(".json").read_bytes())["media"]
    assert media["duration_ms"] == 32_000
    assert media["truncated"] == "the file ends after 32.0 s of the 864000.0 s its header declares"
    assert_as_alone(limited, good, alone)
