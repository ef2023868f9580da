"""Error rates of text: normalisation, alignment, confusions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.scoring import edits
from dropscribe.scoring.diarization import Turn
from dropscribe.scoring.edits import EditCounts
from dropscribe.scoring.normalisation import Normalisation
from dropscribe.scoring.references import Reference
from dropscribe.scoring.scores import Confusion, FileScore, Rules, score, total, worst_first

USUAL = Normalisation()


@pytest.mark.parametrize(
    ("text", "characters", "words"),
    [
        ("今天，Hello World。", "今天helloworld", ("今", "天", "hello", "world")),
        ("ＡＢＣ１２３", "abc123", ("abc123",)),
        ("don\u2019t 'stop'", "don'tstop", ("don't", "stop")),
        ("state-of-the-art", "stateoftheart", ("state", "of", "the", "art")),
        ("第3次\n明天", "第3次明天", ("第", "3", "次", "明", "天")),
        ("カﾞ", "ガ", ("ガ",)),
        (" ， 。", "", ()),
    ],
)
def test_differences_of_writing_do_not_count(text: str, characters: str, words: tuple[str, ...]) -> None:
    assert USUAL.characters(text) == characters
    assert USUAL.words(text) == words


def test_each_rule_can_be_left_out() -> None:
    text = "Ａ b，c"
    assert Normalisation(case=False).characters(text) == "Abc"
    assert Normalisation(width=False).characters(text) == "ａbc"
    assert Normalisation(punctuation=False).characters(text) == "ab,c"
    assert Normalisation(spaces=False).characters(text) == "a b c"


@pytest.mark.parametrize(
    ("spoken", "written"),
    [
        ("二零二四年", "2024年"),
        ("三点五", "3.5"),
        ("百分之二十", "20%"),
        ("百分之三点五", "3.5%"),
        ("一千两百三十四", "1,234"),
        ("两万五千", "25000"),
        ("一亿零三万", "100030000"),
        ("十五", "15"),
        ("三百二十", "320"),
        ("一三八零零", "13800"),
        ("3万", "30000"),
        ("一下子", "1下子"),
        ("百分之五十", "百分之50"),
    ],
)
def test_spoken_numbers_equal_written_ones_on_request(spoken: str, written: str) -> None:
    rules = Normalisation(numbers=True)
    assert rules.characters(spoken) == rules.characters(written)
    assert USUAL.characters(spoken) != USUAL.characters(written)


@given(st.text("零一二两三十百千万亿点.,%0123456789年 a", max_size=30))
def test_numbers_in_any_order_are_no_error(text: str) -> None:
    rules = Normalisation(numbers=True)
    assert rules.applied(rules.applied(text)) is not None


def reference_distance(one: str, two: str) -> int:
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, start=1):
        before, row[0] = row[0], i
        for j, b in enumerate(two, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_the_alignment_has_the_fewest_edits_and_covers_both(one: str, two: str) -> None:
    blocks = edits.align(one, two)
    counts = edits.count(blocks)
    assert counts.edits == reference_distance(one, two)
    assert counts.length == len(one)
    assert "".join(one[b.first : b.end] for b in blocks) == one
    assert "".join(two[b.other_first : b.other_end] for b in blocks) == two


def test_a_score_has_the_edits_of_characters_and_words_and_what_was_confused() -> None:
    found = score(Reference("明天 see you，再见"), "名天 see 再见了", None, Rules())
    assert found.characters == EditCounts(1, 3, 1, 10)
    assert found.words == EditCounts(1, 1, 1, 6)
    assert found.confusions == {Confusion("明", "名"): 1, Confusion("you", ""): 1, Confusion("", "了"): 1}
    assert found.speakers is None


def test_rates_of_sums_weigh_each_character_alike_and_an_empty_reference_has_none() -> None:
    rules = Rules()
    files = [
        FileScore("short.wav", "p", 1.0, score(Reference("一"), "二", None, rules), model="m"),
        FileScore("long.wav", "p", 9.0, score(Reference("一二三四五六七八九"), "一二三四五六七八九", None, rules), model="m"),
        FileScore("silent.wav", "p", 1.0, score(Reference(""), "", None, rules), model="m"),
        FileScore("broken.wav", "p", problem="no audio"),
    ]  # fmt: skip
    summed = total("p", files)
    assert summed.characters.rate == pytest.approx(0.1)
    assert (summed.files, summed.failed, summed.audio_s, summed.models) == (3, 1, 11.0, ("m",))
    assert score(Reference(""), "多", None, rules).characters == EditCounts(0, 0, 1, 0)
    assert EditCounts(0, 0, 1, 0).rate is None
    assert [f.name for f in worst_first(files)] == ["broken.wav", "short.wav", "long.wav", "silent.wav"]


def test_a_reference_without_text_is_not_scored_for_text() -> None:
    scored = score(Reference(turns=()), "x", (), Rules())
    assert (scored.characters, scored.words) == (None, None)
    assert scored.speakers == total("", ()).speakers


def test_speakers_that_were_not_asked_for_are_not_compared() -> None:
    reference = Reference(turns=(Turn(0, 1000, "A"),))
    assert score(reference, "x", None, Rules()).speakers is None
    missed = score(reference, "x", (), Rules()).speakers
    assert missed is not None
    assert missed.rate == 1.0
