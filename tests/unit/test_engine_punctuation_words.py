"""Tokens become the words that FunASR would read, and every mark finds its token again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.engine.models import funasr_parts
from dropscribe.engine.models.punctuation.words import (
    CharacterSplitter,
    DictionarySplitter,
    Numbers,
    Splitter,
    Vocabulary,
    Words,
    marks_of_tokens,
)
from dropscribe.engine.models.text import spacing
from dropscribe.transcript.types import Tokens

TOKENS = st.sampled_from(
    [
        "你",
        "好",
        "好好",
        "们",
        "hello",
        "don't",
        "AT&T",
        "2024",
        "7",
        "5g",
        "café",
        "é",
        "。",
        "%",
        "",
        "ア",
        "𠀀",
    ]
)
SEGMENTS = st.lists(st.lists(TOKENS, max_size=12), max_size=6)


class Numbering(Vocabulary):
    """Numbers words as they come."""

    def __init__(self) -> None:
        super().__init__({}, 0)
        self.known: dict[str, int] = {}

    def of_characters(self, text: str) -> Numbers:
        return self.of_words(text)

    def of_words(self, words: Sequence[str]) -> Numbers:
        return np.array([self.known.setdefault(word, len(self.known)) for word in words], np.int32)


class Runs:
    """A dictionary whose words are runs of one character."""

    def cut(self, text: str) -> list[str]:
        words: list[str] = []
        for character in text:
            if words and words[-1][0] == character:
                words[-1] += character
            else:
                words.append(character)
        return words

    def settled(self, text: str) -> int:
        return next((i for i in range(len(text) - 1, 0, -1) if text[i] != text[i - 1]), 0)


class Jieba(Runs):
    """The same, with the options that FunASR passes."""

    def cut(self, text: str, **_: object) -> list[str]:
        return super().cut(text)


def split(splitter: Splitter, segments: Sequence[Sequence[str]], together: int = 1) -> Words:
    """The words of a text that arrives in `together` segments at a time, beside another text."""
    words, other = Words(), Words()
    for first in range(0, len(segments), together):
        arrived = [tokens_of(texts) for texts in segments[first : first + together]]
        splitter.add([(other, ["好"]), (words, arrived)] if first % 2 else [(words, arrived)])
        splitter.add([(other, ["好", "好"])])
    splitter.close([words])
    return words


def tokens_of(texts: Sequence[str]) -> Sequence[str]:
    """As `Tokens` holds them: one string if each token is one character."""
    return Tokens(texts, range(len(texts)), range(len(texts))).texts


def spelt(words: Words, vocabulary: Numbering) -> list[str]:
    known = list(vocabulary.known)
    return [known[number] for number in words.ids.values.tolist()]


def funasr_words(segments: Sequence[Sequence[str]], jieba: Jieba | None = None) -> list[str]:
    utils = funasr_parts._part("models.ct_transformer.utils")
    words: list[str] = utils.split_words(" ".join(spacing.join(s) for s in segments), jieba_usr_dict=jieba)
    return words


def check(found: Words, words: Sequence[str], segments: Sequence[Sequence[str]]) -> None:
    tokens = [token for texts in segments for token in texts]
    assert found.last == (words[-1] if words else "")
    assert found.tokens == len(tokens)
    ends = found.ends.values.tolist()
    assert len(ends) == len(words)
    assert ends == sorted(ends)
    # Every word ends in its token: the letters up to there are those of the words.
    for i, end in enumerate(ends):
        before, through = ("".join("".join(tokens[:n]).split()) for n in (end, end + 1))
        assert len(before) < sum(map(len, words[: i + 1])) <= len(through)
    marks = bytes(i % 5 for i in range(len(words)))
    made = marks_of_tokens(found.ends.values, marks, len(tokens))
    assert len(made) == len(tokens)
    for token, mark in enumerate(made):
        here = [m for m, end in zip(marks, ends, strict=True) if end == token and m]
        assert mark == (here[-1] if here else 0)


@given(SEGMENTS, st.integers(1, 3))
def test_characters(segments: list[list[str]], together: int) -> None:
    vocabulary = Numbering()
    found = split(CharacterSplitter(vocabulary), segments, together)
    words = spelt(found, vocabulary)
    assert words == funasr_words(segments)
    check(found, words, segments)


@given(SEGMENTS, st.integers(1, 3))
def test_words_of_a_dictionary_go_across_segments(segments: list[list[str]], together: int) -> None:
    vocabulary = Numbering()
    found = split(DictionarySplitter(vocabulary, Runs()), segments, together)
    words = spelt(found, vocabulary)
    assert words == funasr_words(segments, Jieba())
    check(found, words, segments)


def test_a_text_that_never_parts_is_cut_nevertheless() -> None:
    vocabulary = Numbering()
    found = split(DictionarySplitter(vocabulary, Runs()), [["好"] * 3000] * 3)
    assert sum(map(len, spelt(found, vocabulary))) == 9000
    assert found.run == ""


@given(st.lists(st.text("好a7é𠀀", max_size=2)))
def test_numbers_are_those_of_the_vocabulary(words: list[str]) -> None:
    known = {"好": 3, "a": 1, "a7": 2, "好好": 4}
    vocabulary = Vocabulary(known, 9)
    assert vocabulary.of_words(words).tolist() == [known.get(word, 9) for word in words]
    text = "".join(words)
    assert vocabulary.of_characters(text).tolist() == [known.get(character, 9) for character in text]


@given(st.lists(st.sampled_from([" ", " a", "b ", "a b", "\t", "好"]), max_size=8))
def test_tokens_with_spaces_in_them_have_a_mark_each(texts: list[str]) -> None:
    found = Words()
    CharacterSplitter(Vocabulary({}, 0)).add([(found, [texts])])
    assert len(marks_of_tokens(found.ends.values, bytes(found.ends.count), len(texts))) == len(texts)
