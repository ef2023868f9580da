"""A batch of tokens becomes the same hypotheses as each of its segments alone."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.engine.core.interfaces import SpeechSegment
from dropscribe.engine.models.text.decoded import DecodedTokens, Times
from dropscribe.engine.models.text.hotwords import Spelling
from dropscribe.engine.models.text.hypotheses import hypothesis
from dropscribe.engine.models.text.vocabulary import Characters

TOKENS = ["你", "好", "ア", "𠀀", "hello", "hel@@", "lo", "a", "t", "&", "5", "2024", "é", "。", "<unk>", ""]
CHINESE = st.integers(0, 3)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.lists(CHINESE, max_size=8), st.lists(st.integers(0, len(TOKENS) - 1), max_size=8)),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
    st.sampled_from([0, 2**31 - 500, 2**33]),
)
def test_a_batch_of_tokens_gives_the_hypotheses_of_its_segments(
    said: list[tuple[list[int], bool]], timed: bool, origin_ms: int
) -> None:
    segments = [
        SpeechSegment(7, i, origin_ms + 100 * i, origin_ms + 1000, 16_000, 0.0) for i in range(len(said))
    ]
    ids = np.array([number for own, _ in said for number in own], np.int32)
    bounds = [0, *np.cumsum([len(own) for own, _ in said]).tolist()]
    starts = origin_ms - 15 + 40 * np.arange(len(ids))
    times = Times(starts, starts + 37, frozenset(i for i, (_, placed) in enumerate(said) if not placed))
    confidence = bytes(i % 256 for i in range(len(ids)))
    batch = DecodedTokens(ids, bounds, confidence, times if timed else None)
    found = Characters(TOKENS, Spelling({}, 0, {})).hypotheses(segments, batch)
    for segment, (own, placed), one, a, b in zip(segments, said, found, bounds, bounds[1:], strict=False):
        columns = times.columns(a, b) if timed and placed else None
        alone = hypothesis(segment, [TOKENS[number] for number in own], columns, confidence[a:b])
        assert one == alone
        assert type(one.tokens.texts) is type(alone.tokens.texts)
        assert pickle.loads(pickle.dumps(one.tokens)) == alone.tokens
    assert len(found) == len(segments)


def test_a_token_that_is_not_in_the_vocabulary_is_an_error() -> None:
    batch = DecodedTokens(np.array([0, len(TOKENS)]), [0, 2], b"", None)
    with pytest.raises(IndexError):
        Characters(TOKENS, Spelling({}, 0, {})).hypotheses([SpeechSegment(1, 0, 0, 9, 160, 0.0)], batch)
