"""Tokens become the words that FunASR would read, and every mark finds its token again."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from dropscribe.engine.models import funasr_parts
from dropscribe.engine.models.punctuation.words import (
    CharacterSplitter,
    DictionarySplitter,
    Splitter,
    marks_of_tokens,
)
from dropscribe.engine.models.text import spacing

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


class Vocabulary(dict[str, int]):
    """Numbers words as they come."""

    def get(self, word: str, default: object = None) -> int:
        return self.setdefault(word, len(self))


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


def split(splitter: Splitter, segments: Sequence[Sequence[str]], vocabulary: Vocabulary) -> list[str]:
    for texts in segments:
        splitter.add(texts)
    splitter.close()
    words = list(vocabulary)
    return [words[number] for number in splitter.ids]


def funasr_words(segments: Sequence[Sequence[str]], jieba: Jieba | None = None) -> list[str]:
    utils = funasr_parts._part("models.ct_transformer.utils")
    words: list[str] = utils.split_words(" ".join(spacing.join(s) for s in segments), jieba_usr_dict=jieba)
    return words


def check(splitter: Splitter, words: Sequence[str], segments: Sequence[Sequence[str]]) -> None:
    tokens = [token for texts in segments for token in texts]
    assert splitter.last == (words[-1] if words else "")
    assert len(splitter.ends) == len(words)
    assert splitter.ends == sorted(splitter.ends)
    # Every word ends in its token: the letters up to there are those of the words.
    for i, end in enumerate(splitter.ends):
        before, through = ("".join("".join(tokens[:n]).split()) for n in (end, end + 1))
        assert len(before) < sum(map(len, words[: i + 1])) <= len(through)
    marks = bytes(i % 5 for i in range(len(words)))
    made = marks_of_tokens(splitter.ends, marks, len(tokens))
    assert len(made) == len(tokens)
    for token, mark in enumerate(made):
        here = [m for m, end in zip(marks, splitter.ends, strict=True) if end == token and m]
        assert mark == (here[-1] if here else 0)


@given(SEGMENTS)
def test_characters(segments: list[list[str]]) -> None:
    vocabulary = Vocabulary()
    splitter = CharacterSplitter(vocabulary, 0)
    words = split(splitter, segments, vocabulary)
    assert words == funasr_words(segments)
    check(splitter, words, segments)


@given(SEGMENTS)
def test_words_of_a_dictionary_go_across_segments(segments: list[list[str]]) -> None:
    vocabulary = Vocabulary()
    splitter = DictionarySplitter(vocabulary, 0, Runs())
    words = split(splitter, segments, vocabulary)
    assert words == funasr_words(segments, Jieba())
    check(splitter, words, segments)


def test_a_text_that_never_parts_is_cut_nevertheless() -> None:
    vocabulary = Vocabulary()
    splitter = DictionarySplitter(vocabulary, 0, Runs())
    words = split(splitter, [["好"] * 3000] * 3, vocabulary)
    assert sum(map(len, words)) == 9000
    assert len(splitter._run) == 0


@given(st.lists(st.sampled_from([" ", " a", "b ", "a b", "\t", "好"]), max_size=8))
def test_tokens_with_spaces_in_them_have_a_mark_each(texts: list[str]) -> None:
    splitter = CharacterSplitter({}, 0)
    splitter.add(texts)
    assert len(marks_of_tokens(splitter.ends, bytes(len(splitter.ends)), len(texts))) == len(texts)
