"""The table of formats agrees with itself, with FFmpeg, and with what the content of a file is recognised as."""

from __future__ import annotations

from collections import Counter

import av
import pytest

from dropscribe import formats
from dropscribe.media.container import sniff


def test_an_extension_belongs_to_one_format() -> None:
    counts = Counter(e for f in formats.ALL for e in f.extensions)
    assert [e for e, n in counts.items() if n > 1] == []
    assert all(e == e.lower() and e.startswith(".") for e in counts)
    assert set(counts) >= formats.TEXT_EXTENSIONS


def test_every_demuxer_is_one_of_ffmpeg() -> None:
    known = {name for names in av.formats_available for name in names.split(",")}
    assert set(formats.DEMUXERS) - {"amrnb", "amrwb"} <= known


def test_demuxers_that_open_other_files_are_not_used() -> None:
    assert set(formats.DEMUXERS).isdisjoint(
        {
            "hls",
            "dash",
            "concat",
            "sdp",
            "rtsp",
            "rtp",
            "image2",
            "lavfi",
            "data",
            "imf",
            "webm_dash_manifest",
        }
    )


def test_every_kind_of_content_is_in_the_table() -> None:
    kinds = {f.kind for f in formats.ALL}
    assert {kind for _, kind in sniff._AUDIO} <= kinds


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.wav", "nist"),
        ("a.3gp", "amr"),
        ("a.mpg", "mpegts"),
        ("a.QTA", "mp4"),
        ("a.xyz", "mp3"),
        ("a", "mp3"),
    ],
)
def test_a_usual_or_unknown_extension_is_no_reason_to_warn(name: str, kind: str) -> None:
    assert formats.unusual_name(name, kind) is None
