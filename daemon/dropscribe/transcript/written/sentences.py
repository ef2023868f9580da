"""Sentences and paragraphs of a recording. Pure; positions are milliseconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import groupby, pairwise

from dropscribe.transcript.written.marks import ENDS, NARROW, WIDE
from dropscribe.transcript.written.punctuation import joint
from dropscribe.transcript.written.runs import Run
from dropscribe.transcript.written.units import Units

#: A pause at the end of a sentence that ends its paragraph, ms.
PARAGRAPH_PAUSE_MS = 2000
#: Usual length of a paragraph of one speaker, in half characters: 300 Chinese characters, 600 Latin letters.
PARAGRAPH_WIDTH = 600
#: Marks and spaces that may follow a word.
_NO_WORD = "".join(WIDE[1:]) + "".join(NARROW[1:]) + "！! "


@dataclass(frozen=True, slots=True)
class Sentence:
    """What is said from one 。？！ to the next by one speaker; a whole run where there are no marks."""

    start_ms: int
    end_ms: int
    speaker: int  #: number; 0: unknown, or not asked for
    text: str
    parts: tuple[Units, ...]  #: its words; one part of each run that it spans
    flowing: bool  #: see `Run`
    run: Run  #: in which it begins
    before: str  #: a space or nothing, between it and the sentence before

    @property
    def width(self) -> int:
        """Width in half characters."""
        return sum(sum(part.widths) for part in self.parts)

    def spans(self, least: float) -> list[tuple[str, bool]]:
        """The text in spans; True for words whose confidence is known and below `least`, a probability."""
        below = 255 * least
        if all(not part.confidence or min(part.confidence) >= below for part in self.parts):
            return [(self.text, False)]
        texts = list(self.parts[0].texts)
        unsure = _unsure(self.parts[0], below)
        for part in self.parts[1:]:
            texts[-1] += joint(texts[-1], part.texts[0])
            texts += part.texts
            unsure += _unsure(part, below)
        if "".join(texts).strip() != self.text:
            return [(self.text, False)]  # the tokens are not those of the text
        found: list[tuple[str, bool]] = []
        behind = ""
        for is_unsure, group in groupby(zip(texts, unsure, strict=True), key=lambda pair: pair[1]):
            text = behind + "".join(text for text, _ in group)
            # The mark and the space behind a word are not a part of it.
            behind = text[len(text.rstrip(_NO_WORD)) :] if is_unsure else ""
            found.append((text.removesuffix(behind), is_unsure))
        if behind:
            found.append((behind, False))
        found[0] = (found[0][0].lstrip(), found[0][1])
        found[-1] = (found[-1][0].rstrip(), found[-1][1])
        return [span for span in found if span[0]]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Sentences of one speaker that belong together. `begins`: the paragraph before is of another speaker."""

    sentences: tuple[Sentence, ...]
    text: str
    begins: bool

    @property
    def speaker(self) -> int:
        """Its speaker; 0: unknown, or not asked for."""
        return self.sentences[0].speaker

    @property
    def start_ms(self) -> int:
        """Start of its first sentence."""
        return self.sentences[0].start_ms

    def spans(self, least: float) -> list[tuple[str, bool]]:
        """Spans of its sentences, with what is between them: see `Sentence.spans`."""
        found = self.sentences[0].spans(least)
        for sentence in self.sentences[1:]:
            spans = sentence.spans(least)
            text, unsure = spans[0]
            if found[-1][1] == unsure:
                found[-1] = (found[-1][0] + sentence.before + text, unsure)
                del spans[0]
            elif sentence.before:
                found[-1] = (found[-1][0] + sentence.before, found[-1][1])
            found += spans
        return found

    @property
    def flowing(self) -> bool:
        """False for a run without marks, which is a line of its own."""
        return self.sentences[0].flowing


def sentences_of(runs: Sequence[Run], apart: AbstractSet[int]) -> tuple[Sentence, ...]:
    """Sentences in order. Those of speakers in `apart`, recorded apart, may overlap those of others."""
    found: list[Sentence] = []
    reached: dict[int, int] = {}
    written = ""
    for parts, begins_run in _parts(runs):
        run, first = parts[0]
        stream = run.speaker if run.speaker in apart else 0
        if run.flowing:
            start, end = first.starts[0], max(max(part.ends) for _, part in parts)
            texts = ["".join(part.texts) for _, part in parts]
            text = _joined([text.strip() for text in texts])
        else:
            start, end, text = run.start_ms, run.end_ms, run.text
            texts = [text]
        before = joint(written.strip(), text) if begins_run else " " if written[-1:].isspace() else ""
        written = texts[-1]
        # Positions of models may run backwards.
        start = max(start, reached.get(stream, 0))
        reached[stream] = end = max(start, end)
        units = tuple(part for _, part in parts)
        found.append(Sentence(start, end, run.speaker, text, units, run.flowing, run, before))
    return tuple(found)


def _parts(runs: Sequence[Run]) -> Iterator[tuple[list[tuple[Run, Units]], bool]]:
    """The runs and units of each sentence, and true if it begins with a run."""
    open_: list[tuple[Run, Units]] = []
    begins = True
    for run in runs:
        if open_ and not (run.flowing and run.speaker == open_[0][0].speaker):
            yield open_, begins
            open_ = []
        if not run.flowing:
            yield [(run, run.units)], True
            continue
        ends = [i for i, mark in enumerate(run.units.marks, start=1) if mark in ENDS]
        first = 0
        for end in ends:
            begins = begins if open_ else first == 0
            yield [*open_, (run, run.units[first:end])], begins
            open_, first = [], end
        if first < len(run.units.texts):
            begins = begins if open_ else first == 0
            open_.append((run, run.units[first:] if first else run.units))
    if open_:
        yield open_, begins


def paragraphs_of(sentences: Sequence[Sentence]) -> tuple[Paragraph, ...]:
    """Paragraphs: they end where the speaker changes, at a pause of more than 2 s, or at about 300 characters.

    A sentence is never divided. One without marks is a paragraph of its own.
    """
    found: list[Paragraph] = []
    for _, group in groupby(zip(sentences, _numbers(sentences), strict=True), key=lambda pair: pair[1]):
        of = tuple(sentence for sentence, _ in group)
        begins = not found or found[-1].speaker != of[0].speaker
        text = of[0].text + "".join([sentence.before + sentence.text for sentence in of[1:]])
        found.append(Paragraph(of, text, begins))
    return tuple(found)


def _numbers(sentences: Sequence[Sentence]) -> Iterator[int]:
    """Number of the paragraph of each sentence."""
    number, width = 0, 0
    before: Sentence | None = None
    for sentence in sentences:
        own = sentence.width
        if before is not None and (
            not (sentence.flowing and before.flowing)
            or sentence.speaker != before.speaker
            or sentence.start_ms - before.end_ms > PARAGRAPH_PAUSE_MS
            # Nearer to the usual length without this sentence than with it.
            or width + own / 2 > PARAGRAPH_WIDTH
        ):
            number, width = number + 1, 0
        width += own
        before = sentence
        yield number


def _unsure(units: Units, below: float) -> list[bool]:
    if not units.confidence:
        return [False] * len(units.texts)
    return [probability < below for probability in units.confidence]


def _joined(texts: Sequence[str]) -> str:
    if len(texts) == 1:
        return texts[0]
    return "".join([texts[0], *(joint(a, b) + b for a, b in pairwise(texts))])
