"""Which words the network reads together, and which of its marks are final: FunASR's rules for CT-Transformer. Pure.

Chen, Chen, Li and Wang, "Controllable Time-Delay Transformer for Real-Time Punctuation Prediction and Disfluency
Detection" (2020); the rules are those of FunASR's `CTTransformer.inference`. A text is read in steps of 20 words. A step
reads a *window*: the words kept from the step before, and the next 20. What is before the last sentence end of the
window is final, the rest is kept. The last step reads all that is left.

The steps of a text depend on each other, so one after another they take hundreds of passes over the network for a long
text. If many are due at once, their windows are guessed, read in the same pass, and those that began at the wrong word
are read again: the marks are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dropscribe.transcript.written.marks import COMMA, FULL_STOP, QUESTION

#: Words per step.
STEP = 20
#: A longer window without a sentence end is cut at its last comma, which becomes a full stop.
LONG = 200
#: Words after which the marks of a window without comma or sentence end are final, except for the last step: otherwise
#: the windows of a text without marks, such as one in another language, would grow without bound. FunASR has no limit.
LONGEST = 1000
#: Steps due at once from which on windows are guessed: they cost 1.3 times the words, and save most of the passes.
GUESSED = 16
#: Windows for the guess, words: their length, and what is not used at their edges, for lack of context.
GUESS_WINDOW = 128
GUESS_EDGE = 16


#: Words of a text that are read together: the first, and the one behind the last.
Window = tuple[int, int]


class _Guess:
    """Marks of windows of one length, which others probably have, too. Immutable."""

    def __init__(self, marks: bytes, start: int, step: int) -> None:
        """marks: of the words from `start` on; step: the next one."""
        self.marks, self.start, self.step = marks, start, step
        made = np.frombuffer(marks, np.uint8)
        #: For each step from `step` on: the last word with a sentence end before the last word of the step, or `start` - 1.
        self.ends = self._last_of_each_step((made == FULL_STOP) | (made == QUESTION))
        #: The same of commas.
        self.commas = self._last_of_each_step(made == COMMA)

    def _last_of_each_step(self, chosen: NDArray[np.bool_]) -> list[int]:
        words = np.concatenate(([-1], chosen.nonzero()[0])) + self.start
        ends = np.arange(self.step + 1, (self.start + len(self.marks)) // STEP + 1) * STEP
        found: list[int] = words[np.searchsorted(words, ends - 1) - 1].tolist()
        return found


class Steps:
    """The steps of one text, as its words arrive.

    The marks of a window are one byte a word, codes of `dropscribe.transcript.written.marks`; they depend on its words only.
    A GPU reads hundreds of thousands of windows a minute for one interpreter, so windows are plain tuples, and their marks
    are not cut out of those of the pass.
    """

    def __init__(self) -> None:
        self.marks = bytearray()  #: final ones, of the first words
        self._step = 0  #: the next one
        self._guess: _Guess | None = None
        #: Marks of the windows that were read since the guess, one after another.
        self._found = bytearray()
        #: Window → place of its first mark in `_found`, and its `final_words`.
        self._read: dict[Window, tuple[int, int]] = {}
        #: End of a window → the last one read that ends there.
        self._last_read: dict[int, Window] = {}

    def due(self, words: int, *, complete: bool) -> int:
        """Number of steps that can be made of a text that has `words` words so far, if it is above 0.

        complete: no more will come.
        """
        due = -(-words // STEP) if complete else (words - 1) // STEP
        return due - self._step

    def wanted(self, words: int, *, complete: bool) -> list[Window]:
        """Windows to be read next; pass their marks to `accept`. Empty if no step is due."""
        due = self.due(words, complete=complete)
        if due <= 0:
            return []
        if self._guess is None:
            if due < GUESSED:
                return [(len(self.marks), min((self._step + 1) * STEP, words))]
            # So many words fill more than one window.
            return self._guess_windows(words)
        return self._chain(self._guess, self._step + due, words)

    def accept(self, read: Sequence[Window], marks: bytes, at: int, words: int, *, complete: bool) -> int:
        """Process the marks of the windows that `wanted` returned for the same arguments.

        marks: those of a pass; from `at` on there are those of these windows, one after another. Returns the place behind
        them.
        """
        if self._guess is None:
            if len(read) > 1:
                return self._take_guess(read, marks, at, words)
            # The usual case: one step of a text of which few are due.
            start, end = read[0]
            until = at + end - start
            last = complete and end == words
            self._make(marks, at, until - at if last else final_words(marks, at, until), last=last)
            return until
        found, known, last_read = self._found, self._read, self._last_read
        offset = len(found) - at
        until = at
        for window in read:
            start, end = window
            first, until = until, until + end - start
            known[window] = offset + first, final_words(marks, first, until)
            last_read[end] = window
        found += marks[at:until]
        end = self._step * STEP
        for _ in range(self.due(words, complete=complete)):
            start, end = len(self.marks), min(end + STEP, words)
            place = known.get((start, end))
            if place is None:
                return until
            first, final = place
            last = complete and end == words
            self._make(found, first, end - start if last else final, last=last)
        # No step is due: what was guessed has no further use.
        self._guess, self._found, self._read, self._last_read = None, bytearray(), {}, {}
        return until

    def _make(self, marks: bytes | bytearray, first: int, final: int, *, last: bool) -> None:
        """Make the next step, of whose window `final` marks are final, from `first` on; `last`: it ends with the text."""
        self._step += 1
        if final:
            self.marks += marks[first : first + final]
            # Before the last step a comma is the last one only if the window is cut there.
            if not last and self.marks[-1] == COMMA:
                self.marks[-1] = FULL_STOP

    def _chain(self, guess: _Guess, steps: int, words: int) -> list[Window]:
        """Windows up to step `steps` that have not been read, if each starts where it is expected to."""
        wanted: list[Window] = []
        known, last_read = self._read, self._last_read
        ends, commas, first = guess.ends, guess.commas, guess.step
        guessed = first + len(ends)
        start, end = len(self.marks), self._step * STEP
        for step in range(self._step, steps):
            end = min(end + STEP, words)
            window = start, end
            place = known.get(window)
            if place is not None:
                start += place[1]
                continue
            wanted.append(window)
            if step < guessed and end not in last_read:
                start += _final(end - start, ends[step - first] - start, commas[step - first] - start)
            else:
                start += final_words(*self._expected(guess, start, end))
        return wanted

    def _expected(self, guess: _Guess, start: int, end: int) -> tuple[bytes | bytearray, int, int]:
        """Expected marks of a window: those of one that ended there and began elsewhere, else the guess.

        Returned as marks that contain them, and their places as for `final_words`. Words that have arrived since the guess
        have none.
        """
        origin = guess.start
        other = self._last_read.get(end)
        if other is None:
            return guess.marks, start - origin, min(end - origin, len(guess.marks))
        place, _ = self._read[other]
        until = place + end - other[0]
        if other[0] <= start:
            return self._found, place + start - other[0], until
        made = guess.marks[start - origin : other[0] - origin] + self._found[place:until]
        return made, 0, len(made)

    def _guess_windows(self, words: int) -> list[Window]:
        stride = GUESS_WINDOW - 2 * GUESS_EDGE
        starts = range(len(self.marks), max(len(self.marks) + 1, words - 2 * GUESS_EDGE), stride)
        return [(start, min(start + GUESS_WINDOW, words)) for start in starts]

    def _take_guess(self, read: Sequence[Window], marks: bytes, at: int, words: int) -> int:
        """Join the marks of overlapping windows. See `accept`."""
        first = len(self.marks)
        guess = bytearray()
        for start, end in read:
            skipped = first + len(guess) - start
            kept = end - start if end == words else GUESS_WINDOW - GUESS_EDGE
            guess += marks[at + skipped : at + kept]
            at += end - start
        self._guess = _Guess(bytes(guess), first, self._step)
        return at


def final_words(marks: bytes | bytearray, first: int, until: int) -> int:
    """Number of words of a window whose marks are final, unless it is the last one; those behind them are read again.

    The marks of the window are those from `first` to `until`. A comma behind the last of these words becomes a full stop.
    """
    # Neither the first two words of a window nor its last one can end it.
    end = marks.rfind(FULL_STOP, first + 2, until - 1)
    question = marks.rfind(QUESTION, first + 2 if end < 0 else end, until - 1)
    if question >= 0:
        return question + 1 - first
    if end >= 0:
        return end + 1 - first
    words = until - first
    return _final(words, -1, marks.rfind(COMMA, first + 2, until - 1) - first) if words > LONG else 0


def _final(words: int, end: int, comma: int) -> int:
    """`final_words` of a window of so many words; end, comma: its last words with such a mark, without its last one."""
    if end >= 2:
        return end + 1
    if words > LONG and comma >= 2:
        return comma + 1
    return words - STEP if words > LONGEST else 0
