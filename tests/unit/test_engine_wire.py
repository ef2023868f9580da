"""Messages between the daemon and the engine process survive pickling unchanged."""

from __future__ import annotations

import pickle
from array import array

import pytest

from dropscribe.engine.protocol import BlockFreed, PcmBlock, SegmentDone, StreamDone, StreamOptions
from dropscribe.engine.wire import Report
from dropscribe.transcript.types import NO_TAGS, Tags, Token, Tokens, packed_tokens


@pytest.mark.parametrize(
    "tokens", [(), (Token("你", 0, 180),), (Token("hello", 0, 400), Token("好", 400, 520))]
)
def test_a_segment_survives_pickling(tokens: tuple[Token, ...]) -> None:
    said = SegmentDone(1, 2, 300, 4_000, "你 好", Tokens.of(tokens), 5, 6, 7.5, 8.5, 0.25, 0.125)
    arrived = pickle.loads(pickle.dumps(said))
    assert arrived == said
    assert arrived.tokens == tokens
    assert all(isinstance(t, Token) for t in arrived.tokens)


@pytest.mark.parametrize("tags", [(NO_TAGS, NO_TAGS), (NO_TAGS, Tags("zh", "happy", ("speech",)))])
def test_the_events_of_a_report_arrive_in_order_with_all_their_fields(tags: tuple[Tags, Tags]) -> None:
    packed = packed_tokens(
        "你好", array("i", [0, 180]).tobytes(), array("i", [180, 360]).tobytes(), b"\xff\x09"
    )
    first, second = (
        SegmentDone(
            stream, index, 0, 360, "你好", tokens, 5, 6, 7.5, 8.5, 0.25 + stream, 0.125 + index, own
        )
        for stream, index, tokens, own in (
            (1, 7, packed, tags[0]), (2, 0, Tokens(["hello", ""], (0, 2**40), (180, 2**41)), tags[1])
        )
    )  # fmt: skip
    done, freed = StreamDone(1, 1, 400, 360, 0.5), BlockFreed(4_096)
    for events in ((), (first,), (freed, first, second, done, second, freed, freed), (done, second, first)):
        arrived = pickle.loads(pickle.dumps(Report(events, 6_400)))
        assert arrived == Report(events, 6_400)
        assert [type(one) for one in arrived.events] == [type(one) for one in events]


def test_reports_and_submissions_survive_pickling() -> None:
    said = SegmentDone(
        1, 0, 0, 360, "你好", Tokens("你好", (0, 180), (180, 360)), 5, 6, 7.5, 8.5, 0.25, 0.125
    )
    report = Report((BlockFreed(4_096), said, StreamDone(1, 1, 400, 360, 0.5)), 6_400)
    assert pickle.loads(pickle.dumps(report)) == report
    block = PcmBlock(1, 4_096, 6_400, True, StreamOptions(("热词",)))
    assert pickle.loads(pickle.dumps(block)) == block
