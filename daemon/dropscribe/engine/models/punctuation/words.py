"""From the tokens of a transcript to the words that the punctuation network reads, and from its marks back to tokens.

The words of a text are those of FunASR's `split_words`, with all segments of a stream in one text. Every word knows the
token in which it ends, which gets its mark. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dropscribe.engine.models.text import spacing

Numbers = NDArray[np.int32]
NO_NUMBERS: Numbers = np.zeros(0, np.int32)
#: Numbers for which a column has room at first.
_ROOM = 128
#: Words of spaced scripts, which are words of the network as they are.
_ENGLISH = re.compile(r"[a-zA-Z']+")
#: Type of the texts of tokens of one character, see `Tokens`.
_ONE_STRING = frozenset({str})
#: Lines that are each a CJK character or characters of ASCII: `spacing.join` writes nothing but spaces between them, …
_WORDS = re.compile(rf"(?:{spacing.CJK}\n|[!-~]+\n)*")
#: … except between two numbers, where it writes nothing.
_NUMBERS = re.compile(r"^[0-9]+\n[0-9]+\n", re.MULTILINE)
#: Longest text that is cut at once, characters: without any place at which words are certain to part.
_LONGEST_RUN = 4096


class Column:
    """Numbers that are appended to; at least twice as much room is made whenever it is full."""

    def __init__(self) -> None:
        self._values = np.empty(_ROOM, np.int32)
        self.count = 0

    @property
    def values(self) -> Numbers:
        """All of them; valid until the next call of `extend`."""
        return self._values[: self.count]

    def parts(self, places: Iterable[tuple[int, int]]) -> list[Numbers]:
        """Those from the first to the second number of each place, exclusive; valid until the next call of `extend`."""
        values = self._values
        return [values[start:end] for start, end in places]

    def extend(self, more: Numbers) -> None:
        """Append numbers."""
        count = self.count + len(more)
        if count > len(self._values):
            self._values = np.concatenate((self.values, np.empty(count, np.int32)))
        self._values[self.count : count] = more
        self.count = count


class Vocabulary:
    """Numbers of words. Immutable."""

    def __init__(self, numbers: Mapping[str, int], unknown: int) -> None:
        """`unknown`: number of the words that are not in `numbers`."""
        self._get = numbers.get
        self._unknown = unknown
        characters = [(ord(word), number) for word, number in numbers.items() if len(word) == 1]
        #: By code point; the last one is that of all higher ones.
        self._of_characters = np.full(max((c for c, _ in characters), default=0) + 2, unknown, np.int32)
        for code_point, number in characters:
            self._of_characters[code_point] = number

    def of_characters(self, text: str) -> Numbers:
        """Numbers of the characters of a text, each of which is a word."""
        code_points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        return self._of_characters.take(code_points, mode="clip")

    def of_words(self, words: Sequence[str]) -> Numbers:
        """Numbers of words."""
        return np.fromiter(map(self._get, words, repeat(self._unknown)), np.int32, len(words))


class Words:
    """Words of one text, whose tokens arrive segment by segment. Filled by a splitter."""

    def __init__(self) -> None:
        self.ids = Column()  #: the words' numbers in the vocabulary
        self.ends = Column()  #: number of the token in which each word ends, never decreasing
        self.last = ""  #: the last word
        self.tokens = 0
        #: Text whose words are not known yet, as they depend on what follows; token of each of its characters.
        self.run = ""
        self.owners: Numbers = NO_NUMBERS


class Splitter(Protocol):
    """Divides texts into words. Owned by the thread of its stage."""

    def add(self, parts: Sequence[tuple[Words, Sequence[Sequence[str]]]]) -> None:
        """Add tokens to texts: those of each one's next segments, in order.

        Some of the last words of a text may be added by a later call only.
        """

    def close(self, texts: Sequence[Words]) -> None:
        """Add the words that are left; nothing may be added to these texts any more."""


class Cutter(Protocol):
    """A dictionary of words; see `dropscribe.engine.models.punctuation.dictionary.Dictionary`."""

    def cut(self, text: str) -> list[str]:
        """Words of a text: all its characters, in order."""

    def settled(self, text: str) -> int:
        """Length of the part of `text` whose words do not depend on what follows."""


class CharacterSplitter:
    """Each character is a word, except that consecutive ASCII characters are one."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def add(self, parts: Sequence[tuple[Words, Sequence[Sequence[str]]]]) -> None:
        """See `Splitter`."""
        plain: list[tuple[Words, str]] = []
        for words, segments in parts:
            text = "".join(segments) if _ONE_STRING.issuperset(map(type, segments)) else None  # type: ignore[arg-type]
            if text is not None and spacing.all_cjk(text):
                plain.append((words, text))
            else:
                self._add_mixed(words, segments)
        # By far the most common case: one look-up for all texts.
        ids = self._vocabulary.of_characters("".join([text for _, text in plain]))
        at = 0
        for words, text in plain:
            self._extend(words, ids[at : at + len(text)], text)
            at += len(text)

    def close(self, texts: Sequence[Words]) -> None:
        """See `Splitter`."""

    def _add_mixed(self, words: Words, segments: Sequence[Sequence[str]]) -> None:
        tokens = [*chain.from_iterable(segments)]
        if _are_words(tokens):
            self._extend(words, self._vocabulary.of_words(tokens), tokens)
            return
        found: list[str] = []
        ends: list[int] = []
        for texts in segments:
            if _are_words(texts):
                found += texts
                ends += range(words.tokens, words.tokens + len(texts))
            else:
                for word, owner in _characters(texts):
                    found.append(word)
                    ends.append(words.tokens + owner)
            words.tokens += len(texts)
        if found:
            words.ids.extend(self._vocabulary.of_words(found))
            words.ends.extend(np.array(ends, np.int32))
            words.last = found[-1]

    @staticmethod
    def _extend(words: Words, ids: Numbers, tokens: Sequence[str]) -> None:
        """Add tokens that are words, with their numbers."""
        if not tokens:
            return
        words.ids.extend(ids)
        words.ends.extend(np.arange(words.tokens, words.tokens + len(tokens), dtype=np.int32))
        words.tokens += len(tokens)
        words.last = tokens[-1]


