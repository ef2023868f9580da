"""Scores of recordings, their sums, and the most frequent confusions. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dropscribe.scoring import edits
from dropscribe.scoring.attribution import Attribution, Word, attribution
from dropscribe.scoring.diarization import DiarizationError, Turn, diarization_error
from dropscribe.scoring.edits import Block, EditCounts
from dropscribe.scoring.normalisation import Normalisation
from dropscribe.scoring.references import Reference

#: Times that do not count around the borders of a reference's turns, unless another is given, ms.
COLLAR_MS = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """How transcripts are compared with references."""

    text: Normalisation = field(default_factory=Normalisation)
    collar_ms: int = COLLAR_MS
    overlap: bool = True  #: times in which several speakers talk count, too


@dataclass(frozen=True, slots=True)
class Confusion:
    """A unit of the reference and what was recognised in its place; "" for nothing."""

    expected: str
    recognised: str


@dataclass(frozen=True, slots=True)
class Score:
    """Comparison of one transcript with its reference. None: the reference does not have it."""

    characters: EditCounts | None
    words: EditCounts | None
    speakers: DiarizationError | None
    confusions: Counter[Confusion] = field(default_factory=Counter)
    attribution: Attribution | None = None


@dataclass(frozen=True, slots=True)
class FileScore:
    """Result of one recording under one profile: a score, or the reason why there is none."""

    name: str  #: path relative to the folder that is evaluated
    profile: str
    audio_s: float = 0.0
    score: Score | None = None
    problem: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Total:
    """Sum over the recordings of a profile."""

    profile: str
    files: int  #: with a score
    failed: int
    audio_s: float
    characters: EditCounts
    words: EditCounts
    speakers: DiarizationError
    confusions: Counter[Confusion]
    attribution: Attribution
    models: tuple[str, ...] = ()


def score(
    reference: Reference, text: str, turns: Sequence[Turn] | None, rules: Rules, said: Sequence[Word] = ()
) -> Score:
    """Compare a transcript, as text, turns and words with a speaker, with the reference.

    `turns` None: speakers were not asked for, and are not compared.
    """
    characters = words = None
    confusions: Counter[Confusion] = Counter()
    if reference.text is not None:
        expected, found = rules.text.words(reference.text), rules.text.words(text)
        blocks = edits.align(expected, found)
        words = edits.count(blocks)
        confusions = confused(blocks, expected, found)
        characters = edits.count(
            edits.align(rules.text.characters(reference.text), rules.text.characters(text))
        )
    speakers = attributed = None
    if reference.turns is not None and turns is not None:
        speakers = diarization_error(reference.turns, turns, collar_ms=rules.collar_ms, overlap=rules.overlap)
        attributed = attribution(reference.turns, said)
    return Score(characters, words, speakers, confusions, attributed)


def confused(blocks: Iterable[Block], expected: Sequence[str], found: Sequence[str]) -> Counter[Confusion]:
    """Frequencies of the edits of an alignment, unit by unit."""
    counted: Counter[Confusion] = Counter()
    for block in blocks:
        if block.kind == edits.SUBSTITUTION:
            pairs = zip(
                expected[block.first : block.end], found[block.other_first : block.other_end], strict=True
            )
            counted.update(Confusion(one, two) for one, two in pairs)
        elif block.kind == edits.DELETION:
            counted.update(Confusion(one, "") for one in expected[block.first : block.end])
        elif block.kind == edits.INSERTION:
            counted.update(Confusion("", two) for two in found[block.other_first : block.other_end])
    return counted


def total(profile: str, scored: Iterable[FileScore]) -> Total:
    """Sum of the recordings of one profile. Rates of sums weigh every character, word and second alike."""
    characters, words, speakers, attributed = EditCounts(), EditCounts(), DiarizationError(), Attribution()
    confusions: Counter[Confusion] = Counter()
    files = failed = 0
    audio_s = 0.0
    models: dict[str, None] = {}
    for one in scored:
        if one.score is None:
            failed += 1
            continue
        files += 1
        audio_s += one.audio_s
        characters += one.score.characters or EditCounts()
        words += one.score.words or EditCounts()
        speakers += one.score.speakers or DiarizationError()
        attributed += one.score.attribution or Attribution()
        confusions.update(one.score.confusions)
        models[one.model] = None
    return Total(
        profile, files, failed, audio_s, characters, words, speakers, confusions, attributed, tuple(models)
    )


def worst_first(scored: Iterable[FileScore]) -> list[FileScore]:
    """Failed recordings, then those of the highest error rate of characters, or of speakers where there is no text."""
    return sorted(scored, key=lambda one: (-badness(one.score), one.name, one.profile))


def badness(one: Score | None) -> float:
    """Error rate of characters, else that of speakers; infinite without a score."""
    if one is None:
        return float("inf")
    rates = [part.rate for part in (one.characters, one.speakers) if part is not None]
    return next((rate for rate in rates if rate is not None), 0.0)
