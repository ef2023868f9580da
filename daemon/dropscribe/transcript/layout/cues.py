"""Divide runs of speech into subtitle cues. Pure policy; positions are milliseconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from dropscribe.transcript.layout.line_breaks import divide
from dropscribe.transcript.layout.two_lines import Frame, pack, two_lines
from dropscribe.transcript.layout.words import word_lengths
from dropscribe.transcript.written.runs import Run
from dropscribe.transcript.written.units import Units, phrases_of

#: Shortest display time of a cue where the next one allows it, ms: without marks, and with marks (5/6 s, 20 frames).
SHORTEST_PLAIN_MS = 800
SHORTEST_MS = 833
#: Time between two cues with marks, where both stand long enough: two frames of 24 a second, ms.
GAP_MS = 83
#: A cue may be shown this much later than it is spoken, ms, so that the one before stands long enough.
LATEST_MS = 200
#: Pause that divides even a word, ms.
WITHIN_WORD_MS = 1000
#: Reading speed, half characters a second: 9 Chinese characters, 18 Latin letters.
READ_PER_S = 18
#: Longest line in half characters unless a profile names one: with marks, 16 Chinese characters, or 42 letters of other
#: scripts; without marks, 20 Chinese characters.
LINE_CHINESE, LINE_LATIN, LINE_PLAIN = 32, 42, 40
#: Half characters of the dash of a cue of two speakers. Their names do not count: the lines would hold too little.
_DASH = 2


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: one or two lines of text, shown from `start_ms` until `end_ms`."""

    start_ms: int
    end_ms: int
    text: str
    speaker: int = 0  #: number; 0: unknown, or not asked for
    begins: bool = False  #: the cue before is of another speaker
    #: Another speaker's cue of one line, shown at the same time: both speak at once.
    beside: Cue | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a cue, as in a profile; `max_chars` in Chinese characters, None: as usual for the text."""

    max_chars: int | None = None
    max_s: float = 7.0
    pause_ms: int = 400

    @property
    def max_ms(self) -> int:
        """Longest display time, ms."""
        return round(self.max_s * 1000)


@dataclass(frozen=True, slots=True)
class _Untimed:
    """A cue before its display time is settled."""

    start_ms: int
    end_ms: int
    text: str
    width: int  #: half characters
    run: Run
    begins: bool = False
    beside: _Untimed | None = None


def cues(runs: Sequence[Run], limits: Limits, lead: Mapping[int, int]) -> tuple[Cue, ...]:
    """Divide a recording into subtitles: every word once, in order, no overlap, each at least 1 ms, of one speaker.

    A cue ends with its segment, at a change of speaker, at a pause of `pause_ms` or more, and before it would pass the
    width of its lines (a Latin letter counts half) or `max_s`; a single word that passes a limit by itself stays whole
    and is shown for `max_s`. Text with marks has cues of up to two lines that end behind marks where they can, and stand
    long enough to be read. Text without marks has cues of one line, divided at its longest pauses, between words.

    `lead`: width in half characters of what precedes the first cue of each speaker's turn. Speakers recorded apart may
    speak at once: their cues then have one line each and are shown together.
    """
    together = _overlapping(runs)
    untimed: list[_Untimed] = []
    speaker = 0
    for i, run in enumerate(runs):
        begins = run.speaker != speaker
        speaker = run.speaker
        units = run.units
        if begins and lead.get(speaker) and i not in together:
            units = replace(units, widths=[units.widths[0] + lead[speaker], *units.widths[1:]])
        for phrase in _phrases(units, run, limits.pause_ms):
            parts = _divided(phrase, run, limits, together=i in together)
            for text, part in parts:
                end = max(part.ends)
                untimed.append(_Untimed(part.starts[0], end, text, sum(part.widths), run, begins))
                begins = False
    if together:
        untimed = _together(sorted(untimed, key=lambda d: d.start_ms), limits.max_ms)
    return tuple(_timed(untimed, limits.max_ms, pushed=bool(together)))


def _phrases(units: Units, run: Run, pause_ms: int) -> list[Units]:
    """Parts of a run that pauses divide; with marks, one that could not stand for long enough goes with the next.

    A pause within a word is mostly a fault of the times.
    """
    phrases = phrases_of(units, pause_ms)
    if not run.flowing or len(phrases) == 1:
        return phrases
    bounds, first = [0], 0
    word_ends = frozenset(accumulate(word_lengths("".join(units.texts))))
    offsets = list(accumulate(map(len, units.texts)))
    for phrase, following in pairwise(phrases):
        first += len(phrase.texts)
        if offsets[first - 1] not in word_ends and following.starts[0] - phrase.ends[-1] < WITHIN_WORD_MS:
            continue
        if following.starts[0] - units.starts[bounds[-1]] >= SHORTEST_MS:
            bounds.append(_without_rest(units, bounds[-1], first))
    return [units[a:b] for a, b in pairwise([*bounds, len(units.texts)])]


def _without_rest(units: Units, first: int, end: int) -> int:
    """End of a phrase [first, end) without what is said behind its last mark, if that is too short for a cue of its own."""
    last = next((i for i in range(end - 1, first, -1) if units.marks[i - 1]), end)
    too_short = last < end and units.starts[end] - units.starts[last] < SHORTEST_MS
    return last if too_short and units.starts[last] - units.starts[first] >= SHORTEST_MS else end


def _divided(phrase: Units, run: Run, limits: Limits, *, together: bool) -> list[tuple[str, Units]]:
    """Texts of the cues of a phrase, and their words; of one line if they may be shown together with another's."""
    width, max_ms = _line_width(run, limits), limits.max_ms
    if together:
        width -= _DASH
    if not run.flowing:
        fits = sum(phrase.widths) <= width and max(phrase.ends) - min(phrase.starts) <= max_ms
        parts = [phrase] if fits else divide(phrase, width, max_ms, limits.pause_ms)
        return [("".join(part.texts).strip(), part) for part in parts]
    frame = Frame.of(width, 1 if together else 2, max_ms, limits.pause_ms)
    return [(two_lines(part, frame), part) for part in pack(phrase, frame)]


