"""Words of Chinese text as jieba cuts it without its hidden Markov model, with a dictionary of a model's own.

`rjieba`, a port of jieba, cuts in the same way, many times faster; the frequencies that jieba gives to the words of
a user dictionary are computed here, as in jieba's `load_userdict` and `suggest_freq`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import rjieba

from dropscribe.errors import EngineError

#: Largest user dictionary, bytes; 471,067 words have some 6 MB.
LARGEST = 64 << 20
#: A line of a user dictionary: word, frequency, part of speech.
_LINE = re.compile(r"(.+?)( [0-9]+)?( [a-z]+)?")
#: Highest frequency of a word; all words of jieba's own dictionary together have 60 million.
_MOST_FREQUENT = 1 << 40
#: A word that no text has; its frequency balances jieba's total.
_BALANCE = "\U0010fffd\U0010fffc"


class Dictionary:
    """jieba's dictionary with the words of a user dictionary. Immutable."""

    def __init__(self, path: Path) -> None:
        """Read the user dictionary `path`. Raises EngineError for a file that is no dictionary."""
        self._jieba = rjieba.Jieba()
        frequencies, following = _jieba_words(path)
        total = sum(frequencies.values())
        replaced = 0
        for word, given in _entries(path):
            frequency = self._suggested(word, frequencies, total) if given is None else given
            # jieba adds the new frequency to its total, but does not subtract the one that is replaced.
            replaced += frequencies.get(word, 0)
            total += frequency
            # To jieba, a character is a word even if its frequency is 0.
            self._jieba.add_word(word, frequency or int(len(word) == 1), None)
            _note(word, frequency, frequencies, following)
        self._jieba.add_word(_BALANCE, replaced, None)
        #: Character → characters that follow it in some word.
        self._following = {first: "".join(found) for first, found in following.items()}

    def cut(self, text: str) -> list[str]:
        """Words of a text: all its characters, in order."""
        words: list[str] = self._jieba.cut(text, False)
        return words

    def settled(self, text: str) -> int:
        """Length of the part of `text` whose words do not depend on the rest and on what may follow.

        It ends between two characters that are not neighbours in any word. So the words of the part, cut alone, are
        those that the whole text has there.
        """
        for end in range(len(text) - 1, 0, -1):
            before, after = text[end - 1], text[end]
            # jieba joins ASCII characters to words that are in no dictionary.
            if after not in self._following.get(before, "") and not (before.isascii() and after.isascii()):
                return end
        return 0

    def _suggested(self, word: str, frequencies: dict[str, int], total: int) -> int:
        """The least frequency with which a word is preferred to its parts."""
        share = 1.0
        for part in self.cut(word):
            share *= frequencies.get(part, 1) / float(total)
        return max(int(share * total) + 1, frequencies.get(word, 1))


def _jieba_words(path: Path) -> tuple[dict[str, int], dict[str, set[str]]]:
    """Frequencies of the words of jieba's own dictionary and of their beginnings, and the neighbours in them.

    jieba comes with FunASR. Its dictionary is read without importing it, which would build a cache.
    """
    package = find_spec("jieba")
    if package is None or package.origin is None:
        raise EngineError(
            "its words are those of jieba, which is not installed",
            operation="load punctuation model",
            path=path,
            remedy="install the Python package jieba",
        )
    frequencies: dict[str, int] = {}
    following: dict[str, set[str]] = defaultdict(set)
    with Path(package.origin).with_name("dict.txt").open(encoding="utf-8") as file:
        for line in file:
            word, frequency, _ = line.split(" ", 2)
            _note(word, int(frequency), frequencies, following)
    return frequencies, following


def _note(word: str, frequency: int, frequencies: dict[str, int], following: dict[str, set[str]]) -> None:
    frequencies[word] = frequency
    for i in range(1, len(word)):
        # As in jieba, the beginnings of words have frequency 0, while unknown words count as 1.
        frequencies.setdefault(word[:i], 0)
        following[word[i - 1]].add(word[i])


def _entries(path: Path) -> Iterator[tuple[str, int | None]]:
    """Words of a user dictionary, with their frequencies if it has any. Raises EngineError."""
    try:
        if path.stat().st_size > LARGEST:
            raise _error(path, f"is larger than {LARGEST >> 20} MiB")
        text = path.read_text(encoding="utf-8")
    except OSError as e:
        raise _error(path, f"cannot be read: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise _error(path, "is not UTF-8") from e
    for line in text.split("\n"):
        entry = _LINE.fullmatch(line.strip().lstrip("\ufeff"))
        if entry is None:
            continue
        frequency = None if entry[2] is None else int(entry[2])
        if frequency is not None and frequency > _MOST_FREQUENT:
            raise _error(path, f"has a word that is too frequent: {entry[1][:20]}")
        yield entry[1], frequency


def _error(path: Path, reason: str) -> EngineError:
    return EngineError(
        f"its dictionary {path.name} {reason}",
        operation="load punctuation model",
        path=path.parent,
        remedy="fetch the model again",
    )
