"""Put the words of a person in place of a sentence: its tokens, marks and times are made anew. Pure.

A word that was there keeps its time; other words share the time of those they replace. All count as sure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from types import MappingProxyType

from dropscribe.transcript.types import Segment, Tokens
from dropscribe.transcript.written.marks import COMMA, FULL_STOP, NONE, PAUSE, QUESTION
from dropscribe.transcript.written.punctuation import joint
from dropscribe.transcript.written.runs import Run
from dropscribe.transcript.written.sentences import Sentence
from dropscribe.transcript.written.units import pieces_of, spread

#: Codes of the marks that a transcript with marks writes itself. Others stay a part of their word.
_CODES = MappingProxyType(
    {"，": COMMA, ",": COMMA, "。": FULL_STOP, ".": FULL_STOP, "？": QUESTION, "?": QUESTION, "、": PAUSE}
)
_SURE = 255


@dataclass(frozen=True, slots=True)
class _Span:
    """A part of a sentence: units [first, end) of a run."""

    run: int
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class _Part:
    """What a sentence has of one segment: tokens [first, end), or units of its text where it has no tokens of these times."""

    segment: int
    tokens: bool
    first: int
    end: int
    texts: tuple[str, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Word:
    text: str  #: as written, with what is attached to it and the space behind it
    start_ms: int
    end_ms: int


def corrected(
    segments: Sequence[Segment], runs: Sequence[Run], sentences: Sequence[Sentence], number: int, text: str
) -> tuple[Segment, ...]:
    """The segments with `text` as the sentence of this number; "" removes it. `runs`, `sentences`: those of `segments`."""
    spans = _spans(runs, sentences, number)
    parts = [_part(segments, runs, span) for span in spans]
    words = _timed(_words(text), parts, sentences[number])
    changed = list(segments)
    # From the last one on, so that an earlier part of the same segment stays where it is.
    for part, said in reversed(list(zip(parts, words, strict=True))):
        segment = changed[part.segment]
        changed[part.segment] = (
            _with_tokens(segment, part, said, sentences[number].speaker)
            if part.tokens
            else _with_text(segment, runs, part, said)
        )
    return tuple(changed)


def _spans(runs: Sequence[Run], sentences: Sequence[Sentence], number: int) -> list[_Span]:
    """Where a sentence stands: sentences divide the units of all runs, in order."""
    found: list[_Span] = []
    run = at = 0
    for i, sentence in enumerate(sentences[: number + 1]):
        for part in sentence.parts:
            end = at + len(part.texts)
            if i == number:
                found.append(_Span(run, at, end))
            at = end
            if at >= len(runs[run].units.texts):
                run, at = run + 1, 0
    return found


def _part(segments: Sequence[Segment], runs: Sequence[Run], span: _Span) -> _Part:
    run = runs[span.run]
    tokens = segments[run.segment].tokens
    firsts = _first_tokens(tokens, runs, span.run)
    if firsts is None:
        units = run.units[span.first : span.end]
        return _Part(
            run.segment,
            False,
            span.first,
            span.end,
            tuple(units.texts),
            tuple(units.starts),
            tuple(units.ends),
        )
    first, end = firsts[span.first], firsts[span.end]
    of = tokens[first:end]
    return _Part(run.segment, True, first, end, tuple(of.texts), of.starts_ms, of.ends_ms)


def _first_tokens(tokens: Tokens, runs: Sequence[Run], number: int) -> list[int] | None:
    """The first token of each unit of a run, and the one behind the last; None if its units are not made of tokens."""
    segment = runs[number].segment
    first = number
    while first and runs[first - 1].segment == segment:
        first -= 1
    at = 0
    found: list[int] = []
    following = number + 1 < len(runs) and runs[number + 1].segment == segment
    for i in range(first, number + 1 + following):
        for start in runs[i].units.starts:
            try:
                at = tokens.starts_ms.index(start, at)
            except ValueError:
                return None
            if i == number or (i > number and len(found) == len(runs[number].units.starts)):
                found.append(at)
            at += 1
    return found if following else [*found, len(tokens)]


def _words(text: str) -> list[str]:
    """Words and characters of a text, each with what follows it; what stands before a word is a part of it."""
    found: list[str] = []
    before = ""
    for piece in spread(" ".join(text.split()), 0, 0).texts:
        if not any(map(str.isalnum, piece)):
            before += piece
            continue
        found.append(before + piece)
        before = ""
    if before and found:
        found[-1] += before
    return found


def _timed(words: Sequence[str], parts: Sequence[_Part], sentence: Sentence) -> list[list[_Word]]:
    """The words of each part, with times."""
    old = [
        (n, _core(text), start, max(start, end))
        for n, part in enumerate(parts)
        for text, start, end in zip(part.texts, part.starts, part.ends, strict=True)
    ]
    found: list[list[_Word]] = [[] for _ in parts]
    cores = [_core(word) for word in words]
    matcher = SequenceMatcher(None, [core for _, core, _, _ in old], cores, autojunk=False)
    for kind, a, b, first, end in matcher.get_opcodes():
        for i in range(first, end):
            if kind == "equal":
                at, _, start, until = old[a + i - first]
            elif kind == "replace":
                at = old[a + (i - first) * (b - a) // (end - first)][0]
                begin, length = old[a][2], max(0, old[b - 1][3] - old[a][2])
                start = begin + length * (i - first) // (end - first)
                until = begin + length * (i + 1 - first) // (end - first)
            else:
                at = old[a - 1][0] if a else 0
                start = until = old[a - 1][3] if a else old[0][2] if old else sentence.start_ms
            found[at].append(_Word(words[i], start, until))
    return found


def _with_tokens(segment: Segment, part: _Part, words: Sequence[_Word], speaker: int) -> Segment:
    tokens = segment.tokens
    marked = len(segment.marks) == len(tokens) > 0
    texts, codes = [word.text for word in words], bytes(len(words))
    if marked:
        texts, codes = _without_marks(texts)
    pieces = pieces_of(" ".join(segment.text.split()), tokens.texts)
    a, b = part.first, part.end
    said = _joined("".join(pieces[:a]), "".join(texts), "".join(pieces[b:]))
    made = Tokens(
        (
            *tokens.texts[:a],
            *(text.strip() if marked else _core(text, fold=False) for text in texts),
            *tokens.texts[b:],
        ),
        (*tokens.starts_ms[:a], *(word.start_ms for word in words), *tokens.starts_ms[b:]),
        (*tokens.ends_ms[:a], *(word.end_ms for word in words), *tokens.ends_ms[b:]),
        tokens.confidence and tokens.confidence[:a] + bytes((_SURE,)) * len(words) + tokens.confidence[b:],
    )
    return replace(
        segment,
        text=said,
        tokens=made,
        marks=segment.marks[:a] + codes + segment.marks[b:] if marked else b"",
        speakers=segment.speakers
        and segment.speakers[:a] + bytes((speaker,)) * len(words) + segment.speakers[b:],
    )


def _with_text(segment: Segment, runs: Sequence[Run], part: _Part, words: Sequence[_Word]) -> Segment:
    """Without tokens: they would not be those of the text."""
    units = next(run for run in runs if run.segment == part.segment).units.texts
    said = "".join(word.text for word in words)
    text = _joined("".join(units[: part.first]), said, "".join(units[part.end :]))
    return replace(segment, text=text, tokens=Tokens(), marks=b"", speakers=b"")


def _without_marks(words: Sequence[str]) -> tuple[list[str], bytes]:
    """The words without the marks that are codes, and these."""
    texts, codes = [], bytearray()
    for word in words:
        text = word.rstrip()
        code = _CODES.get(text[-1:], NONE)
        codes.append(code)
        texts.append((text[:-1] if code else text) + word[len(text) :])
    return texts, bytes(codes)


def _core(text: str, *, fold: bool = True) -> str:
    """A word without what is attached to it; itself if there is nothing else."""
    first = next((i for i, c in enumerate(text) if c.isalnum()), None)
    if first is None:
        return text.strip()
    last = max(i for i, c in enumerate(text) if c.isalnum())
    core = text[first : last + 1]
    return core.casefold() if fold else core


def _joined(*texts: str) -> str:
    whole = ""
    for text in texts:
        whole += joint(whole, text) + text
    return whole.strip()
