"""Tokens are stored in columns and behave like a tuple of tokens."""

from __future__ import annotations

import json
import pickle
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dropscribe import escapes
from dropscribe.transcript.packed_segments import PackedSegments, characters_of
from dropscribe.transcript.reading import read_transcript
from dropscribe.transcript.remarks import remarks
from dropscribe.transcript.render import Options, render
from dropscribe.transcript.types import NO_TOKENS, Segment, Token, Tokens
from tests.support.transcripts import transcript

PLAIN = (Token("你", 0, 180), Token("好", 180, 400))
WORDS = (Token("hello", 0, 400), Token("", 400, 400), Token("好", 400, 390))

_texts = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=3), st.sampled_from('你好ab"\\\n\x00\ud800')
)
_many = st.lists(st.builds(Token, _texts, st.integers(-10, 10**9), st.integers(-10, 10**9)), max_size=8)


@pytest.mark.parametrize("given_tokens", [(), PLAIN, WORDS])
def test_tokens_equal_a_tuple_of_them(given_tokens: tuple[Token, ...]) -> None:
    made = Tokens.of(given_tokens)
    assert made == given_tokens
    assert given_tokens == made
    assert made == list(given_tokens)
    assert hash(made) == hash(given_tokens)
    assert len(made) == len(given_tokens)
    assert bool(made) == bool(given_tokens)
    assert tuple(made) == given_tokens
    assert all(isinstance(t, Token) for t in made)


def test_index_gives_a_token_and_slice_gives_tokens() -> None:
    made = Tokens.of(WORDS)
    assert (made[0], made[-1]) == (WORDS[0], WORDS[-1])
    assert isinstance(made[0], Token)
    assert made[1:] == WORDS[1:]
    assert isinstance(made[1:], Tokens)
    assert made[3:] == NO_TOKENS
    assert list(reversed(made)) == list(reversed(WORDS))
    with pytest.raises(IndexError):
        made[3]


def test_different_tokens_are_not_equal() -> None:
    made = Tokens.of(PLAIN)
    assert made != PLAIN[:1]
    assert made != (PLAIN[0], Token("好", 180, 401))
    assert made != Tokens(("你好", ""), (0, 180), (180, 400))
    assert Tokens() != ""


def test_single_characters_are_stored_as_one_string() -> None:
    for texts in ("你好", ["你", "好"], ("你", "好")):
        assert Tokens(texts, [0, 180], [180, 400]).texts == "你好"
    assert Tokens(["你好", ""], [0, 180], [180, 400]).texts == ("你好", "")


def test_columns_must_have_equal_length() -> None:
    with pytest.raises(ValueError, match="2 tokens start 1 times"):
        Tokens("你好", (0,), (180, 400))


def test_tokens_are_immutable() -> None:
    starts = [0, 180]
    made = Tokens("你好", starts, (180, 400))
    starts[0] = 7
    assert made[0].start_ms == 0
    with pytest.raises((FrozenInstanceError, TypeError)):
        made.texts = "再见"  # type: ignore[misc]


@given(_many)
def test_tokens_survive_pickling(tokens: list[Token]) -> None:
    made = Tokens.of(tokens)
    arrived = pickle.loads(pickle.dumps(made))
    assert len(arrived) == len(tokens)
    assert pickle.loads(pickle.dumps(arrived)) == made, "passed on by a process that has not looked at it"
    assert arrived == made
    assert arrived == tuple(tokens)


@given(_texts, _many)
def test_json_of_tokens_equals_that_of_the_json_module(text: str, tokens: list[Token]) -> None:
    # A segment whose text lacks its tokens is written from these.
    assume(text.strip() or not tokens)
    data = render(transcript(Segment(0, 0, 1000, text, Tokens.of(tokens))), "json", Options())
    said = {"index": 0, "start_ms": 0, "end_ms": 1000, "text": text, "tokens": [t._asdict() for t in tokens]}
    line = escapes.dumps(said).encode()
    assert json.loads(line) == said
    assert data.endswith(b'"segments": [\n    ' + line + b"\n  ]\n}\n")


