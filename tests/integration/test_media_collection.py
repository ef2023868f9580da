"""The collection of real files, intact, broken and without audio: each has the expected result."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from dropscribe.config import MediaSettings
from dropscribe.media.container.inspect import inspect
from dropscribe.media.protocol import DecodeDone, DecodeFailed
from tests.support.decoders import Bench

pytestmark = pytest.mark.shared

#: Files in broken/ and noaudio/ → error code, or duration of the decodable part, ms.
EXPECTED: dict[str, str | int] = {
    "fatm_corrupt_file.wav": "unreadable_media",
    "funasr_csharp_tmp_headeronly.wav": "no_audio",
    "pydub_test1_empty.wav": "no_audio",
    "pydub_wrong_extension.aac": 9660,
    "taglib_compressed_id3_frame_invalid.mp3": "unreadable_media",
    "taglib_empty-seektable.flac": 279,
    "taglib_excessive_alloc.aif": "unreadable_media",
    "taglib_excessive_alloc.mp3": "unreadable_media",
    "taglib_garbage.mp3": 496,
    "taglib_infloop.m4a": "unreadable_media",
    "taglib_infloop.wav": 1277,
    "taglib_invalid-frames1.mp3": 392,
    "taglib_mpeg-sync-flac.flac": 5068,
    "taglib_zero-length-mdat.m4a": 1115,
    "taglib_zero-size-chunk.wav": 6,
    "tinytag_corrupt_metadata.ogg": 2132,
    "tinytag_id3_header_with_a_zero_byte.wav": 1000,
    "tinytag_negative_bitrate.ogg": 7664,
    "tinytag_riff_extra_zero.wav": 116,
    "taglib_no-tags.webm": "no_audio",
    "taglib_optimized.mkv": "no_audio",
    "taglib_real_example.wma": "unreadable_media",
    "tinytag_test.m4a": "no_audio",
}

#: Files among them that must be reported as truncated.
TRUNCATED = {"taglib_empty-seektable.flac"}


def decode_all(files: list[Path]) -> dict[str, DecodeDone | DecodeFailed]:
    bench = Bench(MediaSettings.model_validate({}))
    try:
        todo = list(enumerate(files))
        while len(bench.ends) < len(files):
            while todo and bench.pool.idle() and len(bench.free) > 1:
                bench.start(*todo.pop(0))
            bench.step()
            bench.pcm.clear()
        assert sorted(bench.free) == sorted(bench.all_slots)
        return {file.name: bench.ends[ticket] for ticket, file in enumerate(files)}
    finally:
        bench.close()


def test_every_intact_recording_is_decoded_and_none_is_called_cut(shared: Path) -> None:
    files = sorted((shared / "data" / "media" / "intact").iterdir())
    assert len(files) > 40
    for name, end in decode_all(files).items():
        assert isinstance(end, DecodeDone), (name, end)
        assert end.facts.truncated is None, (name, end)
        assert end.facts.warnings == (), (name, end)
        assert end.facts.duration_ms > 0
    for file in files:
        assert inspect(file).whole is not False, file


def test_every_broken_recording_ends_as_expected(shared: Path) -> None:
    folders = [shared / "data" / "media" / name for name in ("broken", "noaudio")]
    files = sorted(file for folder in folders for file in folder.iterdir())
    assert {file.name for file in files} == set(EXPECTED)
    for name, end in decode_all(files).items():
        wanted = EXPECTED[name]
        if isinstance(wanted, str):
            assert isinstance(end, DecodeFailed), (name, end)
            assert end.code == wanted, (name, end)
            assert len(end.reason) > 10
        else:
            assert isinstance(end, DecodeDone), (name, end)
            assert math.isclose(end.facts.duration_ms, wanted, abs_tol=2), (name, end)
            assert (end.facts.truncated is not None) == (name in TRUNCATED), (name, end)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_every_intact_recording_that_is_cut_says_so_or_why_it_cannot_be_read(
    share: float, shared: Path, tmp_path: Path
) -> None:
    files = []
    for whole in sorted((shared / "data" / "media" / "intact").iterdir()):
        data = whole.read_bytes()
        files.append(tmp_path / whole.name)
        files[-1].write_bytes(data[: int(len(data) * share)])
    ends = decode_all(files)
    for name, end in ends.items():
        if isinstance(end, DecodeFailed):
            assert end.code == "unreadable_media", (name, end)
            assert "cut" in end.reason, (name, end)
        else:
            assert end.facts.truncated is not None, (name, end)
    done = sum(isinstance(end, DecodeDone) for end in ends.values())
    assert done > len(files) / 2
