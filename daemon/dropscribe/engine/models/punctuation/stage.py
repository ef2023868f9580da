"""The postprocessing stage that punctuates texts while they are recognised.

Segments arrive in any order; what is read is the part of a text without gaps. One pass over the network reads the next
step of all texts that have one due. So the marks of a text depend neither on the texts beside it nor on how its
segments were batched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from dropscribe.engine.core.interfaces import Hypothesis, SpeechSegment
from dropscribe.engine.core.turns import TURNS
from dropscribe.engine.models.punctuation.model import PunctuationModel
from dropscribe.engine.models.punctuation.steps import Steps, Window
from dropscribe.engine.models.punctuation.words import Numbers, Words, marks_of_tokens
from dropscribe.engine.protocol import Annotations, StreamOptions
from dropscribe.transcript.written import marks

NAME = "punctuation"
#: Endings of a last word that has no mark and gets none: it ends with one itself.
_STOPS = frozenset("。？.?")


class _Text:
    """The text of one stream. Owned by the thread of the stage."""

    __slots__ = ("_segments", "_waiting", "complete", "seconds", "steps", "words")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.words = Words()
        self.steps = Steps()
        self.complete = False  #: all segments have been added
        #: Segments behind a gap: number → texts of the tokens.
        self._waiting: dict[int, Sequence[str]] = {}
        self._segments = 0  #: those without a gap

    def put(self, segment: int, texts: Sequence[str]) -> None:
        """Keep the tokens of a segment for `ready`, unless it is known."""
        if segment >= self._segments:
            self._waiting[segment] = texts

    def ready(self) -> list[Sequence[str]]:
        """Tokens of the segments that follow those without a gap, up to the next gap: these have no gap either now."""
        found = []
        number, waiting = self._segments, self._waiting
        while number in waiting:
            found.append(waiting.pop(number))
            number += 1
        self._segments = number
        return found

    def marks(self) -> bytes:
        """The mark after each token, when nothing is wanted any more."""
        found = bytearray(self.steps.marks)
        if found and found[-1] not in marks.ENDS and (found[-1] or self.words.last[-1] not in _STOPS):
            found[-1] = marks.FULL_STOP
        return marks_of_tokens(self.words.ends.values, bytes(found), self.words.tokens)


class Punctuation:
    """See `dropscribe.engine.core.interfaces.PostprocessingStage`."""

    name = NAME

    def __init__(
        self,
        model_name: str,
        model: PunctuationModel,
        *,
        passes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """passes: most passes after a batch. What remains due is read after the next one, or when the stream ends."""
        self._model_name = model_name
        self._model = model
        self._passes = passes
        self._clock = clock
        self._texts: dict[int, _Text] = {}

    def wants(self, options: StreamOptions) -> bool:
        """True for a stream that is to be punctuated by this model."""
        return options.punctuation == self._model_name

    def recognised(self, segments: Sequence[SpeechSegment], hypotheses: Sequence[Hypothesis]) -> None:
        """Add the segments to their texts and read what is due."""
        known = self._texts
        with TURNS:
            for segment, hypothesis in zip(segments, hypotheses, strict=True):
                stream = segment.stream
                text = known.get(stream)
                if text is None:
                    text = known[stream] = _Text()
                text.put(segment.index, hypothesis.tokens.texts)
            texts = [known[stream] for stream in dict.fromkeys([s.stream for s in segments])]
            self._model.splitter.add([(text.words, found) for text in texts if (found := text.ready())])
        for _ in range(self._passes):
            if not texts:
                break
            texts = self._pass(texts)

    def finish(self, streams: Sequence[int]) -> Mapping[int, Annotations]:
        """Read the rest of the streams' texts."""
        texts = {stream: self._texts[stream] for stream in streams if stream in self._texts}
        self._model.splitter.close([text.words for text in texts.values()])
        for text in texts.values():
            text.complete = True
        due = list(texts.values())
        while due:
            due = self._pass(due)
        made = {
            stream: Annotations(marks=text.marks(), seconds=((NAME, text.seconds),))
            for stream, text in texts.items()
        }
        for stream in texts:
            del self._texts[stream]
        return made

    def drop(self, stream: int) -> None:
        """Discard the text of a stream."""
        self._texts.pop(stream, None)

    def _pass(self, texts: Sequence[_Text]) -> list[_Text]:
        """Read the next windows of texts; returns those that had some, and may have more."""
        with TURNS:
            wanted = [
                (text, windows)
                for text in texts
                if (windows := text.steps.wanted(text.words.ids.count, complete=text.complete))
            ]
        if wanted:
            self._read(wanted)
        return [text for text, _ in wanted]

    def _read(self, wanted: Sequence[tuple[_Text, list[Window]]]) -> None:
        started = self._clock()
        ids: list[Numbers] = []
        for text, windows in wanted:
            ids += text.words.ids.parts(windows)
        marks = self._model.read(ids)
        at = 0
        words = []
        with TURNS:
            for text, windows in wanted:
                count = text.words.ids.count
                until = text.steps.accept(windows, marks, at, count, complete=text.complete)
                words.append(until - at)
                at = until
        a_word = (self._clock() - started) / at
        for (text, _), own in zip(wanted, words, strict=True):
            text.seconds += a_word * own