_SURE = st.lists(
    st.tuples(st.sampled_from(["好", "hello", '"']), st.integers(0, 255)), min_size=1, max_size=9
)


def sure_tokens(words: list[tuple[str, int]]) -> Tokens:
    return Tokens.of([(text, i, i + 1, sure) for i, (text, sure) in enumerate(words)])


@given(_SURE)
def test_confidence_survives_slicing_pickling_and_json(words: list[tuple[str, int]]) -> None:
    made = sure_tokens(words)
    assert made.confidence == bytes(sure for _, sure in words)
    assert made[1:].confidence == made.confidence[1:]
    assert pickle.loads(pickle.dumps(made)) == made
    written = transcript(Segment(0, 0, 1000, "x", made))
    data = render(written, "json", Options())
    read = read_transcript(data).transcript
    assert read.segments[0].tokens == made
    assert render(read, "json", Options()) == data


def test_tokens_differ_by_their_confidence() -> None:
    assert sure_tokens([("好", 9)]) != sure_tokens([("好", 8)])
    assert sure_tokens([("好", 9)]) != Tokens("好", (0,), (1,))
    with pytest.raises(ValueError, match="2 tokens have 1 confidences"):
        Tokens("你好", (0, 1), (1, 2), b"x")


def test_json_has_the_probability_of_tokens_and_their_mean() -> None:
    made = transcript(Segment(0, 0, 1000, "你好", sure_tokens([("你", 255), ("好", 51)])))
    (segment,) = json.loads(render(made, "json", Options()))["segments"]
    assert [t["confidence"] for t in segment["tokens"]] == [1.0, 0.2]
    assert segment["confidence"] == 0.6
    plain = transcript(Segment(0, 0, 1000, "你好"))
    assert "confidence" not in json.loads(render(plain, "json", Options()))["segments"][0]


@pytest.mark.parametrize(("sure", "count", "doubtful"), [(127, 40, True), (128, 40, False), (20, 19, False)])
def test_a_recording_of_which_the_model_was_not_sure_has_a_remark(
    sure: int, count: int, doubtful: bool
) -> None:
    halves = [sure_tokens([("好", sure)] * n) for n in (count // 2, count - count // 2)]
    made = transcript(*(Segment(i, i, i + 1, "好", half) for i, half in enumerate(halves)))
    assert ("doubtful" in {r.kind for r in remarks(made)}) == doubtful


@pytest.mark.parametrize("starts", [(0, 180), (-10, 2**31 - 1), (0, 2**40)], ids=["usual", "bounds", "wide"])
def test_tokens_that_pass_through_processes_are_the_same(starts: tuple[int, int]) -> None:
    made = Tokens("你好", starts, (180, 2**41), bytes([255, 9]))
    passed_on = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(made))))
    assert len(passed_on) == 2
    assert passed_on == made
    assert (passed_on.starts_ms, passed_on.ends_ms) == (starts, (180, 2**41))
    assert passed_on[1:] == made[1:]


def test_packed_segments_are_the_same_segments() -> None:
    segments = (
        Segment(0, 0, 900, "你好", Tokens("你好", (0, 400), (400, 900))),
        Segment(1, 900, 1500, "hi"),
    )
    packed = pickle.loads(pickle.dumps(PackedSegments.of(segments)))
    assert (packed, len(packed), packed.characters, packed[1]) == (segments, 2, 4, segments[1])
    assert PackedSegments.of(packed) is packed
    assert characters_of(packed) == characters_of(segments)


def test_packed_segments_are_passed_on_without_making_them() -> None:
    packed = PackedSegments(b"whatever another process made", 3, 9)
    passed_on = pickle.loads(pickle.dumps(packed))
    assert (len(passed_on), characters_of(passed_on)) == (3, 9)
    with pytest.raises(pickle.UnpicklingError):
        passed_on[0]
