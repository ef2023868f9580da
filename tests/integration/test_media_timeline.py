"""Times are those of a player: across holes in the timestamps, damage, and recordings joined in one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dropscribe.transcript.remarks import media_remarks
from dropscribe.transcript.types import GAP, UNDECODABLE, UNREAD, MediaFacts
from tests.support.decoding import run
from tests.support.recordings import amr, encode, late_sound, noise, ticks, ticks_in, with_holes

#: (extension, container, codec, rate) of formats whose packets have timestamps.
TIMED = [
    (".webm", "webm", "libopus", 48_000),
    (".mka", "matroska", "aac", 44_100),
    (".mkv", "matroska", "flac", 48_000),
    (".ts", "mpegts", "aac", 48_000),
    (".m4a", "ipod", "aac", 48_000),
    (".mov", "mov", "alac", 44_100),
    (".3gp", "3gp", "aac", 16_000),
    (".opus", "ogg", "libopus", 48_000),
    (".oga", "ogg", "flac", 16_000),
    (".flv", "flv", "aac", 44_100),
    (".mpg", "mpeg", "mp2", 48_000),
]
#: Formats whose packets have none.
FRAMED = [
    (".mp3", "mp3", "libmp3lame", 44_100),
    (".aac", "adts", "aac", 44_100),
    (".ac3", "ac3", "ac3", 48_000),
]
FLAC = (".flac", "flac", "flac", 48_000)

Kind = tuple[str, str, str, int]


def whole(folder: Path, kind: Kind, seconds: float = 8.0, name: str = "talk", **options: str) -> Path:
    path = folder / f"{name}{kind[0]}"
    encode(path, kind[1], kind[2], ticks(seconds, kind[3]), kind[3], **options)
    return path


def remarks(facts: MediaFacts) -> dict[str, str]:
    return {remark.kind: remark.text for remark in media_remarks(facts)}


def assert_in_place(pcm: np.ndarray, seconds: list[int]) -> None:
    """Bursts begin at these seconds, up to codec delay, and only there."""
    found = ticks_in(pcm)
    assert len(found) == len(seconds), found
    assert max(abs(a - b) for a, b in zip(found, seconds, strict=True)) < 0.08, found


@pytest.mark.parametrize("kind", TIMED, ids=lambda k: k[0][1:])
def test_a_hole_is_filled_and_said(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / f"talk{kind[0]}"
    # Ogg has one timestamp a page.
    options = {"page_duration": "100000"} if kind[1] == "ogg" else {}
    with_holes(path, kind[1], kind[2], kind[3], ticks(8, kind[3]), {3.5: 30.0}, **options)
    facts, pcm = run(path)
    assert_in_place(pcm, [0, 1, 2, 3, 34, 35, 36, 37])
    assert facts.truncated is None
    assert facts.warnings == ()
    (loss,) = facts.losses
    assert (loss.kind, loss.places) == (GAP, 1)
    assert abs(loss.start_ms - 3500) < 200
    assert abs((loss.length_ms or 0) - 30_000) < 20
    assert remarks(facts) == {"gap": "the file has no audio for 30.0 s (from 00:03); silence is in its place"}


def test_a_fragmented_file_with_two_holes(tmp_path: Path) -> None:
    path = tmp_path / "talk.mp4"
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "1000000"}
    with_holes(path, "mp4", "aac", 48_000, ticks(6, 48_000), {1.5: 2.0, 3.5: 5.0}, **options)
    facts, pcm = run(path)
    assert_in_place(pcm, [0, 1, 4, 5, 11, 12])
    assert remarks(facts)["gap"].startswith(
        "the file has no audio for 7.0 s (2.0 s from 00:01, 5.0 s from 00:05)"
    )


def test_sound_that_begins_after_the_pictures_is_no_hole(tmp_path: Path) -> None:
    path = tmp_path / "talk.mkv"
    late_sound(path, "matroska", "libopus", 1.0)
    facts, _ = run(path)
    assert facts.losses == ()
    assert abs(facts.duration_ms - 3000) < 60


@pytest.mark.parametrize("kind", [TIMED[0], TIMED[3]], ids=["webm", "ts"])
def test_small_holes_do_not_accumulate(kind: Kind, tmp_path: Path) -> None:
    """Lost packets, 150 ms at a time: later times stay right, and the sum is said."""
    path = tmp_path / f"talk{kind[0]}"
    holes = {0.5 + at: 0.15 for at in range(10)}
    with_holes(path, kind[1], kind[2], kind[3], ticks(11, kind[3]), holes)
    facts, pcm = run(path)
    assert abs(ticks_in(pcm)[-1] - 11.5) < 0.12
    assert sum(loss.length_ms or 0 for loss in facts.losses) == (0 if kind[2] == "libopus" else 1500)


def test_timestamps_that_vary_or_run_apart_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "talk.mka"
    wobble = {0.5 * at: 0.02 if at % 2 else -0.02 for at in range(1, 14)}
    with_holes(path, "matroska", "libmp3lame", 44_100, ticks(7, 44_100), wobble)
    facts, pcm = run(path)
    assert_in_place(pcm, list(range(7)))
    assert facts.losses == ()


def test_timestamps_that_go_back_remove_nothing(tmp_path: Path) -> None:
    """Two transport streams joined: the second begins its count again, and a hole in it is still seen."""
    one, two = tmp_path / "one.ts", tmp_path / "two.ts"
    with_holes(one, "mpegts", "aac", 48_000, ticks(4, 48_000), {})
    with_holes(two, "mpegts", "aac", 48_000, ticks(4, 48_000), {1.5: 10.0})
    path = tmp_path / "both.ts"
    path.write_bytes(one.read_bytes() + two.read_bytes())
    facts, pcm = run(path)
    assert_in_place(pcm, [0, 1, 2, 3, 4, 5, 16, 17])
    assert [loss.kind for loss in facts.losses] == [GAP]


def test_a_transport_stream_whose_clock_wraps(tmp_path: Path) -> None:
    """PTS has 33 bits of 90 kHz: 26.5 hours."""
    path = tmp_path / "talk.ts"
    with_holes(path, "mpegts", "aac", 48_000, ticks(6, 48_000), {}, output_ts_offset="95440.7")
    facts, pcm = run(path)
    assert_in_place(pcm, list(range(6)))
    assert facts.losses == ()


def test_an_impossible_jump_is_not_followed_but_said(tmp_path: Path) -> None:
    path = tmp_path / "talk.mka"
    with_holes(path, "matroska", "flac", 48_000, ticks(6, 48_000), {2.5: 20 * 3600.0})
    facts, pcm = run(path)
    assert_in_place(pcm, list(range(6)))
    assert remarks(facts) == {
        "timestamps": "the timestamps of the file jump ahead by 20.0 h at 00:02, which cannot be a pause; "
        "later times follow without it"
    }


def test_an_empty_sample_in_the_index_of_an_mp4_ends_nothing(tmp_path: Path) -> None:
    path = whole(tmp_path, TIMED[4])
    data = bytearray(path.read_bytes())
    sizes = data.index(b"stsz") + 16
    at = sizes + 4 * (int.from_bytes(data[sizes - 4 : sizes], "big") // 2)
    joined = int.from_bytes(data[at - 4 : at], "big") + int.from_bytes(data[at : at + 4], "big")
    data[at - 4 : at + 4] = joined.to_bytes(4, "big") + bytes(4)
    path.write_bytes(data)
    facts, pcm = run(path)
    assert_in_place(pcm, list(range(8)))
    assert remarks(facts) == {}


def test_a_hole_longer_than_a_recording_may_be_does_not_fail_it(tmp_path: Path) -> None:
    path = tmp_path / "talk.mka"
    with_holes(path, "matroska", "flac", 48_000, ticks(4, 48_000), {2.5: 3600.0})
    facts, _ = run(path, max_hours=0.5)
    assert facts.duration_ms == 4000
    assert "timestamps" in remarks(facts)


# damage in the middle


def zeroed(path: Path, begin: float = 0.4, end: float = 0.6) -> Path:
    data = bytearray(path.read_bytes())
    first, last = int(len(data) * begin), int(len(data) * end)
    data[first:last] = bytes(last - first)
    path.write_bytes(data)
    return path


def without(path: Path, begin: float = 0.4, end: float = 0.6) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * begin)] + data[int(len(data) * end) :])
    return path


def assert_behind_damage(facts: MediaFacts, pcm: np.ndarray, most: float) -> None:
    """Something is lost, and bursts behind it begin at whole seconds."""
    assert facts.losses
    edges = [
        ms / 1000 for loss in facts.losses for ms in (loss.start_ms, loss.start_ms + (loss.length_ms or 0))
    ]
    # A burst that the damage cuts begins at its edge.
    found = [at for at in ticks_in(pcm) if all(abs(at - edge) > 0.1 for edge in edges)]
    assert max(abs(at - round(at)) for at in found) < most, found
    assert max(found) > 18.5


@pytest.mark.parametrize("kind", [*TIMED[:5], *TIMED[7:], FLAC, *FRAMED], ids=lambda k: k[0][1:])
def test_audio_behind_zeroed_bytes_keeps_its_place(kind: Kind, tmp_path: Path) -> None:
    facts, pcm = run(zeroed(whole(tmp_path, kind, 20.0)))
    assert 8 <= len(ticks_in(pcm)) <= 18
    # Without timestamps the length is derived from the bit rate, which varies.
    assert_behind_damage(facts, pcm, 0.3 if kind in FRAMED else 0.1)
    assert {"gap", "undecodable"} & set(remarks(facts))
    assert "unread" not in remarks(facts)


@pytest.mark.parametrize("kind", [*TIMED[:4], *TIMED[7:], FLAC], ids=lambda k: k[0][1:])
def test_audio_behind_removed_bytes_keeps_its_place(kind: Kind, tmp_path: Path) -> None:
    facts, pcm = run(without(whole(tmp_path, kind, 20.0)))
    assert_behind_damage(facts, pcm, 0.1)


def test_what_could_not_be_decoded_is_said_with_its_place(tmp_path: Path) -> None:
    path = zeroed(whole(tmp_path, TIMED[4], 15.0), 0.5, 0.97)
    facts, pcm = run(path)
    (loss,) = facts.losses
    assert loss.kind == UNDECODABLE
    assert 6_000 < loss.start_ms < 8_000
    assert 6_000 < (loss.length_ms or 0) < 8_500
    text = remarks(facts)["undecodable"]
    assert (
        text
        == f"{(loss.length_ms or 0) / 1000:.1f} s could not be decoded (from 00:0{loss.start_ms // 1000})"
    )
    assert abs(facts.duration_ms - 15_000) < 60
    assert not pcm[loss.start_ms * 16 + 1600 : (loss.start_ms + (loss.length_ms or 0)) * 16 - 1600].any()


# several recordings in one file

PARTS = {
    "m4a+m4a": (TIMED[4], TIMED[4]),
    "m4a+mp3": (TIMED[4], FRAMED[0]),
    "webm+m4a": (TIMED[0], TIMED[4]),
    "aac in mka+opus in webm": (TIMED[1], TIMED[0]),
    "opus+flac in ogg": (TIMED[7], TIMED[8]),
    "mp3+m4a": (FRAMED[0], TIMED[4]),
    "mp3+wav": (FRAMED[0], (".wav", "wav", "pcm_s16le", 16_000)),
    "wav+wav": ((".wav", "wav", "pcm_s16le", 16_000), (".wav", "wav", "pcm_s16le", 44_100)),
    "wav+mp3": ((".wav", "wav", "pcm_s16le", 16_000), FRAMED[0]),
    "aac+webm": (FRAMED[1], TIMED[0]),
    "ac3+mp3": (FRAMED[2], FRAMED[0]),
    "flac+flac": (FLAC, (".flac", "flac", "flac", 16_000)),
    "flv+flv": (TIMED[9], TIMED[9]),
}


@pytest.mark.parametrize("kinds", PARTS.values(), ids=PARTS)
def test_recordings_joined_in_one_file_are_all_read(kinds: tuple[Kind, Kind], tmp_path: Path) -> None:
    one, two = whole(tmp_path, kinds[0], 6.0, "one"), whole(tmp_path, kinds[1], 4.0, "two")
    path = tmp_path / f"both{kinds[0][0]}"
    path.write_bytes(one.read_bytes() + two.read_bytes())
    facts, pcm = run(path)
    found = ticks_in(pcm)
    assert len(found) == 10, found
    assert max(abs(at - number) for number, at in enumerate(found)) < 0.2, found
    assert facts.truncated is None
    assert remarks(facts) == {}


def test_three_recordings_with_tags_between_them(tmp_path: Path) -> None:
    parts = [whole(tmp_path, TIMED[4], 2.0, f"{n}", title="part" * 500).read_bytes() for n in range(3)]
    tag = b"TAG" + bytes(125)
    (tmp_path / "all.m4a").write_bytes(tag.join(parts))
    facts, pcm = run(tmp_path / "all.m4a")
    assert len(ticks_in(pcm)) == 6
    assert remarks(facts) == {}


def test_what_follows_and_cannot_be_read_is_said(tmp_path: Path) -> None:
    path = whole(tmp_path, FRAMED[0], 6.0)
    rng = np.random.default_rng(1)
    path.write_bytes(path.read_bytes() + (rng.integers(0, 200, 300_000, np.uint8)).tobytes())
    facts, pcm = run(path)
    assert len(ticks_in(pcm)) == 6
    assert [loss.kind for loss in facts.losses] == [UNREAD]
    assert remarks(facts)["unread"] in (
        "decoding stopped at 00:06; 300 kB of the file were not read",
        "decoding stopped at 00:05; 300 kB of the file were not read",
    )


@pytest.mark.parametrize(
    "kind",
    [k for k in (*TIMED, FLAC, *FRAMED) if k[0] not in (".m4a", ".mov", ".3gp")],
    ids=lambda k: k[0][1:],
)
def test_tags_and_padding_behind_a_recording_are_no_loss(kind: Kind, tmp_path: Path) -> None:
    path = whole(tmp_path, kind, 3.0)
    ape = b"APETAGEX" + (2000).to_bytes(4, "little") + (32 + 40_000).to_bytes(4, "little") + bytes(16)
    path.write_bytes(path.read_bytes() + ape + bytes(40_000) + ape + bytes(5000) + b"TAG" + bytes(125))
    facts, _ = run(path)
    assert remarks(facts) == {}


def test_an_untouched_recording_has_no_losses(tmp_path: Path) -> None:
    for kind in (*TIMED, FLAC, *FRAMED):
        facts, pcm = run(whole(tmp_path, kind, 3.0))
        assert (facts.losses, remarks(facts)) == ((), {}), kind
        assert_in_place(pcm, [0, 1, 2])


def test_pauses_of_amr_are_no_holes(tmp_path: Path) -> None:
    path = tmp_path / "call.amr"
    path.write_bytes(amr(200))
    facts, _ = run(path)
    assert (facts.duration_ms, facts.losses) == (4000, ())


def test_a_wave_file_has_no_timestamps(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    encode(path, "wav", "pcm_s16le", noise(1), 16_000)
    assert run(path)[0].losses == ()


def test_damage_that_ends_decoding_is_said_with_its_place(tmp_path: Path) -> None:
    """WavPack cannot be read behind a damaged block."""
    facts, _ = run(zeroed(whole(tmp_path, (".wv", "wv", "wavpack", 44_100), 10.0)))
    assert facts.truncated is None
    assert remarks(facts)["unread"].startswith("decoding stopped at 00:0")


def test_frames_that_an_index_promises_and_the_file_lacks_are_said(tmp_path: Path) -> None:
    """An MP3 of which a part was removed, and whose header still counts its bytes: nothing is left to skip."""
    path = whole(tmp_path, FRAMED[0], 20.0)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 5] + data[len(data) * 3 // 5 :] + bytes(len(data) // 5))
    facts, _ = run(path)
    said = remarks(facts)
    assert {"unread", "undecodable", "truncated"} & set(said), facts


def test_a_flac_cut_in_its_last_frame_is_cut_not_damaged(tmp_path: Path) -> None:
    path = whole(tmp_path, FLAC, 3.0)
    data = path.read_bytes()
    last = data.rindex(b"\xff\xf8")
    before = data.rindex(b"\xff\xf8", 0, last)
    path.write_bytes(data[: before + 40])
    facts, _ = run(path)
    assert facts.truncated is not None
    assert set(remarks(facts)) == {"truncated"}
