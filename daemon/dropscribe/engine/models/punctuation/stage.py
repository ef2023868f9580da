"""The postprocessing stage that punctuates texts while they are recognised.

Segments arrive in any order; what is read is the part of a text without gaps. One pass over the network reads the next
step of all texts that have one due. So the marks of a text depend neither on the texts beside it nor on how its
segments were batched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dropscribe.engine.core.interfaces import Hypothesis, SpeechSegment
from dropscribe.engine.models.punctuation.model import PunctuationModel
from dropscribe.engine.models.punctuation.steps import Steps, Window
from dropscribe.engine.models.punctuation.words import marks_of_tokens
from dropscribe.engine.protocol import Annotations, StreamOptions
from dropscribe.errors import EngineError
from dropscribe.transcript.written import marks

NAME = "punctuation"
#: The setting for the model of the engine.
AUTO = "auto"
#: Endings of a last word that has no mark and gets none: it ends with one itself.
_STOPS = frozenset("。？.?")


class _Text:
    """The text of one stream. Owned by the worker's thread."""

    def __init__(self, model: PunctuationModel) -> None:
        self.model = model
        self.seconds = 0.0
        self._splitter = model.splitter()
        self._steps = Steps()
        self._complete = False
        #: Segments behind a gap: number → texts of the tokens.
        self._waiting: dict[int, Sequence[str]] = {}
        self._segments = 0  #: those without a gap
        self._tokens = 0  #: in these

    def add(self, segment: int, texts: Sequence[str]) -> None:
        """Add a segment; without effect if it is known."""
        if segment < self._segments:
            return
        self._waiting[segment] = texts
        while self._segments in self._waiting:
            following = self._waiting.pop(self._segments)
            self._splitter.add(following)
            self._segments += 1
            self._tokens += len(following)

    def end(self) -> None:
        """Note that all segments have been added."""
        self._splitter.close()
        self._complete = True

    def wanted(self) -> list[Window]:
        """Windows to be read next."""
        return self._steps.wanted(len(self._splitter.ids), complete=self._complete)

    def ids(self, window: Window) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        """Numbers of the words of a window."""
        return np.array(self._splitter.ids[window.start : window.end], np.int32)

    def accept(self, read: Mapping[Window, bytes]) -> None:
        """Process the marks of the windows that `wanted` returned."""
        self._steps.accept(read, len(self._splitter.ids), complete=self._complete)

    def marks(self) -> bytes:
        """The mark after each token, when nothing is wanted any more."""
        found = bytearray(self._steps.marks)
        if found and found[-1] not in marks.ENDS and (found[-1] or self._splitter.last[-1] not in _STOPS):
            found[-1] = marks.FULL_STOP
        return marks_of_tokens(self._splitter.ends, bytes(found), self._tokens)


class Punctuation:
    """See `dropscribe.engine.core.interfaces.PostprocessingStage`."""

    name = NAME

    def __init__(
        self,
        models: Mapping[str, PunctuationModel],
        default: str,
        *,
        passes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """models: by name. default: the one for "auto"; "": none, for a recogniser that writes marks itself.

        passes: most passes after a batch. What remains due is read after the next one, or when the stream ends.
        """
        self._models = models
        self._default = default
        self._passes = passes
        self._clock = clock
        self._texts: dict[int, _Text] = {}

    def wants(self, options: StreamOptions) -> bool:
        """True for a stream that is to be punctuated."""
        return bool(self._name_of(options))

    def recognised(self, segments: Sequence[SpeechSegment], hypotheses: Sequence[Hypothesis]) -> None:
        """Add the segments to their texts and read what is due."""
        for segment, hypothesis in zip(segments, hypotheses, strict=True):
            self._text_of(segment).add(segment.index, hypothesis.tokens.texts)
        texts = [self._texts[stream] for stream in dict.fromkeys(s.stream for s in segments)]
        for _ in range(self._passes):
            if not self._pass(texts):
                break

    def finish(self, streams: Sequence[int]) -> Mapping[int, Annotations]:
        """Read the rest of the streams' texts."""
        texts = {stream: self._texts[stream] for stream in streams if stream in self._texts}
        for text in texts.values():
            text.end()
        while self._pass(list(texts.values())):
            pass
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

    def _name_of(self, options: StreamOptions) -> str:
        return self._default if options.punctuation == AUTO else options.punctuation

    def _text_of(self, segment: SpeechSegment) -> _Text:
        text = self._texts.get(segment.stream)
        if text is None:
            name = self._name_of(segment.options)
            model = self._models.get(name)
            if model is None:
                raise EngineError(
                    f"the model {name} is not loaded",
                    operation="punctuate",
                    remedy="restart the daemon, which loads the models of all profiles",
                )
            text = self._texts[segment.stream] = _Text(model)
        return text

    def _pass(self, texts: Sequence[_Text]) -> bool:
        """Read the next windows of texts; false if there are none."""
        wanted = [(text, window) for text in texts for window in text.wanted()]
        for model in dict.fromkeys(text.model for text, _ in wanted):
            self._read(model, [(text, window) for text, window in wanted if text.model is model])
        return bool(wanted)

    def _read(self, model: PunctuationModel, wanted: Sequence[tuple[_Text, Window]]) -> None:
        started = self._clock()
        read: dict[_Text, dict[Window, bytes]] = {}
        made = model.read([text.ids(window) for text, window in wanted])
        for (text, window), marks_read in zip(wanted, made, strict=True):
            read.setdefault(text, {})[window] = marks_read
        for text, of_text in read.items():
            text.accept(of_text)
        words = {text: sum(map(len, of_text.values())) for text, of_text in read.items()}
        a_word = (self._clock() - started) / sum(words.values())
        for text, count in words.items():
            text.seconds += a_word * count
