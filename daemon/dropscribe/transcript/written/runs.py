"""Divide a recording into runs: what one speaker says in one speech segment, as written. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from dropscribe.transcript.types import Segment
from dropscribe.transcript.written.marks import COMMA, ENDS, FULL_STOP, NONE, PAUSE, QUESTION
from dropscribe.transcript.written.punctuation import Position, has_marks, own_marks, punctuate
from dropscribe.transcript.written.types import Replacement
from dropscribe.transcript.written.units import (
    Units,
    forward,
    is_wide,
    merge_subwords,
    pieces_of,
    spread,
    units_of,
    width,
)

#: Marks by their code, a stronger one later.
_STRENGTH = {NONE: 0, PAUSE: 1, COMMA: 2, FULL_STOP: 3, QUESTION: 4}


#: (texts, marks) of tokens → the numbers among them, in figures; none reaches over a mark.
Numbers = Callable[[Sequence[str], bytes], Iterable[Replacement]]
#: (texts, starts_ms, ends_ms, marks) of tokens → the fillers among them, left out.
Fillers = Callable[[Sequence[str], Sequence[int], Sequence[int], bytes], Iterable[Replacement]]


@dataclass(frozen=True, slots=True)
class Rules:
    """What is written in place of tokens; None: nothing."""

    numbers: Numbers | None = None
    fillers: Fillers | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What one speaker says in one segment, without a gap. `text` is one line, not empty."""

    segment: int  #: position of the segment in the transcript
    speaker: int  #: number; 0: unknown, or not asked for
    start_ms: int
    end_ms: int
    text: str
    units: Units
    flowing: bool  #: has marks, so that sentences begin and end within it; else it is a line of its own

    @property
    def latin(self) -> bool:
        """True for text without wide (Chinese) letters."""
        return self.text.isascii() or sum(self.units.widths) <= sum(map(len, self.units.texts))


@dataclass(frozen=True, slots=True)
class _Columns:
    """Pieces of text in columns: of one token each, or of several that are written as one."""

    pieces: Sequence[str]
    starts: Sequence[int]
    ends: Sequence[int]
    marks: bytes  #: empty: not punctuated
    speakers: bytes  #: empty: not asked for
    confidence: bytes  #: empty: not known

    def part(self, first: int, end: int) -> _Columns:
        part = slice(first, end)
        return _Columns(
            self.pieces[part], self.starts[part], self.ends[part], self.marks[part], self.speakers[part],
            self.confidence[part],
        )  # fmt: skip


def runs_of(segments: Sequence[Segment], rules: Rules) -> tuple[Run, ...]:
    """Runs of a recording, in the order of its segments; segments without words have none."""
    found = [run for number, segment in enumerate(segments) for run in _runs_of(number, segment, rules)]
    speaker, position = -1, Position()
    for i, run in enumerate(found):
        segment = segments[run.segment]
        if not run.flowing or not segment.marks:
            speaker = -1
            continue
        if run.speaker != speaker:
            speaker, position = run.speaker, Position()
        if i + 1 < len(found) and found[i + 1].speaker != speaker:
            run = _ended(run)  # noqa: PLW2901 - the run with its end takes its place
        found[i] = _punctuated(run, position, segment.text)
    return tuple(found)


def _ended(run: Run) -> Run:
    """A run with a sentence end behind its last word: the model knows nothing of speakers."""
    marks = run.units.marks
    if marks[-1] in ENDS:
        return run
    return replace(run, units=replace(run.units, marks=marks[:-1] + bytes((FULL_STOP,))))


def _punctuated(run: Run, position: Position, spoken: str) -> Run:
    units = punctuate(run.units, position, spoken=spoken)
    text = "".join(units.texts).strip()
    return Run(run.segment, run.speaker, run.start_ms, run.end_ms, text, units, flowing=True)


def _runs_of(number: int, segment: Segment, rules: Rules) -> Iterator[Run]:
    """Runs of a segment, with the codes of its marks in their units but not in their texts."""
    tokens = segment.tokens
    marks = segment.marks if len(segment.marks) == len(tokens) else b""
    speakers = known_speakers(segment.speakers) if len(segment.speakers) == len(tokens) else b""
    asked = tokens and (rules.numbers or rules.fillers)
    replaced = tuple(_replacements(segment, marks, speakers, rules)) if asked else ()
    one_speaker = not speakers or speakers.count(speakers[0]) == len(speakers)
    if one_speaker and not marks and not replaced:
        yield from _whole(number, segment, speakers[0] if speakers else 0)
        return
    text = " ".join(segment.text.split())
    pieces: Sequence[str] = tokens.texts
    if pieces != text or not is_wide(text):
        pieces = pieces_of(text, tokens.texts)
    columns = _Columns(
        pieces, tokens.starts_ms, forward(tokens.starts_ms, tokens.ends_ms), marks, speakers, tokens.confidence
    )  # fmt: skip
    columns = _replace(columns, replaced)
    changes = [i for i, (a, b) in enumerate(pairwise(columns.speakers), start=1) if a != b]
    bounds = [0, *changes, len(columns.pieces)]
    for a, b in pairwise(bounds):
        if a == b:
            continue  # everything was left out
        part = columns.part(a, b)
        if isinstance(part.pieces, str):
            units = Units(part.pieces, part.starts, part.ends, (2,) * (b - a), part.marks, part.confidence)
        else:
            units = merge_subwords(part.pieces, part.starts, part.ends, part.marks, part.confidence)
        said = "".join(units.texts).strip()
        if not said:
            continue
        own = not marks and has_marks(said)
        if own:
            units = _with_own_marks(units)
        start = segment.start_ms if a == 0 else part.starts[0]
        end = segment.end_ms if b == len(columns.pieces) else max(part.ends)
        speaker = part.speakers[0] if part.speakers else 0
        yield Run(number, speaker, start, max(start, end), said, units, flowing=bool(marks) or own)


