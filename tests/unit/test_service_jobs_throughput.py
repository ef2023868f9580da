"""Rates of the last minute, at passed times."""

from __future__ import annotations

from dropscribe.service.jobs.throughput import Load, Throughput


def test_audio_in_progress_counts_and_what_is_older_than_a_minute_does_not() -> None:
    throughput = Throughput(0.0)
    assert throughput.load(10.0, in_progress_s=50.0, decoders=4, idle=1) == Load(0.0, 5.0, 4, 3)
    throughput.add(100.0, 20.0)
    assert throughput.load(20.0, in_progress_s=0.0, decoders=4, idle=4) == Load(3.0, 5.0, 4, 0)
    assert throughput.load(70.0, in_progress_s=0.0, decoders=4, idle=4) == Load(1.0, 50.0 / 60.0, 4, 0)
    assert throughput.load(200.0, in_progress_s=0.0, decoders=4, idle=4).audio_rate == 0.0


def test_an_attempt_that_was_given_up_is_no_negative_speed() -> None:
    throughput = Throughput(0.0)
    throughput.load(1.0, in_progress_s=50.0, decoders=1, idle=0)
    assert throughput.load(61.0, in_progress_s=0.0, decoders=1, idle=0).audio_rate == 0.0
