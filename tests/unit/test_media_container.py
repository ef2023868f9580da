"""Check of the sizes that containers declare: correct for valid files, never raising for others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dropscribe.formats import unusual_name
from dropscribe.media.container.inspect import inspect, inspect_open
from dropscribe.media.container.sniff import sniff
from tests.support.recordings import AV_KINDS, KINDS, SOUNDFILE_KINDS, cut, make, noise


def of(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "file"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", SOUNDFILE_KINDS[:6], ids=lambda k: k[0][1:])
def test_plain_formats_declare_bytes_and_seconds(kind: tuple[str, str, str | None], tmp_path: Path) -> None:
    path = make(tmp_path, kind, 2.0)
    check = inspect(path)
    assert check.whole is True
    assert check.declared_s == pytest.approx(2.0, abs=1e-3)
    assert check.declared_bytes is not None
    assert check.declared_bytes <= check.present_bytes == path.stat().st_size
    short = inspect(cut(path, 0.999))
    assert short.whole is False
    assert short.declared_bytes == check.declared_bytes
    assert f"{short.present_bytes:,}" in short.detail


def test_flac_is_judged_by_its_last_frame_without_decoding(tmp_path: Path) -> None:
    path = make(tmp_path, SOUNDFILE_KINDS[6], 20.0)
    assert inspect(path).whole is True
    tagged = of(tmp_path, path.read_bytes() + b"TAG" + bytes(125))
    assert inspect(tagged).whole is True
    assert inspect(cut(path, 0.97)).whole is False


def test_an_mp3_with_tags_before_and_after_is_complete(tmp_path: Path) -> None:
    audio = make(tmp_path, AV_KINDS[7], 5.0).read_bytes()
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, 8, 0]) + bytes(1024)
    assert inspect(of(tmp_path, audio)).whole is True
    assert inspect(of(tmp_path, tag + audio + b"TAG" + bytes(125))).whole is True
    assert inspect(of(tmp_path, tag + audio[: len(audio) // 2])).whole is False


def test_an_mp4_whose_upload_stopped_names_the_missing_index(tmp_path: Path) -> None:
    check = inspect(cut(make(tmp_path, AV_KINDS[0], 5.0), 0.6))
    assert check.whole is False
    assert "moov box missing" in check.detail


def test_an_mp4_box_of_64_bit_size_is_understood(tmp_path: Path) -> None:
    moov = (8).to_bytes(4, "big") + b"moov"
    mdat = (1).to_bytes(4, "big") + b"mdat" + (5_000_000_000).to_bytes(8, "big")
    path = of(tmp_path, (16).to_bytes(4, "big") + b"ftypM4A \x00\x00\x00\x00" + moov + mdat)
    check = inspect(path)
    assert (check.whole, check.declared_bytes) == (False, 5_000_000_024)
    os.truncate(path, 5_000_000_024)  # a sparse file
    assert inspect(path).whole is True


def test_an_rf64_larger_than_four_gigabytes_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "big.rf64"
    soundfile.write(path, noise(1), 16_000, format="RF64")
    data = bytearray(path.read_bytes())
    assert data[12:16] == b"ds64"
    data[28:36] = (6_000_000_000).to_bytes(8, "little")
    path.write_bytes(data)
    check = inspect(path)
    assert check.whole is False
    assert check.declared_s == pytest.approx(187_500)
    assert check.declared_bytes is not None
    os.truncate(path, check.declared_bytes)
    assert inspect(path).whole is True


def test_an_ogg_that_ends_inside_a_packet_is_cut_even_at_a_page_boundary(tmp_path: Path) -> None:
    """A packet of 600 bytes, of which the first page has 510."""
    page = b"OggS\x00\x02" + bytes(8) + b"\x01\x00\x00\x00" + bytes(8) + b"\x02\xff\xff" + bytes(510)
    check = inspect(of(tmp_path, page))
    assert check.whole is False
    assert "inside a packet" in check.detail


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: f"{k[0][1:]}-{k[2]}")
def test_content_is_recognised_regardless_of_the_name(
    kind: tuple[str, str, str | None], tmp_path: Path
) -> None:
    path = make(tmp_path, kind, 1.0)
    kinds = {inspect(path).kind, inspect(path.rename(tmp_path / "nameless")).kind}
    assert len(kinds) == 1
    assert kinds != {"unknown"}


def test_completeness_of_a_file_that_cannot_be_opened_is_unknown(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "gone", tmp_path, tmp_path / "pipe", Path("nul\0byte")):
        assert inspect(path).whole is None


def test_an_inspection_does_not_move_the_offset(tmp_path: Path) -> None:
    with make(tmp_path, SOUNDFILE_KINDS[0], 1.0).open("rb") as file:
        os.lseek(file.fileno(), 77, os.SEEK_SET)
        inspect_open(file.fileno())
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 77


_HEADS = (
    b"RIFF\xff\xff\xff\x7fWAVEfmt ",
    b"RF64\xff\xff\xff\xffWAVEds64",
    b"FORM\x00\x00\xff\xffAIFFCOMM",
    b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00",
    b"RIFF\x00\x10\x00\x00AVI LIST",
    b"caff\x00\x01\x00\x00desc",
    b".snd\x00\x00\x00\x18",
    b"NIST_1A\n   1024\n",
    b"OggS\x00\x04",
    b"fLaC\x00\x00\x00\x22",
    b"\xff\xfb\x90\x64",
    b"ID3\x04\x00\x00\x00\x00\x00\x0a",
    b"\x00\x00\x00\x18ftypM4A ",
    b"\x1a\x45\xdf\xa3\x93",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c",
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(head=st.sampled_from(_HEADS), body=st.binary(max_size=400))
def test_garbage_after_any_magic_number_never_raises(tmp_path: Path, head: bytes, body: bytes) -> None:
    check = inspect(of(tmp_path, head + body))
    assert check.whole in (True, False, None)
    assert check.present_bytes == len(head) + len(body)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_real_file_never_raises(tmp_path: Path, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    whole = tmp_path / f"whole{kind[0]}"
    if not whole.exists():
        make(tmp_path, kind, 0.5)
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, min(len(content), 300) - 1))] = data.draw(st.integers(0, 255))
    inspect(of(tmp_path, bytes(content)))


def test_a_warning_only_if_the_extension_belongs_to_another_kind() -> None:
    assert unusual_name("a.wav", "wav") is None
    assert unusual_name("a.WAV", "wav") is None
    assert unusual_name("a", "mp3") is None
    assert unusual_name("a.bak", "mp3") is None
    assert "mp3" in (unusual_name("a.wav", "mp3") or "")


def test_short_and_binary_content_is_not_taken_for_text() -> None:
    assert sniff(b"").foreign is None
    assert sniff(bytes(64)).foreign is None
    foreign = sniff(b"plain words").foreign
    assert foreign is not None
    assert foreign.text
