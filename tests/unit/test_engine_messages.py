"""What the engine says reaches the other process as it was said."""

from __future__ import annotations

import pickle

import pytest

from daemon.engine.protocol import SegmentDone
from daemon.transcript.types import Token


@pytest.mark.parametrize(
    "tokens", [(), (Token("你", 0, 180),), (Token("hello", 0, 400), Token("好", 400, 520))]
)
def test_a_segment_travels_whole(tokens: tuple[Token, ...]) -> None:
    said = SegmentDone(1, 2, 300, 4_000, "你 好", tokens, 5, 6, 7.5, 8.5, 0.25, 0.125)
    arrived = pickle.loads(pickle.dumps(said))
    assert arrived == said
    assert all(isinstance(t, Token) for t in arrived.tokens)
