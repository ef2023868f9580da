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

from collections.abc import Mapping
from typing import NamedTuple

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


class Window(NamedTuple):
    """Words `start` to `end`, exclusive, of a text."""

    start: int
    end: int


class Steps:
    """The steps of one text, as its words arrive.

    The marks of a window are one byte a word, codes of `dropscribe.transcript.written.marks`; they depend on its words only.
    """

    def __init__(self) -> None:
        self.marks = bytearray()  #: final ones, of the first words
        self._step = 0  #: the next one
        self._read: dict[Window, bytes] = {}
        #: End of a window → the last one read that ends there.
        self._last_read: dict[int, Window] = {}
        self._guess = b""  #: marks of all words from `_guess_start`
        self._guess_start = 0

    def due(self, words: int, *, complete: bool) -> int:
        """Number of steps that can be made of a text that has `words` words so far; `complete`: no more will come."""
        if complete:
            return -(-words // STEP) - self._step
        return max(0, (words - 1) // STEP - self._step)

    def wanted(self, words: int, *, complete: bool) -> list[Window]:
        """Windows to be read next; pass their marks to `accept`. Empty if no step is due."""
        due = self.due(words, complete=complete)
        if due <= 0:
            return []
        if not self._guess:
            if due < GUESSED:
                return [self._window(len(self.marks), self._step, words)]
            # So many words fill more than one window.
            return self._guess_windows(words)
        return self._chain(self._step + due, words)

    def accept(self, read: Mapping[Window, bytes], words: int, *, complete: bool) -> None:
        """Process the marks of the windows that `wanted` returned for the same arguments."""
        if not self._guess:
            if len(read) > 1:
                self._take_guess(read, words)
                return
            # The usual case: one step of a text of which few are due.
            ((window, found),) = read.items()
            self._make(found, last=complete and window.end == words)
            return
        due = self.due(words, complete=complete)
        self._read.update(read)
        self._last_read.update({window.end: window for window in read})
        for _ in range(due):
            window = self._window(len(self.marks), self._step, words)
            marks = self._read.get(window)
            if marks is None:
                return
            self._make(marks, last=complete and window.end == words)
        # No step is due: what was guessed has no further use.
        self._read, self._last_read, self._guess = {}, {}, b""

    def _make(self, marks: bytes, *, last: bool) -> None:
        """Make the next step, whose window has these marks; `last`: it ends with the text."""
        self.marks += marks if last else final_part(marks)
        self._step += 1

    def _window(self, start: int, step: int, words: int) -> Window:
        return Window(start, min((step + 1) * STEP, words))

    def _chain(self, steps: int, words: int) -> list[Window]:
        """Windows up to step `steps` that have not been read, if each starts where it is expected to."""
        wanted = []
        start = len(self.marks)
        for step in range(self._step, steps):
            window = self._window(start, step, words)
            if window in self._read:
                start += len(final_part(self._read[window]))
            else:
                wanted.append(window)
                start += len(final_part(self._expected(window)))
        return wanted

    def _expected(self, window: Window) -> bytes:
        """Expected marks of a window: those of one that ended there and began elsewhere, else the guess."""
        other = self._last_read.get(window.end)
        if other is None:
            return self._guess[window.start - self._guess_start : window.end - self._guess_start]
        marks = self._read[other]
        if other.start <= window.start:
            return marks[window.start - other.start :]
        before = self._guess[window.start - self._guess_start : other.start - self._guess_start]
        return before + marks

    def _guess_windows(self, words: int) -> list[Window]:
        stride = GUESS_WINDOW - 2 * GUESS_EDGE
        starts = range(len(self.marks), max(len(self.marks) + 1, words - 2 * GUESS_EDGE), stride)
        return [Window(start, min(start + GUESS_WINDOW, words)) for start in starts]

    def _take_guess(self, read: Mapping[Window, bytes], words: int) -> None:
        """Join the marks of overlapping windows."""
        self._guess_start = len(self.marks)
        guess = bytearray()
        for window in sorted(read):
            skipped = self._guess_start + len(guess) - window.start
            kept = window.end - window.start if window.end == words else GUESS_WINDOW - GUESS_EDGE
            guess += read[window][skipped:kept]
        self._guess = bytes(guess)


def final_part(marks: bytes) -> bytes:
    """The final marks of a window that is not the last; the words behind them are read again in the next step."""
    words = len(marks)
    # Neither the first two words of a window nor its last one can end it.
    cut = max(marks.rfind(FULL_STOP, 2, words - 1), marks.rfind(QUESTION, 2, words - 1))
    if cut >= 0:
        return marks[: cut + 1]
    if words > LONG and (cut := marks.rfind(COMMA, 2, words - 1)) >= 0:
        return marks[:cut] + bytes((FULL_STOP,))
    return marks[: words - STEP] if words > LONGEST else b""