def _are_words(tokens: Sequence[str]) -> bool:
    """True if each token is known to be a word of `CharacterSplitter`; some others are words, too."""
    lines = "\n".join([*tokens, ""])
    return (
        lines.count("\n") == len(tokens)
        and _WORDS.fullmatch(lines) is not None
        and _NUMBERS.search(lines) is None
    )


def _characters(texts: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Words of `CharacterSplitter` in a segment, each with the token in which it ends."""
    for part, owners in written_parts(texts):
        begin = 0
        for i in range(len(part)):
            if part[i].isascii() and i + 1 < len(part) and part[i + 1].isascii():
                continue
            yield part[begin : i + 1], owners[i]
            begin = i + 1


class DictionarySplitter:
    """Words of a dictionary, in Chinese text that may go on over several segments; English words as they are."""

    def __init__(self, vocabulary: Vocabulary, cutter: Cutter) -> None:
        self._vocabulary = vocabulary
        self._cutter = cutter
        #: Words cut and not yet numbered, of one text after another: text, number of words, token of each character.
        self._found: list[str] = []
        self._cuts: list[tuple[Words, int, Numbers]] = []

    def add(self, parts: Sequence[tuple[Words, Sequence[Sequence[str]]]]) -> None:
        """See `Splitter`."""
        for words, segments in parts:
            for texts in segments:
                self._append(words, texts)
            if settled := self._cutter.settled(words.run):
                self._cut(words, settled)
            elif len(words.run) > _LONGEST_RUN:
                self._cut(words, len(words.run))
        self._number()

    def close(self, texts: Sequence[Words]) -> None:
        """See `Splitter`."""
        for words in texts:
            self._cut(words, len(words.run))
        self._number()

    def _append(self, words: Words, texts: Sequence[str]) -> None:
        first = words.tokens
        words.tokens += len(texts)
        if (text := spacing.unspaced(texts)) is not None:
            words.run += text
            words.owners = np.concatenate((words.owners, np.arange(first, words.tokens, dtype=np.int32)))
            return
        for part, owners in written_parts(texts):
            if _ENGLISH.fullmatch(part):
                self._cut(words, len(words.run))
                self._note(words, [part], np.array(owners, np.int32) + first)
            else:
                words.run += part
                words.owners = np.concatenate((words.owners, np.array(owners, np.int32) + first))

    def _cut(self, words: Words, length: int) -> None:
        """Take the words of the first characters of a run."""
        if not length:
            return
        self._note(words, self._cutter.cut(words.run[:length]), words.owners[:length])
        words.run, words.owners = words.run[length:], words.owners[length:]

    def _note(self, words: Words, found: list[str], owners: Numbers) -> None:
        words.last = found[-1]
        self._found += found
        self._cuts.append((words, len(found), owners))

    def _number(self) -> None:
        """Add all words that were cut to their texts, with one look-up."""
        if not self._cuts:
            return
        ids = self._vocabulary.of_words(self._found)
        ends_here = np.cumsum(np.fromiter(map(len, self._found), np.int32, len(self._found)))
        ends = np.concatenate([owners for _, _, owners in self._cuts])[ends_here - 1]
        at = 0
        for words, count, _ in self._cuts:
            words.ids.extend(ids[at : at + count])
            words.ends.extend(ends[at : at + count])
            at += count
        self._found, self._cuts = [], []


def written_parts(texts: Sequence[str]) -> Iterator[tuple[str, list[int]]]:
    """Parts between the spaces of the text of a segment, each with the token of every character."""
    text = spacing.join(texts)
    owners: list[int] = []
    for number, token in enumerate(texts):
        # Between two tokens `join` writes nothing but a space.
        if token and not text.startswith(token, len(owners)):
            owners.append(number)
        owners += [number] * len(token)
    # A token may itself begin with a space.
    owners += [len(texts) - 1] * (len(text) - len(owners))
    for part in re.finditer(r"\S+", text):
        yield part.group(), owners[part.start() : part.end()]


def marks_of_tokens(ends: Numbers, marks: bytes, tokens: int) -> bytes:
    """The mark after each of `tokens` tokens, from those of the words that end in them.

    A token in which several words end gets the mark of the last one that has one.
    """
    made = np.zeros(tokens, np.uint8)
    of_words = np.frombuffer(marks, np.uint8)
    marked = of_words.nonzero()[0]
    made[ends[marked]] = of_words[marked]
    return made.tobytes()
