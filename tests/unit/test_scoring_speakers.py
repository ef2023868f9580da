"""Error rate of speaker turns, against cases counted by hand, a slow definition, and pyannote.metrics where it is installed."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.scoring.attribution import Attribution, Word, attribution
from dropscribe.scoring.diarization import DiarizationError, Turn, diarization_error, mapping
from dropscribe.scoring.turns import turns_of, words_of
from dropscribe.transcript.types import Segment, Tokens
from dropscribe.transcript.written.turns import turns_of as written_turns


def turns(*given: tuple[int, int, str]) -> tuple[Turn, ...]:
    return tuple(Turn(*one) for one in given)


REFERENCE = turns((0, 1000, "Ann"), (1000, 3000, "Bob"))


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (turns((0, 1000, "2"), (1000, 3000, "1")), DiarizationError(3000, 0, 0, 0)),
        (turns((0, 1500, "2"), (1500, 3000, "1")), DiarizationError(3000, 0, 0, 500)),
        (turns((0, 3000, "1")), DiarizationError(3000, 0, 0, 1000)),
        (turns((0, 900, "1"), (1000, 3200, "2")), DiarizationError(3000, 100, 200, 0)),
        ((), DiarizationError(3000, 3000, 0, 0)),
        # A third name cannot be mapped to either speaker.
        (turns((0, 1000, "1"), (1000, 2000, "2"), (2000, 3000, "3")), DiarizationError(3000, 0, 0, 1000)),
        # Two of the same name at once count once.
        (turns((0, 1000, "1"), (500, 1000, "1"), (1000, 3000, "2")), DiarizationError(3000, 0, 0, 0)),
        # Two at once where one talks: one is right, the other a false alarm.
        (turns((0, 3000, "1"), (1000, 3000, "2")), DiarizationError(3000, 0, 2000, 0)),
    ],
)
def test_cases_counted_by_hand(other: tuple[Turn, ...], expected: DiarizationError) -> None:
    assert diarization_error(REFERENCE, other) == expected


def test_borders_do_not_count_within_the_collar() -> None:
    other = turns((100, 1200, "1"), (1200, 3000, "2"))
    assert diarization_error(REFERENCE, other, collar_ms=250) == DiarizationError(2000, 0, 0, 0)
    assert diarization_error(REFERENCE, other, collar_ms=100) == DiarizationError(2600, 0, 0, 100)


def test_overlap_can_be_left_out() -> None:
    reference = turns((0, 2000, "Ann"), (1000, 3000, "Bob"))
    other = turns((0, 1500, "1"), (1500, 3000, "2"))
    assert diarization_error(reference, other) == DiarizationError(4000, 1000, 0, 0)
    assert diarization_error(reference, other, overlap=False) == DiarizationError(2000, 0, 0, 0)


@given(st.dictionaries(st.tuples(st.sampled_from("abcd"), st.sampled_from("wxyz")), st.integers(0, 50)))
def test_names_are_mapped_so_that_most_time_is_shared(shared: dict[tuple[str, str], int]) -> None:
    found = mapping(shared)
    assert len(set(found.values())) == len(found)
    best = max(
        sum(shared.get(pair, 0) for pair in zip("abcd", order, strict=True))
        for order in itertools.permutations("wxyz")
    )
    assert sum(shared[pair] for pair in found.items()) == best


def some_turns(seed: int, speakers: str) -> tuple[Turn, ...]:
    random_ = random.Random(seed)
    found = []
    for _ in range(random_.randint(1, 9)):
        start = random_.randint(0, 200)
        found.append(Turn(start, start + random_.randint(1, 60), random_.choice(speakers)))
    return tuple(found)


def slowly(reference: tuple[Turn, ...], other: tuple[Turn, ...]) -> DiarizationError:
    """Millisecond by millisecond, under the best of all mappings."""
    moments = [
        tuple(
            frozenset(t.speaker for t in side if t.start_ms <= at < t.end_ms) for side in (reference, other)
        )
        for at in range(300)
    ]
    best: DiarizationError | None = None
    for order in itertools.permutations("wxyz"):
        names = dict(zip("abcd", order, strict=True))
        total = missed = false_alarm = confusion = 0
        for one, two in moments:
            total += len(one)
            missed += max(0, len(one) - len(two))
            false_alarm += max(0, len(two) - len(one))
            confusion += min(len(one), len(two)) - sum(names[speaker] in two for speaker in one)
        if best is None or confusion < best.confusion_ms:
            best = DiarizationError(total, missed, false_alarm, confusion)
    assert best is not None
    return best


@pytest.mark.parametrize("seed", range(40))
def test_it_equals_the_slow_definition(seed: int) -> None:
    reference, other = some_turns(seed, "abcd"), some_turns(seed + 1000, "wxyz")
    assert diarization_error(reference, other) == slowly(reference, other)


@pytest.mark.parametrize("collar_ms", [0, 5])
def test_it_equals_pyannote(collar_ms: int) -> None:
    metrics = pytest.importorskip("pyannote.metrics.diarization", reason="pyannote.metrics is not installed")
    core = pytest.importorskip("pyannote.core")

    def annotation(side: tuple[Turn, ...]) -> object:
        found = core.Annotation()
        for i, t in enumerate(side):
            found[core.Segment(t.start_ms, t.end_ms), i] = t.speaker
        return found.support()

    for seed in range(30):
        reference, other = some_turns(seed, "abcd"), some_turns(seed + 1000, "wxyz")
        theirs = metrics.DiarizationErrorRate(collar=2 * collar_ms)(
            annotation(reference), annotation(other), detailed=True, uem=core.Timeline([core.Segment(0, 300)])
        )
        ours = diarization_error(reference, other, collar_ms=collar_ms)
        assert math.isclose(ours.total_ms, theirs["total"], abs_tol=1e-6)
        assert math.isclose(ours.missed_ms, theirs["missed detection"], abs_tol=1e-6)
        assert math.isclose(ours.false_alarm_ms, theirs["false alarm"], abs_tol=1e-6)
        assert math.isclose(ours.confusion_ms, theirs["confusion"], abs_tol=1e-6)


def test_words_are_counted_by_the_speaker_at_their_middle() -> None:
    said = [Word(at, "1") for at in (200, 900, 2500)] + [Word(at, "2") for at in (1100, 1500, 2000, 3500)]
    # Ann is 1, Bob is 2: the word at 2500 is wrong; nobody talks at 3500.
    assert attribution(REFERENCE, said) == Attribution(6, 1, 2, 2, 1, 1)
    both = turns((0, 1000, "Ann"), (0, 3000, "Bob"))
    assert attribution(both, said).wrong == 1, "where both talk, each is right"
    assert attribution(REFERENCE, []) == Attribution(0, 0, 2, 0, 1, 0)
    total = attribution(REFERENCE, said) + attribution(REFERENCE, [])
    assert (total.rate, total.files_right, total.files) == (1 / 6, 1, 2)


def test_turns_reach_to_the_borders_of_speech_and_meet_between_words() -> None:
    tokens = Tokens("今天好", (300, 700, 1500), (500, 900, 1700))
    segments = [
        Segment(0, 0, 2000, "今天好", tokens, speakers=bytes([1, 1, 2])),
        Segment(1, 3000, 4000, ""),
        Segment(2, 5000, 6000, "好", Tokens("好", (5100,), (5300,)), speakers=b"\2"),
    ]
    assert turns_of(segments) == turns((0, 1200, "1"), (1200, 2000, "2"), (5000, 6000, "2"))
    assert words_of(segments) == (Word(400, "1"), Word(800, "1"), Word(1600, "2"), Word(5200, "2"))
    assert turns_of([Segment(0, 0, 2000, "今天好", tokens)]) is None


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.data())
def test_turns_never_go_back(speakers: list[int], data: st.DataObject) -> None:
    times = data.draw(st.lists(st.integers(0, 900), min_size=len(speakers), max_size=len(speakers)))
    tokens = Tokens("字" * len(times), times, [t + 100 for t in times])
    found = written_turns([Segment(0, 0, 1000, "字" * len(times), tokens, speakers=bytes(speakers))])
    assert found[0].start_ms == 0
    assert all(t.start_ms <= t.end_ms for t in found)
    assert all(a.end_ms == b.start_ms for a, b in itertools.pairwise(found))