def _line_width(run: Run, limits: Limits) -> int:
    if limits.max_chars is not None:
        return 2 * limits.max_chars
    if not run.flowing:
        return LINE_PLAIN
    return LINE_LATIN if run.latin else LINE_CHINESE


def _overlapping(runs: Sequence[Run]) -> frozenset[int]:
    """Positions of the runs during which another speaker speaks in another segment."""
    found: set[int] = set()
    latest = -1
    for i, run in enumerate(runs):
        if latest >= 0:
            before = runs[latest]
            if (
                run.start_ms < before.end_ms
                and run.speaker != before.speaker
                and run.segment != before.segment
            ):
                found |= {latest, i}
        if latest < 0 or run.end_ms > runs[latest].end_ms:
            latest = i
    return frozenset(found)


def _together(untimed: Iterable[_Untimed], max_ms: int) -> list[_Untimed]:
    """Join two cues of one line whose speakers speak at once, where both stand short enough."""
    found: list[_Untimed] = []
    for cue in untimed:
        before = found[-1] if found else None
        if (
            before is not None
            and before.beside is None
            and before.run.speaker != cue.run.speaker
            and cue.start_ms + GAP_MS < before.end_ms
            and max(before.end_ms, cue.end_ms) - before.start_ms <= max_ms
            and "\n" not in before.text + cue.text
        ):
            found[-1] = replace(before, end_ms=max(before.end_ms, cue.end_ms), beside=cue)
        else:
            found.append(cue)
    # The order has changed: who speaks first again is told anew.
    speaker = 0
    for i, cue in enumerate(found):
        beside = cue.beside
        if beside is not None:
            beside = replace(beside, begins=True)
        found[i] = replace(cue, begins=beside is not None or cue.run.speaker != speaker, beside=beside)
        speaker = 0 if beside is not None else cue.run.speaker
    return found


def _timed(untimed: Sequence[_Untimed], max_ms: int, *, pushed: bool) -> Iterator[Cue]:
    """Cues with display times: monotonic, not overlapping, not too long, readable where there is room.

    `pushed`: cues of speakers who speak at once may be shown later than they are spoken, so that each can be read.
    """
    earliest = 0
    for cue, following in zip(untimed, [*untimed[1:], None], strict=False):
        start = max(cue.start_ms, earliest)
        shortest = min(SHORTEST_MS if cue.run.flowing else SHORTEST_PLAIN_MS, max_ms)
        end = max(cue.end_ms, start + shortest)
        if cue.run.flowing:
            end = max(end, start + cue.width * 1000 // READ_PER_S)
        end = min(end, start + max_ms)
        if following is not None:
            until = following.start_ms
            if cue.run.flowing:
                # The gap is taken from what stands longer than it must.
                late = min(start + shortest, until + LATEST_MS)
                if until < late <= following.end_ms - shortest:
                    until = late
                until = max(until - GAP_MS, min(until, start + shortest))
            if pushed:
                until = max(until, start + shortest)
            end = min(end, until)
        earliest = max(end, start + 1)
        yield _cue(cue, start, earliest)


def _cue(cue: _Untimed, start_ms: int, end_ms: int) -> Cue:
    beside = None if cue.beside is None else _cue(cue.beside, start_ms, end_ms)
    return Cue(start_ms, end_ms, cue.text, cue.run.speaker, cue.begins, beside)
