"""Assembly of a result: annotations of the engine are divided among the segments, and never cost a word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dropscribe.engine.protocol import Annotations, SegmentDone, StreamDone
from dropscribe.pipeline.assembly import Assembly, Result
from dropscribe.transcript.types import VOICE, Speaker, Tokens
from tests.support.ledgers import MEDIA


def said(index: int, text: str) -> SegmentDone:
    start = 1_000 * index
    tokens = Tokens(text, range(start, start + len(text)), range(start + 1, start + 1 + len(text)))
    return SegmentDone(1, index, start, start + 900, text, tokens, 1, 2, 2.0, 2.0, 0.1, 0.2)


def result(annotations: Annotations) -> Result:
    assembly = Assembly(started=0.0)
    for segment in (said(2, "好"), said(0, "你好"), said(1, "")):
        assembly.add(segment)
    assembly.facts = MEDIA
    assembly.done = StreamDone(1, 3, 3_000, 2_700, 0.3, (), annotations)
    return assembly.result(5.0)


def test_each_segment_gets_the_marks_and_speakers_of_its_tokens() -> None:
    found = result(Annotations(b"\x00\x01\x02", b"\x01\x01\x02", (b"a", b"b"), (("punctuation", 0.5),)))
    assert [s.marks for s in found.segments] == [b"\x00\x01", b"", b"\x02"]
    assert [s.speakers for s in found.segments] == [b"\x01\x01", b"", b"\x02"]
    assert found.speakers == (Speaker(1, None, VOICE, b"a"), Speaker(2, None, VOICE, b"b"))
    assert found.timings.of("punctuation") == 0.5
    assert found.remarks == ()


@pytest.mark.parametrize(
    ("broken", "remark"),
    [
        (Annotations(marks=b"\x01"), "punctuation failed: 1 marks for 3 tokens"),
        (Annotations(speakers=b"\x01\x01", voices=(b"a",)), "speakers failed: 2 speakers for 3 tokens"),
        (Annotations(speakers=b"\x01\x02\x01", voices=(b"a",)), "speakers failed: 3 speakers for 3 tokens"),
    ],
)
def test_annotations_that_do_not_fit_are_left_out_with_a_remark(broken: Annotations, remark: str) -> None:
    found = result(broken)
    assert [s.text for s in found.segments] == ["你好", "", "好"]
    assert all(not s.marks and not s.speakers for s in found.segments)
    assert (found.remarks, found.speakers) == ((remark,), ())


def test_a_column_that_fits_is_kept_beside_one_that_does_not() -> None:
    found = result(replace(Annotations(speakers=b"\x01\x01\x01", voices=(b"a",)), marks=b"\x01"))
    assert [s.speakers for s in found.segments] == [b"\x01\x01", b"", b"\x01"]
