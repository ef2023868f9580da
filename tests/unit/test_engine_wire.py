"""Messages between the daemon and the engine process survive pickling unchanged."""

from __future__ import annotations

import pickle

import pytest

from dropscribe.engine.protocol import BlockFreed, PcmBlock, SegmentDone, StreamDone, StreamOptions
from dropscribe.engine.wire import Report
from dropscribe.transcript.types import Token, Tokens


@pytest.mark.parametrize(
    "tokens", [(), (Token("你", 0, 180),), (Token("hello", 0, 400), Token("好", 400, 520))]
)
def test_a_segment_survives_pickling(tokens: tuple[Token, ...]) -> None:
    said = SegmentDone(1, 2, 300, 4_000, "你 好", Tokens.of(tokens), 5, 6, 7.5, 8.5, 0.25, 0.125)
    arrived = pickle.loads(pickle.dumps(said))
    assert arrived == said
    assert arrived.tokens == tokens
    assert all(isinstance(t, Token) for t in arrived.tokens)


def test_reports_and_submissions_survive_pickling() -> None:
    said = SegmentDone(
        1, 0, 0, 360, "你好", Tokens("你好", (0, 180), (180, 360)), 5, 6, 7.5, 8.5, 0.25, 0.125
    )
    report = Report((BlockFreed(4_096), said, StreamDone(1, 1, 400, 360, 0.5)), 6_400)
    assert pickle.loads(pickle.dumps(report)) == report
    block = PcmBlock(1, 4_096, 6_400, True, StreamOptions(("热词",)))
    assert pickle.loads(pickle.dumps(block)) == block
