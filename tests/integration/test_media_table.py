"""Formats of the table that other tests do not have: real files, recognised and decoded whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dropscribe import formats
from tests.support.decoding import run
from tests.support.recordings import encode, noise

#: (extension, muxer, codec, rate, kind): as recorders, cameras and browsers write them.
KINDS = (
    (".qta", "mov", "aac", 48_000, "mp4"),
    (".3ga", "3gp", "aac", 48_000, "mp4"),
    (".3g2", "3g2", "aac", 48_000, "mp4"),
    (".m4r", "ipod", "alac", 48_000, "mp4"),
    (".f4v", "f4v", "aac", 48_000, "mp4"),
    (".weba", "webm", "libopus", 48_000, "matroska"),
    (".bwf", "wav", "pcm_s24le", 48_000, "wav"),
    (".oga", "ogg", "flac", 48_000, "ogg"),
    (".asf", "asf", "wmav2", 48_000, "asf"),
    (".wtv", "wtv", "mp2", 48_000, "wtv"),
    (".flv", "flv", "aac", 48_000, "flv"),
    (".m2ts", "mpegts", "ac3", 48_000, "mpegts"),
    (".ts", "mpegts", "mp2", 48_000, "mpegts"),
    (".vob", "vob", "ac3", 48_000, "mpegps"),
    (".mpg", "mpeg", "mp2", 48_000, "mpegps"),
    (".mpga", "mp2", "mp2", 48_000, "mp3"),
    (".loas", "latm", "aac", 48_000, "latm"),
    (".voc", "voc", "pcm_s16le", 16_000, "voc"),
    (".sf", "ircam", "pcm_s16le", 16_000, "ircam"),
    (".sox", "sox", "pcm_s32le", 16_000, "sox"),
    (".rm", "rm", "ac3", 48_000, "realmedia"),
    (".ac3", "ac3", "ac3", 48_000, "ac3"),
    (".eac3", "eac3", "eac3", 48_000, "ac3"),
    (".avi", "avi", "mp3", 48_000, "avi"),
    (".caf", "caf", "alac", 48_000, "caf"),
    (".amr", "amr", "libopencore_amrnb", 8_000, "amr"),
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k[0][1:])
def test_a_recording_is_decoded_whole_and_without_complaint(
    kind: tuple[str, str, str, int, str], tmp_path: Path
) -> None:
    extension, muxer, codec, rate_hz, container = kind
    assert extension in formats.RECORDING_EXTENSIONS
    path = tmp_path / f"a{extension}"
    options = {"mpegts_m2ts_mode": "1"} if extension == ".m2ts" else {}
    encode(path, muxer, codec, noise(2, rate_hz), rate_hz, **options)
    facts, _ = run(path)
    assert abs(facts.duration_ms - 2000) <= 100
    assert (facts.truncated, facts.warnings) == (None, ())
    # Under the extension of another format its own is named.
    facts, _ = run(path.rename(tmp_path / ("b.flac")))
    assert facts.warnings == (f"the name ends in .flac but the content is {container}",)


def test_telephone_systems_write_gsm_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "call.gsm"
    frames = np.random.default_rng(1).integers(0, 256, (200, 33), np.uint8)
    frames[:, 0] = 0xD0 | frames[:, 0] & 15
    path.write_bytes(frames.tobytes())
    facts, _ = run(path)
    assert (facts.duration_ms, facts.codec) == (4000, "gsm")


def test_a_dsd_file_is_decoded(tmp_path: Path) -> None:
    data = bytes((0x69, 0x96)) * 4096 * 20
    fmt = b"fmt " + (52).to_bytes(8, "little")
    for value in (1, 0, 1, 1, 2_822_400, 1):
        fmt += value.to_bytes(4, "little")
    fmt += (len(data) * 8).to_bytes(8, "little") + (4096).to_bytes(4, "little") + bytes(4)
    body = fmt + b"data" + (12 + len(data)).to_bytes(8, "little") + data
    path = tmp_path / "a.dsf"
    path.write_bytes(
        b"DSD " + (28).to_bytes(8, "little") + (28 + len(body)).to_bytes(8, "little") + bytes(8) + body
    )
    facts, _ = run(path)
    assert abs(facts.duration_ms - len(data) * 8 * 1000 / 2_822_400) < 2
