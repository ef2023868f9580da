"""When the text of a recording under way is written, and what it says."""

from __future__ import annotations

import pytest

from dropscribe.engine.protocol import SegmentDone
from dropscribe.pipeline.assembly import Assembly, Heard
from dropscribe.service.publishing.partial_policy import GROWN, LONG_MS, RENEW_S, Shown, due
from dropscribe.transcript.partial import partial_text
from dropscribe.transcript.render import Options, render
from dropscribe.transcript.types import NO_TOKENS, Segment
from tests.support.transcripts import transcript

HOUR_MS = 3_600_000


def heard(segments: int = 4, *, until_ms: int = 10_000, declared_ms: int | None = None) -> Heard:
    return Heard(started=100.0, segments=segments, until_ms=until_ms, declared_ms=declared_ms)


def test_a_recording_shows_text_once_it_has_been_worked_on_for_long_enough() -> None:
    assert not due(heard(), None, after_s=1.0, now=100.9)
    assert due(heard(), None, after_s=1.0, now=101.0)


def test_nothing_is_shown_without_a_segment_or_when_it_is_turned_off() -> None:
    assert not due(heard(0), None, after_s=1.0, now=500.0)
    assert not due(heard(), None, after_s=0, now=500.0)
    assert not due(heard(8), Shown(100.0, 4), after_s=0, now=500.0)


def test_a_long_recording_shows_its_first_text_at_once_if_its_pace_says_that_it_will_take_long() -> None:
    slow = heard(until_ms=60_000, declared_ms=HOUR_MS)  # a minute in 0.1 s: 6 s for the hour
    assert due(slow, None, after_s=1.0, now=100.1)
    quick = heard(until_ms=HOUR_MS // 2, declared_ms=HOUR_MS)  # 0.2 s for the hour
    assert not due(quick, None, after_s=1.0, now=100.1)


def test_a_short_recording_is_not_judged_by_its_pace() -> None:
    short = heard(until_ms=1_000, declared_ms=LONG_MS - 1)
    assert not due(short, None, after_s=1.0, now=100.9)


def test_more_than_was_declared_does_not_make_the_expectation_shorter() -> None:
    assert due(heard(until_ms=2 * HOUR_MS, declared_ms=HOUR_MS), None, after_s=1.0, now=101.0)


def test_it_is_renewed_when_there_is_more_and_a_person_could_have_read_it() -> None:
    shown = Shown(at=110.0, segments=4)
    assert not due(heard(5), shown, after_s=1.0, now=110.0 + RENEW_S / 2)
    assert due(heard(5), shown, after_s=1.0, now=110.0 + RENEW_S)
    assert not due(heard(4), shown, after_s=1.0, now=1000.0)


def test_it_is_renewed_at_once_when_there_is_far_more() -> None:
    shown = Shown(at=110.0, segments=4)
    assert due(heard(round(4 * GROWN)), shown, after_s=1.0, now=110.0)
    assert not due(heard(round(4 * GROWN) - 1), shown, after_s=1.0, now=110.0)


def segment(index: int) -> SegmentDone:
    return SegmentDone(
        1, index, index * 1000, index * 1000 + 900, f"text {index}", NO_TOKENS, 0, 1, 1.0, 1.0, 0.0, 0.0
    )


def test_only_what_has_no_gap_before_it_is_heard() -> None:
    assembly = Assembly(started=3.0, declared_ms=9_000)
    for index, count in ((1, 0), (0, 2), (3, 2), (4, 2), (2, 5)):
        assembly.add(segment(index))
        assert len(assembly.texts) == assembly.heard().segments == count
    assert assembly.texts == [f"text {i}" for i in range(5)]
    assert assembly.heard() == Heard(3.0, 5, 4_900, 9_000)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_text_begins_the_finished_one(count: int) -> None:
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
def test_the_last_line_says_how_far_it_has_come(declared_ms: int | None, far: str) -> None:
    part = partial_text(["a"], until_ms=123_900, declared_ms=declared_ms, notice=None).decode()
    assert part.startswith("a\n\n[unfinished: ")
    assert far in part.splitlines()[-1]
    assert part.endswith("]\n")


def test_half_a_surrogate_pair_can_be_written() -> None:
    assert rb"\ud800" in partial_text(["\ud800"], until_ms=1, declared_ms=None, notice=None)
