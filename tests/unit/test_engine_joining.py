"""Joining of tokens to readable words; no sequence of tokens loses a character or a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.engine.core.interfaces import SpeechSegment
from dropscribe.engine.models import store
from dropscribe.engine.models.text import spacing
from dropscribe.engine.models.text.hypotheses import hypothesis
from dropscribe.engine.models.text.joining import join_by_rules, join_tokens, join_words
from dropscribe.transcript.layout.cues import Limits, cues
from dropscribe.transcript.types import Segment
from dropscribe.transcript.written.runs import Rules, runs_of
from tests.support.joining import MARKS, ODD, check, sequences

BUNDLED = store.BUNDLED / "paraformer-mini" / "tokens.json"


def vocabulary() -> list[str]:
    listed: list[str] = json.loads(BUNDLED.read_text(encoding="utf-8"))
    return [*listed, *ODD]


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        # sub-words and spelt letters, as FunASR
        ("hel@@ lo wor@@ ld", "hello world"),
        ("今 天 hel@@ lo", "今天 hello"),
        ("u s b 接 口", "USB 接口"),
        ("a b c hello x y 今 z", "ABC hello XY 今 z"),
        ("it's don't", "it's don't"),
        # subwords without continuation stay in place
        ("hel@@", "hel"),
        ("hel@@ 天 lo", "hel 天 lo"),
        ("天 hel@@ </s>", "天 hel"),
        ("<s> hel@@ <unk> lo", "hello"),
        ("天 2@@", "天2"),
        ("-@@ 天", "-天"),
        ("@@ lo", "lo"),
        # numbers
        ("2@@ 0@@ 2@@ 4 年", "2024年"),
        ("2 0 2 4 年", "2024年"),
        ("第 1@@ 2 页", "第12页"),
        ("3 . 5 元", "3.5元"),
        ("1 , 0 0 0", "1,000"),
        ("1 0 : 3 0", "10:30"),
        ("5 0 %", "50%"),
        ("1 9 2 . 1 6 8 . 1 . 1", "192.168.1.1"),
        ("windows 1 0", "windows 10"),
        ("room 5 is", "room 5 is"),
        ("i have a 5 year plan", "i have a 5 year plan"),
        ("1@@ 9@@ 9@@ 0 's", "1990's"),
        # letters and numbers
        ("5 g 网 络", "5g网络"),
        ("用 5@@ g 网 络", "用5g网络"),
        ("m p 3 播 放", "MP3播放"),
        ("v 2 . 0", "v2.0"),
        ("用 a 4 纸", "用a4纸"),
        ("h 2 o", "h2o"),
        # symbols within words
        ("a t & t", "AT&T"),
        ("at & t 公 司", "AT&T 公司"),
        ("r & b", "R&B"),
        ("johnson & johnson", "johnson & johnson"),
        ("u . s . a", "U.S.A"),
        ("a . b . c d", "A.B.CD"),
        ("e . g . 今", "e.g. 今"),
        ("www . example . com", "www.example.com"),
        ("j@@ ack @ g@@ mail . com", "jack@gmail.com"),
        ("covid - 1 9", "covid-19"),
        ("do n't", "don't"),
        ("it 's they 're", "it's they're"),
        ("o ' clock", "o'clock"),
        ("n b a 's", "NBA's"),
        # symbols alone, and between CJK characters
        ("张 & 李", "张&李"),
        (". & .", ". & ."),
        ("今 。 天 ，", "今。天，"),
        ("《 今 天 》", "《今天》"),
        # other scripts
        ("カ メ@@ ラ", "カメラ"),
        ("안녕 하@@ 세요", "안녕 하세요"),
        ("Ａ ５", "Ａ５"),
        ("𫖯 天 〇 々", "𫖯天〇々"),
        ("при@@ вет 天", "привет 天"),
        ("e \u0301", "e\u0301"),
    ],
)
def test_tokens_become_readable_text(tokens: str, text: str) -> None:
    words, _ = join_words(tokens.split(), None)
    assert spacing.join(words) == text
    check(tokens.split())


def test_a_word_lasts_from_its_first_token_to_its_last() -> None:
    spans = [(0, 10), (15, 20), (20, 30), (40, 55), (60, 70)]
    assert join_words(["a", "t", "&", "t", "天"], spans) == (["AT&T", "天"], [(0, 55), (60, 70)])
    assert join_words(["2@@", "4", "年", "hel@@", "天"], spans) == (
        ["24", "年", "hel", "天"],
        [(0, 20), (20, 30), (40, 55), (60, 70)],
    )
    assert join_words(["<unk>", "a@@", "<unk>", "b", "</s>"], spans) == (["ab"], [(15, 55)])


@pytest.mark.parametrize("mark", sorted(MARKS))
def test_special_tokens_are_removed_with_their_times(mark: str) -> None:
    assert join_words(["今", mark, "天"], [(0, 10), (10, 20), (20, 30)]) == (
        ["今", "天"],
        [(0, 10), (20, 30)],
    )
    assert join_words([mark], [(0, 10)]) == ([], [])


def test_random_sequences_lose_nothing() -> None:
    for tokens in sequences(vocabulary(), 5_000, seed=11):
        check(tokens)


#: What sequences are divided by, and what joins across such places.
NEIGHBOURS = [
    "天", "カ", "a", "b", "i", "hello", "at", "hel@@", "a@@", "n@@", "lo", "'t", "n't", "'s", "&", ".", "@", "5", "2@@", "，",
    "《", "今@@", "今天", "AI今", "é", "при@@", "<unk>", "-@@", "@@", "",
]  # fmt: skip


@given(st.lists(st.sampled_from(NEIGHBOURS), max_size=12))
def test_joined_in_portions_a_sequence_is_what_the_rules_make_of_it(tokens: list[str]) -> None:
    assert join_tokens(tokens) == join_by_rules(tokens)


def test_random_sequences_joined_in_portions_are_what_the_rules_make_of_them() -> None:
    for tokens in sequences(vocabulary(), 3_000, seed=13):
        assert join_tokens(tokens) == join_by_rules(tokens)


@given(st.lists(st.one_of(st.sampled_from(ODD), st.text(max_size=4)), max_size=20))
def test_arbitrary_tokens_lose_nothing(tokens: list[str]) -> None:
    tokens = [t for t in tokens if not (t.startswith("<") and t.endswith(">")) or t in MARKS]
    check([t for t in tokens if "@" not in t or t in ODD])


def test_a_hypothesis_has_text_and_spans_of_its_words_and_subtitles_do_not_split_them() -> None:
    segment = SpeechSegment(1, 0, start_ms=1_000, end_ms=2_000, samples=16_000, found_at=0.0)
    for tokens in (
        ["用", "5", "g", "网", "络"],
        ["a", "t", "&", "t"],
        ["3", ".", "5", "元"],
        ["hel@@", "天"],
    ):
        columns = (
            [1_000 + 100 * i for i in range(len(tokens))],
            [1_090 + 100 * i for i in range(len(tokens))],
        )
        timed, spread = hypothesis(segment, tokens, columns), hypothesis(segment, tokens, None)
        assert timed.text == spread.text == spacing.join(timed.tokens.texts)
        assert timed.tokens.texts == spread.tokens.texts
        assert timed.tokens[0].start_ms == 1_000
        assert timed.tokens[-1].end_ms == columns[1][-1]
        said = Segment(0, 1_000, 2_000, timed.text, timed.tokens)
        shown = cues(runs_of([said], Rules()), Limits(max_chars=2), {})
        assert "".join(c.text for c in shown).replace(" ", "") == timed.text.replace(" ", "")
        assert all(any(word in c.text for c in shown) for word in timed.tokens.texts)


@pytest.mark.shared
@pytest.mark.parametrize("listing", ["paraformer-zh/tokens.json", "paraformer-large-v1/tokens.txt"])
def test_the_official_vocabulary_loses_nothing(shared: Path, listing: str) -> None:
    path = shared / "models/official" / listing
    text = path.read_text(encoding="utf-8")
    tokens: list[str] = json.loads(text) if path.suffix == ".json" else text.split()
    for said in sequences(tokens, 3_000, seed=12):
        check(said)


def test_a_word_has_the_confidence_of_its_least_certain_part() -> None:
    heard = hypothesis(
        SpeechSegment(0, 0, 0, 1000, 16_000, 0.0),
        ["hel@@", "lo", "你", "u", "s", "b"],
        None,
        bytes([9, 7, 200, 5, 4, 6]),
    )
    assert [*heard.tokens.texts] == ["hello", "你", "USB"]
    assert heard.tokens.confidence == bytes([7, 200, 4])
    unknown = hypothesis(SpeechSegment(0, 0, 0, 1000, 16_000, 0.0), ["hel@@", "lo", "你"], None)
    assert unknown.tokens.confidence == b""
