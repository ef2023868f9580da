"""Time and content of the partial text of a recording in progress."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dropscribe.engine.protocol import SegmentDone
from dropscribe.pipeline.assembly import Assembly, Heard
from dropscribe.service.publishing.partial_policy import GROWN, LONG_MS, RENEW_S, Shown, due
from dropscribe.transcript.render import Options, render
from dropscribe.transcript.renderers.partial import partial_text
from dropscribe.transcript.types import NO_TOKENS, Segment
from tests.support.transcripts import transcript

HOUR_MS = 3_600_000


def heard(segments: int = 4, *, until_ms: int = 10_000, declared_ms: int | None = None) -> Heard:
    return Heard(started=100.0, segments=segments, until_ms=until_ms, declared_ms=declared_ms)


def test_partial_text_is_written_after_the_minimum_time() -> None:
    assert not due(heard(), None, after_s=1.0, now=100.9)
    assert due(heard(), None, after_s=1.0, now=101.0)


def test_no_partial_text_without_a_segment_or_when_disabled() -> None:
    assert not due(heard(0), None, after_s=1.0, now=500.0)
    assert not due(heard(), None, after_s=0, now=500.0)
    assert not due(heard(8), Shown(100.0, 4), after_s=0, now=500.0)


def test_partial_text_of_a_long_recording_is_written_at_once_if_it_is_expected_to_take_long() -> None:
    slow = heard(until_ms=60_000, declared_ms=HOUR_MS)  # a minute in 0.1 s: 6 s for the hour
    assert due(slow, None, after_s=1.0, now=100.1)
    quick = heard(until_ms=HOUR_MS // 2, declared_ms=HOUR_MS)  # 0.2 s for the hour
    assert not due(quick, None, after_s=1.0, now=100.1)


def test_the_expected_time_is_that_of_all_parts() -> None:
    half = replace(heard(until_ms=HOUR_MS - 1, declared_ms=HOUR_MS), parts_done=1, parts=4)
    assert not due(half, None, after_s=1.0, now=100.49)
    assert due(half, None, after_s=1.0, now=100.51)


def test_the_expected_time_of_a_short_recording_is_ignored() -> None:
    short = heard(until_ms=1_000, declared_ms=LONG_MS - 1)
    assert not due(short, None, after_s=1.0, now=100.9)


def test_more_audio_than_declared_does_not_shorten_the_expected_time() -> None:
    assert due(heard(until_ms=2 * HOUR_MS, declared_ms=HOUR_MS), None, after_s=1.0, now=101.0)


def test_partial_text_is_renewed_with_new_text_after_reading_time() -> None:
    shown = Shown(at=110.0, segments=4)
    assert not due(heard(5), shown, after_s=1.0, now=110.0 + RENEW_S / 2)
    assert due(heard(5), shown, after_s=1.0, now=110.0 + RENEW_S)
    assert not due(heard(4), shown, after_s=1.0, now=1000.0)


def test_partial_text_is_renewed_at_once_with_much_new_text() -> None:
    shown = Shown(at=110.0, segments=4)
    assert due(heard(round(4 * GROWN)), shown, after_s=1.0, now=110.0)
    assert not due(heard(round(4 * GROWN) - 1), shown, after_s=1.0, now=110.0)


def segment(index: int) -> SegmentDone:
    return SegmentDone(
        1, index, index * 1000, index * 1000 + 900, f"text {index}", NO_TOKENS, 0, 1, 1.0, 1.0, 0.0, 0.0
    )


def test_only_segments_without_a_gap_before_them_are_in_the_partial_text() -> None:
    assembly = Assembly(started=3.0, declared_ms=9_000)
    for index, count in ((1, 0), (0, 2), (3, 2), (4, 2), (2, 5)):
        assembly.add(segment(index))
        assert len(assembly.texts) == assembly.heard().segments == count
    assert assembly.texts == [f"text {i}" for i in range(5)]
    assert assembly.heard() == Heard(3.0, 5, 4_900, 9_000)


def test_the_parts_of_a_recording_follow_each_other_in_the_partial_text() -> None:
    headings = [(0, "channel 1"), (2, "channel 2")]
    texts = ["", "喂", "你好", "再见"]
    part = partial_text(texts, until_ms=3000, declared_ms=60_000, notice=None, headings=headings)
    assert part.decode() == (
        "[channel 1]\n喂\n\n[channel 2]\n你好\n再见\n\n"
        "[unfinished: channel 2, up to 00:00:03 of 00:01:00; this file goes when the transcript is complete]\n"
    )


@pytest.mark.parametrize("count", [1, 2, 3])
def test_partial_text_is_a_prefix_of_the_finished_text(count: int) -> None:
    texts = ("你好 ", "  ", "so\nmany words")
    whole = render(transcript(*(Segment(i, i, i, t) for i, t in enumerate(texts))), "txt", Options())
    part = partial_text(texts[:count], until_ms=1, declared_ms=None, notice="only a demonstration")
    spoken, _, said = part.partition(b"\n\n")
    assert whole.startswith(spoken + b"\n")
    assert said.startswith(b"[only a demonstration]\n[unfinished: ")


@pytest.mark.parametrize(
    ("declared_ms", "far"),
    [(HOUR_MS, "up to 00:02:03 of 01:00:00;"), (None, "up to 00:02:03;"), (5, "up to 00:02:03;")],
)
def test_the_last_line_has_the_progress(declared_ms: int | None, far: str) -> None:
    part = partial_text(["a"], until_ms=123_900, declared_ms=declared_ms, notice=None).decode()
    assert part.startswith("a\n\n[unfinished: ")
    assert far in part.splitlines()[-1]
    assert part.endswith("]\n")


def test_a_lone_surrogate_can_be_written() -> None:
    assert rb"\ud800" in partial_text(["\ud800"], until_ms=1, declared_ms=None, notice=None)
