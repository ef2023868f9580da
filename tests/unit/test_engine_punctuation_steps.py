"""The steps of punctuation give the marks of FunASR's loop, however a text arrives."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropscribe.engine.models.punctuation import steps
from dropscribe.engine.models.punctuation.steps import STEP, Steps, Window
from dropscribe.transcript.written.marks import COMMA, ENDS, FULL_STOP


def network(seed: int, rarity: int) -> Mapping[Window, bytes]:
    """Marks that depend on the window and the word, as those of a network do; most words have none."""

    class Marks(dict[Window, bytes]):
        def __missing__(self, window: Window) -> bytes:
            # Most words have the same mark in every window, as in a good model.
            made = bytes(
                _mark(
                    f"{seed} {word}"
                    if random.Random(f"{seed} {window} {word}").random() < 0.9
                    else f"{seed} {window} {word}",
                    rarity,
                )
                for word in range(*window)
            )
            return self.setdefault(window, made)

    return Marks()


def _mark(key: str, rarity: int) -> int:
    number = random.Random(key).randrange(rarity)
    return number if number < 5 else 0


def plain_loop(marks: Mapping[Window, bytes], words: int) -> bytes:
    """FunASR's loop, written out: one step after another over the whole text."""
    done = bytearray()
    for first in range(0, words, STEP):
        window = (len(done), min(first + STEP, words))
        read = bytearray(marks[window])
        if window[1] == words:
            return bytes(done + read)
        cut = comma = -1
        for i in range(len(read) - 2, 1, -1):
            if read[i] in ENDS:
                cut = i
                break
            if comma < 0 and read[i] == COMMA:
                comma = i
        if cut < 0 and len(read) > 200 and comma >= 0:
            cut = comma
            read[cut] = FULL_STOP
        done += read[: cut + 1]
    return bytes(done)


def run(marks: Mapping[Window, bytes], arrivals: list[int], passes: int = 3) -> tuple[bytes, int]:
    """The marks when words arrive a few at a time, with some passes in between; also the number of passes."""
    text, words, count = Steps(), 0, 0

    def read(most: int | None, *, complete: bool) -> None:
        nonlocal count
        made = 0
        while (most is None or made < most) and (wanted := text.wanted(words, complete=complete)):
            assert len(set(wanted)) == len(wanted)
            read = b"".join(marks[window] for window in wanted)
            # Those of other texts stand before and behind.
            until = text.accept(wanted, b"\x03" + read + b"\x03", 1, words, complete=complete)
            assert until == 1 + len(read)
            made += 1
        count += made

    for arrival in arrivals:
        words += arrival
        read(passes, complete=False)
    read(None, complete=True)
    return bytes(text.marks), count


@settings(max_examples=60)
@given(
    st.integers(0, 1000),
    st.sampled_from((8, 30, 120)),
    st.lists(st.integers(0, 130), max_size=12),
    st.integers(0, 4),
)
def test_the_marks_are_those_of_the_plain_loop(
    seed: int, rarity: int, arrivals: list[int], passes: int
) -> None:
    marks = network(seed, rarity)
    assert run(marks, arrivals, passes)[0] == plain_loop(marks, sum(arrivals))


@pytest.mark.parametrize("rarity", [10, 40])
def test_a_long_text_that_is_there_at_once_takes_few_passes(rarity: int) -> None:
    marks = network(1, rarity)
    made, passes = run(marks, [3000])
    assert made == plain_loop(marks, 3000)
    assert passes < 3000 / STEP / 4


def test_a_long_window_without_sentence_end_is_cut_at_its_last_comma() -> None:
    class Commas(dict[Window, bytes]):
        def __missing__(self, window: Window) -> bytes:
            return bytes(COMMA if word in (100, 150) else 0 for word in range(*window))

    text = Steps()
    for words in range(30, 231, STEP):
        assert text.marks == b""
        (window,) = text.wanted(words, complete=False)
        text.accept([window], Commas()[window], 0, words, complete=False)
    made = bytearray(Commas()[0, 151])
    made[150] = FULL_STOP
    assert text.marks == made


def test_windows_of_a_text_without_marks_stay_bounded() -> None:
    seen = []

    class Nothing(dict[Window, bytes]):
        def __missing__(self, window: Window) -> bytes:
            seen.append(window[1] - window[0])
            return bytes(window[1] - window[0])

    made, _ = run(Nothing(), [50] * 60)
    assert made == bytes(3000)
    assert max(seen) <= steps.LONGEST + STEP