def _whole(number: int, segment: Segment, speaker: int) -> Iterator[Run]:
    """A segment as the model wrote it, if it has words."""
    units = units_of(segment)
    text = " ".join(segment.text.split()) or "".join(units.texts).strip()
    if not text:
        return
    own = has_marks(text)
    if own:
        if "".join(units.texts).split() != text.split():
            units = spread(text, segment.start_ms, segment.end_ms)
        units = _with_own_marks(units)
    yield Run(number, speaker, segment.start_ms, segment.end_ms, text, units, flowing=own)


def _with_own_marks(units: Units) -> Units:
    return Units(units.texts, units.starts, units.ends, units.widths, own_marks(units), units.confidence)


def known_speakers(speakers: bytes) -> bytes:
    """Speakers of a segment's tokens, a token without one having that of its neighbour."""
    if 0 not in speakers or not any(speakers):
        return speakers
    filled = bytearray(speakers)
    first = next(filter(None, filled))
    before = first
    for i, speaker in enumerate(filled):
        before = filled[i] = speaker or before
    return bytes(filled)


def _replacements(segment: Segment, marks: bytes, speakers: bytes, rules: Rules) -> Iterator[Replacement]:
    """Replacements in the tokens of a segment, in order and disjoint; none reaches over a mark or a change of speaker."""
    found: list[Replacement] = []
    tokens = segment.tokens
    changes = [i for i, (a, b) in enumerate(pairwise(speakers), start=1) if a != b]
    for a, b in pairwise([0, *changes, len(tokens)]):
        texts, behind = tokens.texts[a:b], marks[a:b]
        among: list[Replacement] = []
        if rules.numbers is not None:
            among += rules.numbers(texts, behind)
        if rules.fillers is not None:
            among += rules.fillers(texts, tokens.starts_ms[a:b], tokens.ends_ms[a:b], behind)
        found += [Replacement(one.first + a, one.end + a, one.text) for one in among]
    reached = 0
    for one in sorted(found, key=lambda r: (r.first, -r.end)):
        if one.first >= reached:
            reached = one.end
            yield one


def _replace(columns: _Columns, replacements: Sequence[Replacement]) -> _Columns:
    """Columns with the tokens of each replacement joined to one piece, or left out.

    The mark behind tokens that are left out moves to the piece before them, if that has a weaker one.
    """
    if not replacements:
        return columns
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    marks, speakers, confidence = bytearray(), bytearray(), bytearray()
    done = 0

    def copy(end: int) -> None:
        part = columns.part(done, end)
        pieces.extend(part.pieces)
        starts.extend(part.starts)
        ends.extend(part.ends)
        marks.extend(part.marks)
        speakers.extend(part.speakers)
        confidence.extend(part.confidence)

    for one in replacements:
        first, end, text = one.first, one.end, one.text
        copy(first)
        part = columns.part(first, end)
        if text:
            if pieces and not pieces[-1][-1:].isspace() and not (marks and marks[-1]):
                # Two numbers in a row stay two.
                pieces[-1] += _between(pieces[-1], text)
            behind = " " if part.pieces[-1][-1:].isspace() else ""
            pieces.append(text + behind)
            starts.append(part.starts[0])
            ends.append(max(part.ends))
            marks.extend(part.marks[-1:])
            speakers.extend(part.speakers[:1])
            confidence.extend([min(part.confidence)] if part.confidence else [])
        elif marks and any(part.marks) and (not speakers or speakers[-1] == part.speakers[0]):
            marks[-1] = max((marks[-1], *part.marks), key=_STRENGTH.__getitem__)
        done = end
    copy(len(columns.pieces))
    return _Columns(pieces, starts, ends, bytes(marks), bytes(speakers), bytes(confidence))


def _between(left: str, right: str) -> str:
    narrow = left[-1].isalnum() and right[0].isalnum() and width(left[-1]) == width(right[0]) == 1
    return " " if narrow else ""
