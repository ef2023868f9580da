"""Differences of two transcripts of a recording: words, and times of the words that both have."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from dropscribe.scoring import edits
from dropscribe.scoring.edits import EditCounts
from dropscribe.scoring.normalisation import Normalisation, divided
from dropscribe.transcript.types import Segment

#: A word that starts at least so much earlier or later in the other transcript is shifted, ms.
SHIFTED_MS = 100


@dataclass(frozen=True, slots=True)
class Word:
    """A token of a transcript."""

    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Change:
    """Words [first, end) of one transcript that are [other_first, other_end) in the other; one of both may be empty."""

    first: int
    end: int
    other_first: int
    other_end: int


@dataclass(frozen=True, slots=True)
class Shifts:
    """How much later words start in the other transcript, ms; of words that both have."""

    compared: int
    shifted: int  #: by `SHIFTED_MS` or more
    median_ms: float
    largest_ms: int  #: with its sign
    largest_at_ms: int  #: in the first transcript


@dataclass(frozen=True, slots=True)
class Difference:
    """Comparison of two transcripts."""

    words: tuple[Word, ...]
    other_words: tuple[Word, ...]
    changes: tuple[Change, ...]
    characters: EditCounts  #: of the other against the first, as `Normalisation` counts them
    shifts: Shifts

    def start_ms(self, change: Change) -> int:
        """When the changed words begin: in the first transcript, or in the other if they are only there."""
        if change.end > change.first:
            return self.words[change.first].start_ms
        return self.other_words[change.other_first].start_ms


def words_of(segments: Sequence[Segment]) -> tuple[Word, ...]:
    """Tokens of all segments in order; words of a segment without tokens have its times."""
    found: list[Word] = []
    for segment in segments:
        found += (Word(*token) for token in segment.tokens)
        if not segment.tokens:
            found += (Word(text, segment.start_ms, segment.end_ms) for text in divided(segment.text))
    return tuple(found)


def compare(first: Sequence[Segment], other: Sequence[Segment], rules: Normalisation) -> Difference:
    """Compare the words of two transcripts; words that differ in case or width only are equal if `rules` say so."""
    words, other_words = words_of(first), words_of(other)
    blocks = edits.align([_key(w, rules) for w in words], [_key(w, rules) for w in other_words])
    changes: list[Change] = []
    shifts: list[tuple[int, int]] = []
    for block in blocks:
        if block.kind == edits.EQUAL:
            pairs = zip(
                words[block.first : block.end], other_words[block.other_first : block.other_end], strict=True
            )
            shifts += [(two.start_ms - one.start_ms, one.start_ms) for one, two in pairs]
        elif changes and (changes[-1].end, changes[-1].other_end) == (block.first, block.other_first):
            last = changes.pop()
            changes.append(Change(last.first, block.end, last.other_first, block.other_end))
        else:
            changes.append(Change(block.first, block.end, block.other_first, block.other_end))
    texts = (rules.characters("\n".join(s.text for s in one)) for one in (first, other))
    return Difference(
        words, other_words, tuple(changes), edits.count(edits.align(*texts)), _summed_up(shifts)
    )


def _key(word: Word, rules: Normalisation) -> str:
    return rules.applied(word.text) or word.text


def _summed_up(shifts: Sequence[tuple[int, int]]) -> Shifts:
    if not shifts:
        return Shifts(0, 0, 0.0, 0, 0)
    largest = max(shifts, key=lambda one: abs(one[0]))
    return Shifts(
        compared=len(shifts),
        shifted=sum(abs(shift) >= SHIFTED_MS for shift, _ in shifts),
        median_ms=median(shift for shift, _ in shifts),
        largest_ms=largest[0],
        largest_at_ms=largest[1],
    )


def joined(words: Sequence[Word]) -> str:
    """Text of the words, with blanks between those of scripts that are written with blanks."""
    text = ""
    for word in words:
        if text and word.text and _spaced(text[-1]) and _spaced(word.text[0]):
            text += " "
        text += word.text
    return text


def _spaced(character: str) -> bool:
    return character.isalnum() and unicodedata.east_asian_width(character) not in "WF"
