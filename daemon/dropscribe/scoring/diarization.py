"""Error rate of speaker turns (DER): time that is missed, falsely taken as speech, or given to the wrong speaker.

As defined by NIST's Rich Transcription evaluation (md-eval): where n speakers of the reference talk and m of the other,
the shorter of both may be confusion, the rest is missed or false alarm; names are mapped one to one so that the least
time is confused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Turn:
    """A time in which a speaker talks, ms."""

    start_ms: int
    end_ms: int
    speaker: str


@dataclass(frozen=True, slots=True)
class DiarizationError:
    """Speaker time of the reference, and errors in it, ms. Can be added."""

    total_ms: int = 0
    missed_ms: int = 0
    false_alarm_ms: int = 0
    confusion_ms: int = 0

    def __add__(self, other: DiarizationError) -> DiarizationError:
        return DiarizationError(
            self.total_ms + other.total_ms,
            self.missed_ms + other.missed_ms,
            self.false_alarm_ms + other.false_alarm_ms,
            self.confusion_ms + other.confusion_ms,
        )

    @property
    def rate(self) -> float | None:
        """Errors per speaker time of the reference; None if nobody talks in it."""
        wrong = self.missed_ms + self.false_alarm_ms + self.confusion_ms
        return wrong / self.total_ms if self.total_ms else None


def diarization_error(
    reference: Sequence[Turn], other: Sequence[Turn], *, collar_ms: int = 0, overlap: bool = True
) -> DiarizationError:
    """Compare the turns of one recording.

    `collar_ms`: so much before and after each border of a turn of the reference does not count. `overlap` False: times in
    which several speakers of the reference talk do not count.
    """
    spans = list(_spans(reference, other, collar_ms))
    if not overlap:
        spans = [span for span in spans if len(span.reference) <= 1]
    shared: Counter[tuple[str, str]] = Counter()
    for span in spans:
        for one in span.reference:
            for two in span.other:
                shared[one, two] += span.length_ms
    names = mapping(shared)
    total = missed = false_alarm = confusion = 0
    for span in spans:
        n, m = len(span.reference), len(span.other)
        right = sum(names.get(one) in span.other for one in span.reference)
        total += n * span.length_ms
        missed += max(0, n - m) * span.length_ms
        false_alarm += max(0, m - n) * span.length_ms
        confusion += (min(n, m) - right) * span.length_ms
    return DiarizationError(total, missed, false_alarm, confusion)


def mapping(shared: Mapping[tuple[str, str], int]) -> dict[str, str]:
    """Pair speakers one to one so that the time they share is longest in sum. `shared`: ms by (speaker, other speaker)."""
    rows = sorted({one for one, _ in shared})
    columns = sorted({two for _, two in shared})
    size = max(len(rows), len(columns))
    cost = [
        [
            -shared.get((rows[i], columns[j]), 0) if i < len(rows) and j < len(columns) else 0
            for j in range(size)
        ]
        for i in range(size)
    ]
    found = {}
    for i, j in enumerate(_assignment(cost)):
        if i < len(rows) and j < len(columns) and shared.get((rows[i], columns[j]), 0) > 0:
            found[rows[i]] = columns[j]
    return found


def _assignment(cost: Sequence[Sequence[int]]) -> list[int]:
    """Column of each row of a square matrix with the least sum of costs.

    Hungarian method with potentials, one row after the other by a shortest augmenting path (Jonker and Volgenant, 1987);
    cubic in the number of rows.
    """
    size = len(cost)
    row_potential, column_potential = [0] * (size + 1), [0] * (size + 1)
    row_of = [0] * (size + 1)  # by column; both count from 1, 0 is none
    for row in range(1, size + 1):
        row_of[0], column = row, 0
        least: list[float] = [float("inf")] * (size + 1)
        before, visited = [0] * (size + 1), [False] * (size + 1)
        while row_of[column]:
            visited[column] = True
            current, delta, following = row_of[column], float("inf"), 0
            for j in range(1, size + 1):
                if visited[j]:
                    continue
                reduced = cost[current - 1][j - 1] - row_potential[current] - column_potential[j]
                if reduced < least[j]:
                    least[j], before[j] = reduced, column
                if least[j] < delta:
                    delta, following = least[j], j
            for j in range(size + 1):
                if visited[j]:
                    row_potential[row_of[j]] += int(delta)
                    column_potential[j] -= int(delta)
                else:
                    least[j] -= delta
            column = following
        while column:
            row_of[column], column = row_of[before[column]], before[column]
    columns = [0] * size
    for j in range(1, size + 1):
        columns[row_of[j] - 1] = j - 1
    return columns


@dataclass(frozen=True, slots=True)
class _Span:
    """A time in which the same speakers talk throughout."""

    length_ms: int
    reference: frozenset[str]
    other: frozenset[str]


def _spans(reference: Sequence[Turn], other: Sequence[Turn], collar_ms: int) -> Iterable[_Span]:
    """Times that count, divided at each border."""
    closed = _merged((b - collar_ms, b + collar_ms) for b in _borders(reference)) if collar_ms else []
    changes: dict[int, list[tuple[int, str, int]]] = {}
    for side, turns in enumerate((reference, other)):
        for turn in turns:
            if turn.end_ms > turn.start_ms:
                changes.setdefault(turn.start_ms, []).append((side, turn.speaker, 1))
                changes.setdefault(turn.end_ms, []).append((side, turn.speaker, -1))
    for start, end in closed:
        changes.setdefault(start, []).append((2, "", 1))
        changes.setdefault(end, []).append((2, "", -1))
    # Counted, because turns of the same speaker may overlap.
    active: tuple[Counter[str], Counter[str], Counter[str]] = (Counter(), Counter(), Counter())
    for at, following in pairwise(sorted(changes)):
        for side, speaker, step in changes[at]:
            active[side][speaker] += step
        if not active[2][""]:
            yield _Span(following - at, _talking(active[0]), _talking(active[1]))


def _talking(active: Counter[str]) -> frozenset[str]:
    return frozenset(speaker for speaker, turns in active.items() if turns > 0)


def _borders(turns: Sequence[Turn]) -> Iterable[int]:
    """Starts and ends of turns; turns of one speaker that touch or overlap are one."""
    for speaker in {turn.speaker for turn in turns}:
        for span in _merged((t.start_ms, t.end_ms) for t in turns if t.speaker == speaker):
            yield from span


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found
