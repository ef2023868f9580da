"""Contract of `Decoders` for the pool with real processes and files."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from numpy.typing import NDArray

from dropscribe.config import MediaSettings
from dropscribe.errors import DecoderKilledError, DropscribeError
from dropscribe.files import FileSignature
from dropscribe.media import pool as pool_module
from dropscribe.media.child import DISK_S
from dropscribe.media.protocol import (
    Decoders,
)
from tests.support.daemon_process import wait_until
from tests.support.decoders import DEADLINE_S, SLOT_BYTES, Bench
from tests.support.hanging_disk import HangingDisk
from tests.support.recordings import noise


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(MediaSettings.model_validate({}))
    yield made
    # In any case each slot is either free or in use, once.
    busy = any(child.order for child in made.pool._children)
    made.close()
    made.pool.close()
    if not busy:
        assert sorted(made.free) == sorted(made.all_slots)


@pytest.fixture
def wav(tmp_path: Path) -> tuple[Path, NDArray[np.int16]]:
    pcm = noise(20)
    soundfile.write(tmp_path / "talk.wav", pcm, 16_000)
    return tmp_path / "talk.wav", pcm[:, 0]


def test_the_pool_implements_decoders(bench: Bench) -> None:
    decoders: Decoders = bench.pool
    assert decoders.idle() == 2
    assert len(decoders.filenos()) == 2


def test_blocks_come_in_order_and_are_the_recording(
    bench: Bench, wav: tuple[Path, NDArray[np.int16]]
) -> None:
    path, pcm = wav
    bench.start(7, path)
    assert bench.pool.idle() == 1
    bench.until(7)
    assert np.array_equal(np.concatenate(bench.pcm[7]), pcm)
    assert all(len(block) == SLOT_BYTES // 2 for block in bench.pcm[7][:-1])
    assert bench.opened[7].declared_ms == 20_000
    assert bench.done(7).facts.duration_ms == 20_000
    assert bench.done(7).decode_s >= 0
    assert bench.pool.idle() == 2


def test_many_recordings_at_once_do_not_mix(bench: Bench, tmp_path: Path) -> None:
    wanted = {}
    for ticket in range(12):
        pcm = noise(3 + ticket / 2, seed=ticket)
        soundfile.write(tmp_path / f"{ticket}.wav", pcm, 16_000)
        wanted[ticket] = pcm[:, 0]
    waiting = list(wanted)
    while len(bench.ends) < len(wanted):
        while waiting and bench.pool.idle() and len(bench.free) > 1:
            ticket = waiting.pop(0)
            bench.start(ticket, tmp_path / f"{ticket}.wav")
        bench.step()
    for ticket, pcm in wanted.items():
        assert np.array_equal(np.concatenate(bench.pcm[ticket]), pcm)


def test_an_order_may_begin_without_any_slot(bench: Bench, wav: tuple[Path, NDArray[np.int16]]) -> None:
    bench.start(1, wav[0], slots=0)
    bench.until(1)
    assert np.array_equal(np.concatenate(bench.pcm[1]), wav[1])


def test_unused_slots_are_returned(bench: Bench, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", noise(0.5), 16_000)
    bench.start(1, tmp_path / "short.wav", slots=5)
    bench.until(1)
    assert len(bench.done(1).unused) == 4


def test_each_way_to_fail_has_its_code_and_leaves_the_decoder_working(
    bench: Bench, wav: tuple[Path, NDArray[np.int16]], tmp_path: Path
) -> None:
    (tmp_path / "text.wav").write_text("not a recording\n" * 99)
    (tmp_path / "empty.wav").touch()
    bench.settle()
    before = bench.pids()
    bench.start(1, tmp_path / "gone.wav")
    bench.start(2, tmp_path / "text.wav")
    bench.until(1, 2)
    bench.start(3, tmp_path / "empty.wav")
    bench.start(4, wav[0], expected=FileSignature(1, 2, 3))
    bench.until(3, 4)
    codes = {t: bench.failed(t).code for t in (1, 2, 3, 4)}
    assert codes == {1: "recording_gone", 2: "unreadable_media", 3: "no_audio", 4: "recording_changed"}
    assert {t: bench.failed(t).retryable for t in codes} == {1: False, 2: False, 3: False, 4: True}
    assert bench.pids() == before
    bench.start(5, wav[0])
    bench.until(5)
    bench.done(5)


def test_an_aborted_order_returns_its_slots_and_sends_no_events(
    bench: Bench, wav: tuple[Path, NDArray[np.int16]]
) -> None:
    bench.start(1, wav[0], slots=3)
    bench.until_wanting(1)
    bench.pool.give(1, [bench.free.pop()])
    bench.wanting.clear()
    slots = bench.pool.abort(1)
    assert len(slots) == 1
    bench.free.extend(slots)
    assert bench.pool.abort(1) == ()
    assert bench.pool.idle() == 2
    bench.events.clear()
    bench.start(2, wav[0])
    bench.until(2)
    assert {e.ticket for e in bench.events} == {2}
    assert np.array_equal(np.concatenate(bench.pcm[2]), wav[1])


def test_a_slot_given_too_late_is_ignored(bench: Bench, wav: tuple[Path, NDArray[np.int16]]) -> None:
    bench.start(1, wav[0])
    bench.until(1)
    bench.pool.give(1, [0])
    bench.start(2, wav[0])
    bench.until(2)
    assert np.array_equal(np.concatenate(bench.pcm[2]), wav[1])


def test_killing_a_decoder_in_the_middle_costs_only_that_attempt(
    bench: Bench, wav: tuple[Path, NDArray[np.int16]]
) -> None:
    bench.start(1, wav[0])
    bench.until_wanting(1)
    victim = next(c.pid for c in bench.pool._children if c.order is not None)
    os.kill(victim, signal.SIGKILL)
    bench.wanting.clear()
    bench.until(1)
    end = bench.failed(1)
    assert (end.code, end.retryable) == (DecoderKilledError.code, True)
    assert "SIGKILL" in end.reason
    assert victim not in bench.pids()
    bench.start(2, wav[0])
    bench.start(3, wav[0])
    bench.until(2, 3)
    assert np.array_equal(np.concatenate(bench.pcm[2]), wav[1])


def test_a_decoder_that_died_while_idle_costs_nothing(
    bench: Bench, wav: tuple[Path, NDArray[np.int16]]
) -> None:
    bench.settle()
    for pid in bench.pids():
        os.kill(pid, signal.SIGKILL)
        psutil.Process(pid).wait(DEADLINE_S)
    bench.start(1, wav[0])
    bench.until(1)
    bench.done(1)


def test_a_hanging_decoder_is_stopped_but_not_one_waiting_for_slots(tmp_path: Path) -> None:
    pcm = noise(30)
    soundfile.write(tmp_path / "a.wav", pcm, 16_000)
    bench = Bench(MediaSettings.model_validate({"stall_s": 5.0}))
    try:
        bench.settle()
        bench.start(1, tmp_path / "a.wav", slots=1)
        bench.until_wanting(1)
        later = time.monotonic() + 3600
        assert bench.step(feed=False, now=later) == []
        hung = next(c.pid for c in bench.pool._children if c.order is not None)
        os.kill(hung, signal.SIGSTOP)
        bench.pool.give(bench.wanting.pop(), [bench.free.pop()])
        given = time.monotonic()
        assert bench.step(now=given + 4) == []
        bench.step(now=given + 10)
        assert bench.failed(1).code == "media_limit"
        assert "brought nothing for 5 s" in bench.failed(1).reason
        assert not psutil.pid_exists(hung)
        bench.start(2, tmp_path / "a.wav")
        bench.until(2)
        assert np.array_equal(np.concatenate(bench.pcm[2]), pcm[:, 0])
    finally:
        bench.close()


def test_a_decoder_blocked_by_its_disk_is_a_storage_fault(
    tmp_path: Path, wav: tuple[Path, NDArray[np.int16]]
) -> None:
    with HangingDisk(tmp_path / "mounted", tmp_path / "behind") as disk:
        (disk.path / "a.wav").write_bytes(wav[0].read_bytes())
        bench = Bench(MediaSettings.model_validate({"stall_s": 60.0}))
        try:
            bench.settle()
            disk.hang()
            bench.start(1, disk.path / "a.wav")
            hung = next(c.pid for c in bench.pool._children if c.order is not None)
            wait_until(lambda: "\nState:\tR" not in Path(f"/proc/{hung}/status").read_text(), "it waits")
            given = time.monotonic()
            assert bench.step(now=given + 2) == []
            assert bench.step(now=given + DISK_S - 1) == []
            bench.step(now=given + DISK_S + 1)
            assert (bench.failed(1).code, bench.failed(1).retryable) == ("unanswered", True)
            bench.start(2, wav[0])
            bench.start(3, wav[0])
            bench.until(2, 3)
            disk.answer()
            bench.start(4, disk.path / "a.wav")
            bench.until(4)
            bench.done(4)
            wait_until(bench.pool.ended, "the killed decoder is gone")
        finally:
            bench.close()


def test_a_recording_longer_than_the_cap_stops_there(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", noise(60), 16_000)
    bench = Bench(MediaSettings.model_validate({"max_hours": 30 / 3600}))
    try:
        bench.start(1, tmp_path / "long.wav")
        bench.until(1)
        assert bench.failed(1).code == "media_limit"
        assert sum(map(len, bench.pcm[1])) <= 30 * 16_000
    finally:
        bench.close()


def test_children_are_replaced_after_a_number_of_files(
    monkeypatch: pytest.MonkeyPatch, wav: tuple[Path, NDArray[np.int16]]
) -> None:
    monkeypatch.setattr(pool_module, "MAX_FILES", 3)
    bench = Bench(MediaSettings.model_validate({}), workers=1)
    try:
        seen = set()
        for ticket in range(7):
            seen.add(bench.pids()[0])
            bench.start(ticket, wav[0])
            bench.until(ticket)
            bench.done(ticket)
        assert len(seen) == 3
    finally:
        bench.close()


def test_written_slots_do_not_count_as_memory_of_the_decoder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pool_module, "MAX_GROWTH_BYTES", 24 * 1024 * 1024)
    bench = Bench(MediaSettings.model_validate({}), workers=1, slots=512)
    path = tmp_path / "long.wav"
    pcm = np.resize(noise(1.0), 512 * SLOT_BYTES // 2)
    soundfile.write(path, pcm, 16_000, subtype="PCM_16")
    try:
        decoder = bench.pids()
        bench.start(1, path, slots=512)
        bench.until(1)
        bench.done(1)
        assert bench.pids() == decoder
        monkeypatch.setattr(pool_module, "MAX_GROWTH_BYTES", -1_000_000_000)
        bench.start(2, path, slots=2)
        bench.until(2)
        assert bench.pids() != decoder
    finally:
        bench.close()


def test_decoders_end_when_the_pool_closes_its_pipe(wav: tuple[Path, NDArray[np.int16]]) -> None:
    bench = Bench(MediaSettings.model_validate({}))
    bench.settle()
    processes = [psutil.Process(pid) for pid in bench.pids()]
    bench.start(1, wav[0], slots=1)
    bench.until_wanting(1)  # one is in the middle of a recording, the other idle
    for child in bench.pool._children:
        child.pipe.close()
    for process in processes:
        process.wait(DEADLINE_S)
    bench.pool._children.clear()
    bench.close()


def test_decoders_ignore_sigterm_and_sigint(bench: Bench, wav: tuple[Path, NDArray[np.int16]]) -> None:
    bench.settle()
    pids = bench.pids()
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    bench.start(1, wav[0])
    bench.until(1)
    bench.done(1)
    assert bench.pids() == pids


def test_decoders_have_their_limits(bench: Bench) -> None:
    bench.settle()
    for pid in bench.pids():
        process = psutil.Process(pid)
        used = process.memory_info().vms
        assert process.rlimit(psutil.RLIMIT_AS)[1] <= used + (2048 + 64) * 1024 * 1024
        assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0)
        assert process.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
        assert process.rlimit(psutil.RLIMIT_NOFILE)[1] <= 64


@pytest.mark.parametrize("minutes", [20, pytest.param(120, marks=pytest.mark.soak)])
def test_a_long_recording_stays_small(minutes: int, tmp_path: Path) -> None:
    """Memory does not grow with the length; 20 minutes of 44.1 kHz stereo are 200 MB of samples."""
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 44_100, 2, "PCM_16") as out:
        minute = noise(60, 44_100, 2)
        for _ in range(minutes):
            out.write(minute)
    bench = Bench(MediaSettings.model_validate({}), workers=1)
    try:
        bench.start(1, path)
        peak = samples = 0
        while 1 not in bench.ends:
            bench.step()
            samples += sum(map(len, bench.pcm.pop(1, [])))
            peak = max(peak, psutil.Process(bench.pids()[0]).memory_info().rss)
        assert bench.done(1).facts.duration_ms == minutes * 60_000
        assert samples == minutes * 60 * 16_000
        assert peak < 150 * 1024 * 1024
    finally:
        bench.close()


def test_a_pool_that_cannot_start_its_processes_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")  # an interpreter that cannot start
    bench = Bench(MediaSettings.model_validate({}), workers=1)
    try:
        with pytest.raises(DropscribeError, match="do not start") as caught:  # noqa: PT012  it takes several
            for _ in range(200):
                bench.step()
        assert "doctor" in caught.value.remedy
    finally:
        bench.close()
