"""Every way of arriving: results as documented in docs/recordings.md, none read early, none lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import soundfile

from dropscribe.media.container.inspect import inspect
from tests.support.daemon_process import SAMPLE, DaemonProcess, pieces, wait_until, write_speech
from tests.support.recordings import encode, with_data_size

SIDECARS = (".txt", ".srt", ".vtt", ".json", ".timing.json")


def sidecars(recording: Path, stem: str | None = None) -> list[Path]:
    return [recording.with_name((stem or recording.stem) + suffix) for suffix in SIDECARS]


def assert_transcribed(recording: Path, stem: str | None = None) -> str:
    """Assert that all five files exist beside the recording and name it; returns the text."""
    for sidecar in sidecars(recording, stem):
        assert sidecar.is_file(), sidecar
    document = json.loads(sidecars(recording, stem)[3].read_text(encoding="utf-8"))
    assert document["recording"]["name"] == recording.name
    text = sidecars(recording, stem)[0].read_text(encoding="utf-8")
    assert text.strip()
    return text


def test_copied(dropscribe: DaemonProcess) -> None:
    target = dropscribe.inbox / "copied.wav"
    shutil.copyfile(SAMPLE, target)
    dropscribe.wait_for(target)
    text = assert_transcribed(target)
    assert "demonstration" in text
    timing = json.loads(target.with_name("copied.timing.json").read_text(encoding="utf-8"))
    for stage in (
        "settling",
        "waiting",
        "decoding",
        "vad",
        "batch_queue",
        "recognition",
        "rendering",
        "publishing",
    ):
        assert timing["stages"][stage] >= 0, stage
    assert timing["audio_s"] == pytest.approx(14.35, abs=0.01)


def test_moved_in(dropscribe: DaemonProcess, tmp_path: Path) -> None:
    outside = write_speech(tmp_path / "moved.wav", seconds=5)
    target = dropscribe.inbox / "moved.wav"
    outside.rename(target)
    dropscribe.wait_for(target)
    assert_transcribed(target)


def test_moved_in_as_a_tree(dropscribe: DaemonProcess, tmp_path: Path) -> None:
    tree = tmp_path / "season"
    (tree / "one" / "deep").mkdir(parents=True)
    write_speech(tree / "a.wav", seconds=4)
    write_speech(tree / "one" / "deep" / "b.wav", seconds=4.5)
    tree.rename(dropscribe.inbox / "season")
    for name in ("a.wav", "one/deep/b.wav"):
        target = dropscribe.inbox / "season" / name
        dropscribe.wait_for(target)
        assert_transcribed(target)


def test_part_then_renamed(dropscribe: DaemonProcess) -> None:
    part = dropscribe.inbox / "download.wav.part"
    write_speech(part, seconds=6)
    final = dropscribe.inbox / "download.wav"
    # Long enough for several quiet periods and rescans: the temporary name must not be taken.
    time.sleep(3)
    assert dropscribe.rows("select * from recordings where path like '%download%'") == []
    part.rename(final)
    dropscribe.wait_for(final)
    assert_transcribed(final)


def test_writer_that_stalls_is_not_read_early(dropscribe: DaemonProcess) -> None:
    target = dropscribe.inbox / "slow.wav"
    data = write_speech(dropscribe.root / "whole.wav", seconds=8).read_bytes()
    first, second = pieces(data, 2)
    with target.open("wb") as file:
        file.write(first)
        file.flush()
        time.sleep(3)  # several quiet periods of 0.5 s, and rescans, with the file held open
        assert dropscribe.state(target) is None
        file.write(second)
    dropscribe.wait_for(target)
    assert_transcribed(target)
    document = json.loads(target.with_suffix(".json").read_text(encoding="utf-8"))
    assert document["media"]["duration_ms"] == 8000
    assert inspect(target).whole
    assert len(dropscribe.rows("select 1 from recordings where path like '%slow.wav'")) == 1


def test_same_stem_gets_full_names(dropscribe: DaemonProcess, tmp_path: Path) -> None:
    folder = tmp_path / "pair"
    folder.mkdir()
    write_speech(folder / "talk.wav", seconds=4)
    write_speech(folder / "talk.wave", seconds=5)
    folder.rename(dropscribe.inbox / "pair")
    for name in ("talk.wav", "talk.wave"):
        target = dropscribe.inbox / "pair" / name
        dropscribe.wait_for(target)
        assert_transcribed(target, stem=name)
    assert not (dropscribe.inbox / "pair" / "talk.txt").exists()


def test_a_strangers_file_is_left_alone(dropscribe: DaemonProcess) -> None:
    folder = dropscribe.inbox / "notes"
    folder.mkdir()
    (folder / "visit.txt").write_text("my own notes\n", encoding="utf-8")
    target = write_speech(folder / "visit.wav", seconds=4)
    dropscribe.wait_for(target)
    assert (folder / "visit.txt").read_text(encoding="utf-8") == "my own notes\n"
    assert_transcribed(target, stem="visit.wav")


def test_same_content_twice_is_done_by_reference(dropscribe: DaemonProcess) -> None:
    first = write_speech(dropscribe.inbox / "first.wav", seconds=7, offset=1)
    dropscribe.wait_for(first)
    second = dropscribe.inbox / "again.wav"
    shutil.copyfile(first, second)
    dropscribe.wait_for(second)
    assert assert_transcribed(second) == first.with_suffix(".txt").read_text(encoding="utf-8")
    jobs = dropscribe.rows(
        "select j.id, j.reference_job_id from jobs j join recordings r on r.id = j.recording_id"
        " where r.path in (?, ?) order by j.id",
        str(first),
        str(second),
    )
    assert jobs[1]["reference_job_id"] == jobs[0]["id"]


def test_names_that_are_hard_to_handle(dropscribe: DaemonProcess) -> None:
    names = [
        b"with space.wav",
        "会议记录 😀.wav".encode(),
        b"line\nbreak.wav",
        b"not-\xff-utf8.wav",
        b"UPPER.WAV",
    ]
    for i, name in enumerate(names):
        target = dropscribe.inbox / os.fsdecode(name)
        write_speech(target, seconds=3 + i / 10)
        dropscribe.wait_for(target)
        assert_transcribed_raw(target)


def assert_transcribed_raw(recording: Path) -> None:
    for sidecar in sidecars(recording):
        assert sidecar.is_file(), os.fsencode(sidecar)


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
def test_rsync(dropscribe: DaemonProcess, tmp_path: Path) -> None:
    source = write_speech(tmp_path / "synced.wav", seconds=5.5)
    subprocess.run(["rsync", "-a", "--bwlimit=50", str(source), f"{dropscribe.inbox}/"], check=True)
    target = dropscribe.inbox / "synced.wav"
    dropscribe.wait_for(target)
    assert_transcribed(target)
    assert len(dropscribe.rows("select 1 from recordings where path like '%synced%'")) == 1


def test_what_is_not_a_recording_is_skipped_with_its_reason(dropscribe: DaemonProcess) -> None:
    (dropscribe.inbox / "slides.pdf").write_bytes(b"%PDF-1.4 not a recording")
    (dropscribe.inbox / "void.wav").write_bytes(b"")
    wait_until(
        lambda: {r["code"] for r in dropscribe.rows("select code from skips")} >= {"extension", "empty"},
        "both are skipped",
    )


def test_garbage_fails_with_a_reason_and_the_next_recording_is_done(dropscribe: DaemonProcess) -> None:
    bad = dropscribe.inbox / "bad.wav"
    bad.write_bytes(os.urandom(40_000))
    good = write_speech(dropscribe.inbox / "good.wav", seconds=3.3)
    dropscribe.wait_for(bad, "failed")
    dropscribe.wait_for(good)
    reason = dropscribe.rows("select reason, remedy from job_history where recording like '%bad.wav'")[0]
    assert reason["reason"]
    assert reason["remedy"]


def test_the_recording_itself_is_never_touched(dropscribe: DaemonProcess) -> None:
    target = write_speech(dropscribe.inbox / "kept.wav", seconds=4.2)
    before, stat = target.read_bytes(), target.stat()
    dropscribe.wait_for(target)
    after = target.stat()
    assert target.read_bytes() == before
    assert (after.st_mtime_ns, after.st_ino, after.st_mode) == (stat.st_mtime_ns, stat.st_ino, stat.st_mode)


def test_files_of_strangers_end_as_documented(dropscribe: DaemonProcess) -> None:
    """A stale length, tags behind an m4a, a voice memo, SILK, TypeScript, a preallocated download, a recycle bin."""
    inbox = dropscribe.inbox / "strangers"
    (inbox / "@Recycle").mkdir(parents=True)
    write_speech(inbox / "@Recycle" / "old.wav", seconds=2.1)
    (inbox / "main.ts").write_text("export const answer = 42;\n", encoding="utf-8")
    (inbox / "voice.amr").write_bytes(b"\x02#!SILK_V3" + bytes(range(256)))
    (inbox / "part.wav.aria2").write_bytes(b"state")
    part = write_speech(inbox / "part.wav", seconds=2.7)
    whole = write_speech(inbox.parent / ".whole.wav", seconds=9.3)
    stale, tagged, memo = inbox / "stale.wav", inbox / "tagged.m4a", inbox / "memo.qta"
    pcm, rate_hz = soundfile.read(whole, dtype="int16", always_2d=True)
    stale.write_bytes(with_data_size(whole, 2 * rate_hz).read_bytes())
    for path, container in ((tagged, "ipod"), (memo, "mov")):
        encode(inbox.parent / ".encoding", container, "aac", pcm[: -rate_hz * (1 + (path == memo))], rate_hz)
        tail = b"TAG" + bytes(125) if path == tagged else b""
        path.write_bytes((inbox.parent / ".encoding").read_bytes() + tail)
    for path in (stale, tagged, memo):
        dropscribe.wait_for(path)
        assert_transcribed(path)
    document = json.loads(stale.with_suffix(".json").read_text(encoding="utf-8"))
    assert document["media"]["duration_ms"] == round(len(pcm) * 1000 / rate_hz)
    assert "sound follows" in document["media"]["warnings"][0]
    assert "cut" not in tagged.with_suffix(".txt").read_text(encoding="utf-8")
    dropscribe.wait_for(inbox / "voice.amr", "failed")
    reason = dropscribe.rows("select reason from job_history where recording like '%voice.amr'")[0]["reason"]
    assert "SILK" in reason
    wait_until(lambda: bool(dropscribe.rows("select 1 from skips where code = 'text'")), "main.ts is skipped")
    assert dropscribe.state(part) is None
    (inbox / "part.wav.aria2").unlink()
    dropscribe.wait_for(part)
    assert dropscribe.rows("select 1 from recordings where path like '%@Recycle%'") == []
    assert dropscribe.rows("select 1 from skips where path like '%@Recycle%' or path like '%aria2'") == []
