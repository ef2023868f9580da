"""Errors of the decoder libraries that no code expects, and the files that cause one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from dropscribe.media import decode as decode_module
from dropscribe.media.protocol import DecodeOrder
from dropscribe.media.wire import Begin, Failed, FromChild, Terms
from dropscribe.media.worker import Outbox, _serve
from tests.support.decoding import run
from tests.support.recordings import make

_PACKET = 188
#: Tables that list the streams of a transport stream; without them FFmpeg finds streams as their packets come.
_TABLES = frozenset({0, 17, 4096})


def _transport_stream(data: bytes, shift: int) -> bytes:
    """The packets without tables, with stream ids (PID) raised by `shift`."""
    out = bytearray()
    for i in range(0, len(data), _PACKET):
        packet = bytearray(data[i : i + _PACKET])
        pid = (packet[1] & 0x1F) << 8 | packet[2]
        if pid not in _TABLES:
            packet[1] = packet[1] & 0xE0 | (pid + shift) >> 8
            packet[2] = (pid + shift) & 0xFF
            out += packet
    return bytes(out)


def test_a_stream_that_appears_in_the_middle_of_a_file_ends_nothing(tmp_path: Path) -> None:
    data = make(tmp_path, (".ts", "mpegts", "mp2"), 20.0).read_bytes()
    path = tmp_path / "camera.ts"
    first = _transport_stream(data, 0) * 22
    path.write_bytes(first)
    _, expected = run(path)
    # FFmpeg reads 5 MB ahead to find streams; this one begins later.
    assert len(first) > 5_000_000
    path.write_bytes(first + _transport_stream(data, 40) + _transport_stream(data, 0))
    _, pcm = run(path)
    assert len(pcm) > len(expected) + 19 * 16_000


@pytest.mark.parametrize(
    "error", [IndexError("list index out of range"), UnicodeDecodeError("utf-8", b"x", 0, 1, "no"), ZeroDivisionError()]
)  # fmt: skip
def test_an_unexpected_error_of_a_decoder_fails_the_recording_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(decode_module, "decode", fail)
    sent: list[FromChild] = []

    class Pipe:
        def send(self, messages: tuple[FromChild, ...]) -> None:
            sent.extend(messages)

    begin = Begin(DecodeOrder(1, tmp_path / "a.ts", None), ())
    terms = Terms(slot_bytes=1 << 16, max_hours=1.0, memory_mb=512)
    pipe = cast(Any, Pipe())
    _serve(begin, Outbox(pipe), pipe, np.zeros(1, np.int16), terms)
    (failed,) = sent
    assert isinstance(failed, Failed)
    assert (failed.code, failed.retryable) == ("unreadable_media", False)
    assert type(error).__name__ in failed.reason
    assert "wav" in failed.remedy
    assert "Traceback" not in failed.reason
