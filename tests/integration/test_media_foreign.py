"""Content that cannot be transcribed is named, with what to do; text with an ambiguous extension is skipped."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from dropscribe.errors import UnreadableMediaError
from dropscribe.media.inspector import Inspector
from dropscribe.service.admission.intake_ports import completeness
from tests.support.decoding import run
from tests.support.intake import Watched, folder_of
from tests.support.recordings import encode, noise

SILK = b"#!SILK_V3" + bytes(range(200))


def refusal(path: Path, content: bytes) -> UnreadableMediaError:
    path.write_bytes(content)
    with pytest.raises(UnreadableMediaError) as caught:
        run(path)
    return caught.value


@pytest.mark.parametrize(
    ("name", "content", "reason", "remedy"),
    [
        ("msg.amr", b"\x02" + SILK, "SILK voice message", "silk-v3-decoder"),
        ("msg.slk", SILK, "SILK voice message", "silk-v3-decoder"),
        ("book.aax", b"\0\0\0\x18ftypaax \0\0\0\0" + bytes(4000), "Audible", "without protection"),
        ("book.aa", bytes(4) + b"\x57\x90\x75\x36" + bytes(4000), "Audible", "without protection"),
        ("memo.ds2", b"\x03ds2" + bytes(4000), "DSS Pro", "as wav"),
        ("memo.dvf", b"MS_VOICE" + bytes(4000), "Sony", "as wav"),
        ("song.mp3", b"CTENFDAM" + bytes(4000), "encrypted", "without protection"),
        ("tune.mp3", b"MThd\0\0\0\x06\0\1\0\1\0\x60" + bytes(40), "MIDI", "export it as sound"),
        ("track.cda", b"RIFF\x24\0\0\0CDDAfmt " + bytes(24), "audio CD", "rip the CD"),
        ("photo.m4a", b"\0\0\0\x18ftypheic\0\0\0\0" + bytes(4000), "picture", "drop the recording"),
        ("list.ra", b"rtsp://example.org/talk.rm\n", "list of addresses", "download what it points at"),
        ("list.mp3", b"#EXTM3U\nhttps://example.org/a.mp3\n", "playlist", "download what it points at"),
        ("talk.wav", b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 5\n", "Git LFS", "git lfs pull"),
        ("talk.mp3", b"<!DOCTYPE html>\n<html><title>403</title></html>", "web page", "download the recording again"),
        ("talk.m4a", bytes(60_000), "nothing but zeros", "download it again"),
        ("talk.flac", b"-----BEGIN PGP MESSAGE-----\n\nhQEMA\n", "OpenPGP", "decrypt it"),
        ("notes.ts", b"export const a = 1;\n", "text file", "drop the recording"),
    ],
)  # fmt: skip
def test_content_is_named_with_what_to_do(
    name: str, content: bytes, reason: str, remedy: str, tmp_path: Path
) -> None:
    error = refusal(tmp_path / name, content)
    assert reason in error.reason
    assert remedy in error.remedy


@pytest.mark.parametrize(("entry", "says"), [(b"enca", "streaming"), (b"drms", "FairPlay")])
@pytest.mark.parametrize("muxer", ["ipod", "mp4-fragmented"])
def test_encrypted_sound_in_mp4_is_told_before_it_is_decoded_to_noise(
    entry: bytes, says: str, muxer: str, tmp_path: Path
) -> None:
    options = {"movflags": "frag_keyframe+empty_moov"} if muxer != "ipod" else {}
    path = tmp_path / "song.m4a"
    encode(path, muxer.partition("-")[0], "aac", noise(1, 48_000), 48_000, **options)
    data = path.read_bytes()
    at = data.index(b"mp4a", data.index(b"stsd"))
    error = refusal(path, data[:at] + entry + data[at + 4 :])
    assert "encrypted" in error.reason
    assert says in error.reason


def test_encrypted_sound_in_wma_is_told(tmp_path: Path) -> None:
    path = tmp_path / "song.wma"
    encode(path, "asf", "wmav2", noise(1, 48_000), 48_000)
    data = path.read_bytes()
    secret = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e") + struct.pack("<Q", 40) + bytes(16)
    size, count = struct.unpack("<QI", data[16:28])
    head = data[:16] + struct.pack("<QI", size + 40, count + 1) + data[28:30]
    assert "Windows Media DRM" in refusal(path, head + secret + data[30:]).reason


def test_encrypted_sound_in_webm_is_told(tmp_path: Path) -> None:
    def element(name: int, *content: bytes) -> bytes:
        body = b"".join(content)
        return (
            name.to_bytes((name.bit_length() + 7) // 8, "big")
            + (1 << 56 | len(body)).to_bytes(8, "big")
            + body
        )

    encryption = element(0x6D80, element(0x6240, element(0x5035, b"\x47\xe1\x81\x05")))
    track = element(0xAE, element(0x83, b"\x02"), element(0x86, b"A_OPUS"), encryption)
    webm = element(0x1A45DFA3, element(0x4282, b"webm")) + element(0x18538067, element(0x1654AE6B, track))
    assert "encrypted" in refusal(tmp_path / "a.webm", webm).reason


def test_zeros_before_the_sound_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    encode(path, "mp3", "libmp3lame", noise(2, 48_000), 48_000, write_xing="0")
    path.write_bytes(bytes(8192) + path.read_bytes())
    facts, _ = run(path)
    assert abs(facts.duration_ms - 2000) < 100
    assert facts.truncated is None


def test_text_with_an_ambiguous_extension_is_skipped_and_other_text_is_taken(tmp_path: Path) -> None:
    """A file that is taken fails later with its reason: a web page called .mp3 was meant to be a recording."""
    texts = {
        "main.ts": b"import { a } from './a'\n",
        "german.ts": b'<?xml version="1.0"?>\n<!DOCTYPE TS>\n<TS version="2.1">\n',
        "board.dts": b"/dts-v1/;\n",
        "wide.ts": "const ä = 1".encode("utf-16"),
    }
    for name, content in texts.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "page.mp3").write_bytes(b"<html>404</html>")
    (tmp_path / "list.ra").write_bytes(b"rtsp://example.org/a.rm\n")
    (tmp_path / "video.ts").write_bytes((b"\x47\x40\x00\x10" + bytes(184)) * 30)
    (tmp_path / "noise.ts").write_bytes(np.random.default_rng(1).bytes(5000))
    inspector = Inspector()
    check = completeness(inspector)
    try:
        with Watched(
            folder_of(tmp_path), completeness=lambda folder, path: next(iter(check(folder, [path])))
        ) as w:
            for name in texts:
                assert "text file" in w.wait_skip(tmp_path / name, "text").reason
            for name in ("page.mp3", "list.ra", "video.ts", "noise.ts"):
                w.wait_arrival(tmp_path / name)
            assert len(w.skips()) == len(texts)
            # It is inspected again when its content changes.
            (tmp_path / "main.ts").write_bytes((b"\x47\x40\x00\x10" + bytes(184)) * 40)
            w.wait_arrival(tmp_path / "main.ts")
    finally:
        inspector.close()
