"""From the tokens of a transcript to the words that the punctuation network reads, and from its marks back to tokens.

The words of a text are those of FunASR's `split_words`, with all segments of a stream in one text. Every word knows the
token in which it ends, which gets its mark. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from dropscribe.engine.models.text import spacing

#: Words of spaced scripts, which are words of the network as they are.
_ENGLISH = re.compile(r"[a-zA-Z']+")
#: Longest text that is cut at once, characters: without any place at which words are certain to part.
_LONGEST_RUN = 4096


class Splitter(Protocol):
    """Words of one text, whose tokens arrive segment by segment."""

    ids: list[int]  #: the words' numbers in the vocabulary
    ends: list[int]  #: number of the token in which each word ends, never decreasing
    last: str  #: the last word

    def add(self, texts: Sequence[str]) -> None:
        """Add the tokens of the next segment. Some of its last words may be added by a later call only."""

    def close(self) -> None:
        """Add the words that are left; no call of `add` may follow."""


class Cutter(Protocol):
    """A dictionary of words; see `dropscribe.engine.models.punctuation.dictionary.Dictionary`."""

    def cut(self, text: str) -> list[str]:
        """Words of a text: all its characters, in order."""

    def settled(self, text: str) -> int:
        """Length of the part of `text` whose words do not depend on what follows."""


class CharacterSplitter:
    """Each character is a word, except that consecutive ASCII characters are one."""

    def __init__(self, vocabulary: Mapping[str, int], unknown: int) -> None:
        self.ids: list[int] = []
        self.ends: list[int] = []
        self.last = ""
        self._vocabulary, self._unknown = vocabulary, unknown
        self._tokens = 0

    def add(self, texts: Sequence[str]) -> None:
        """See `Splitter`."""
        get, unknown = self._vocabulary.get, self._unknown
        first = self._tokens
        self._tokens += len(texts)
        if (text := spacing.unspaced(texts)) is not None:
            # By far the most common case.
            self.ids += [get(character, unknown) for character in text]
            self.ends += range(first, self._tokens)
            self.last = text[-1:] or self.last
            return
        for part, owners in written_parts(texts):
            begin = 0
            for i in range(len(part)):
                if part[i].isascii() and i + 1 < len(part) and part[i + 1].isascii():
                    continue
                self.last = part[begin : i + 1]
                self.ids.append(get(self.last, unknown))
                self.ends.append(first + owners[i])
                begin = i + 1

    def close(self) -> None:
        """See `Splitter`."""


class DictionarySplitter:
    """Words of a dictionary, in Chinese text that may go on over several segments; English words as they are."""

    def __init__(self, vocabulary: Mapping[str, int], unknown: int, cutter: Cutter) -> None:
        self.ids: list[int] = []
        self.ends: list[int] = []
        self.last = ""
        self._vocabulary, self._unknown = vocabulary, unknown
        self._cutter = cutter
        self._tokens = 0
        self._run = ""  #: text since the last English word that has not been cut
        self._owners: list[int] = []  #: token of each of its characters

    def add(self, texts: Sequence[str]) -> None:
        """See `Splitter`."""
        first = self._tokens
        self._tokens += len(texts)
        if (text := spacing.unspaced(texts)) is not None:
            self._run += text
            self._owners += range(first, self._tokens)
        else:
            for part, owners in written_parts(texts):
                if _ENGLISH.fullmatch(part):
                    self.close()
                    self._take(part, first + owners[-1])
                else:
                    self._run += part
                    self._owners += [first + owner for owner in owners]
        if settled := self._cutter.settled(self._run):
            self._cut(settled)
        elif len(self._run) > _LONGEST_RUN:
            self._cut(len(self._run))

    def close(self) -> None:
        """See `Splitter`."""
        self._cut(len(self._run))

    def _cut(self, length: int) -> None:
        end = 0
        for word in self._cutter.cut(self._run[:length]):
            end += len(word)
            self._take(word, self._owners[end - 1])
        self._run, self._owners = self._run[length:], self._owners[length:]

    def _take(self, word: str, token: int) -> None:
        self.ids.append(self._vocabulary.get(word, self._unknown))
        self.ends.append(token)
        self.last = word


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


def marks_of_tokens(ends: Sequence[int], marks: bytes, tokens: int) -> bytes:
    """The mark after each of `tokens` tokens, from those of the words that end in them.

    A token in which several words end gets the mark of the last one that has one.
    """
    made = np.zeros(tokens, np.uint8)
    of_words = np.frombuffer(marks, np.uint8)
    marked = of_words.nonzero()[0]
    made[np.asarray(ends, np.int64)[marked]] = of_words[marked]
    return made.tobytes()
