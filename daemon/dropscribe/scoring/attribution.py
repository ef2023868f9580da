"""Words given to the wrong speaker, and the number of speakers found. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dropscribe.scoring.diarization import Turn, mapping


@dataclass(frozen=True, slots=True)
class Word:
    """A recognised word: its middle, ms, and its speaker."""

    middle_ms: int
    speaker: str


@dataclass(frozen=True, slots=True)
class Attribution:
    """Words in the turns of a reference, how many of them have another speaker, and speakers. Can be added."""

    words: int = 0
    wrong: int = 0
    expected: int = 0  #: speakers of the reference
    found: int = 0  #: of the transcript
    files: int = 0
    files_right: int = 0  #: with as many speakers as in the reference

    def __add__(self, other: Attribution) -> Attribution:
        return Attribution(
            self.words + other.words,
            self.wrong + other.wrong,
            self.expected + other.expected,
            self.found + other.found,
            self.files + other.files,
            self.files_right + other.files_right,
        )

    @property
    def rate(self) -> float | None:
        """Share of the words with the wrong speaker; None without words."""
        return self.wrong / self.words if self.words else None


def attribution(reference: Sequence[Turn], words: Sequence[Word]) -> Attribution:
    """Compare the speaker of each word with those who talk at its middle in the reference.

    Names are mapped one to one so that the fewest words are wrong. Where several talk, each of them is right. Words outside
    all turns do not count.
    """
    shared: Counter[tuple[str, str]] = Counter()
    compared: list[tuple[frozenset[str], str]] = []
    for word in words:
        talking = frozenset(t.speaker for t in reference if t.start_ms <= word.middle_ms < t.end_ms)
        if not talking:
            continue
        compared.append((talking, word.speaker))
        for one in talking:
            shared[one, word.speaker] += 1
    names = mapping(shared)
    wrong = sum(all(names.get(one) != speaker for one in talking) for talking, speaker in compared)
    expected, found = len({t.speaker for t in reference}), len({w.speaker for w in words})
    return Attribution(len(compared), wrong, expected, found, 1, int(expected == found))
