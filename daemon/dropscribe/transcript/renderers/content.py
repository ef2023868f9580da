"""Input of the renderers, and what several of them write alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property

from dropscribe import __version__
from dropscribe.records import sent
from dropscribe.transcript.layout.cues import Cue, Limits, cues
from dropscribe.transcript.remarks import Remark, remarks
from dropscribe.transcript.types import CHANNEL, TRACK, Transcript
from dropscribe.transcript.written import fillers, numbers
from dropscribe.transcript.written.runs import Rules, Run, runs_of
from dropscribe.transcript.written.sentences import Paragraph, Sentence, paragraphs_of, sentences_of
from dropscribe.transcript.written.speakers import colon_of, labels_of, language_of
from dropscribe.transcript.written.turns import SpokenTurn, turns_of
from dropscribe.transcript.written.units import width

#: Probability below which a word is marked in formats for people: of those below, about two thirds are wrong.
UNSURE = 0.5
UNSURE_NOTE = "Underlined with dots: words of which the model was not sure."
#: Kinds of speakers that are recorded apart, and may speak at once.
_APART = frozenset({CHANNEL, TRACK})


@sent
@dataclass(frozen=True, slots=True)
class Options:
    """Options of a profile that affect the content of files; fields are named as in the profile."""

    subtitle_max_chars: int | None = None
    subtitle_max_s: float = 7.0
    subtitle_pause_ms: int = 400
    numbers: str = "off"  #: "off" or "written": in figures
    fillers: str = "keep"  #: "keep" or "leave out"
    txt_times: bool = False
    txt_speakers: bool = True

    @classmethod
    def of(cls, profile: object) -> Options:
        """The options of a profile (of `dropscribe.settings`)."""
        return cls(**{field.name: getattr(profile, field.name) for field in fields(cls)})


class Content:
    """Input of the renderers for one job; values that several formats use are computed once.

    `version`: of the dropscribe that writes the files, or wrote them.
    """

    def __init__(self, transcript: Transcript, options: Options, version: str = __version__) -> None:
        self.transcript = transcript
        self.version = version
        self.options = options

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """What one speaker says in one segment, as written."""
        rules = Rules(
            numbers=numbers.replacements if self.options.numbers == "written" else None,
            fillers=fillers.replacements if self.options.fillers == "leave out" else None,
        )
        return runs_of(self.transcript.segments, rules)

    @cached_property
    def turns(self) -> tuple[SpokenTurn, ...]:
        """Who speaks when."""
        return turns_of(self.transcript.segments)

    @cached_property
    def sentences(self) -> tuple[Sentence, ...]:
        """Sentences; a segment without marks is one."""
        apart = {s.number for s in self.transcript.speakers if s.kind in _APART}
        return sentences_of(self.runs, apart)

    @cached_property
    def paragraphs(self) -> tuple[Paragraph, ...]:
        """Paragraphs of sentences; a segment without marks is one."""
        return paragraphs_of(self.sentences)

    @cached_property
    def text(self) -> str:
        """The text that people read, a paragraph a line."""
        return "\n".join([paragraph.text for paragraph in self.paragraphs])

    @cached_property
    def language(self) -> str:
        """Language of the text, by its script."""
        return language_of(self.transcript.text)

    @cached_property
    def labels(self) -> Mapping[int, str]:
        """Names of speakers to show, by number; empty if they were not asked for."""
        if not any(turn.speaker for turn in self.turns):
            return {}
        return labels_of(self.turns, self.transcript.speakers, self.language)

    def label(self, speaker: int) -> str:
        """What precedes the text of a speaker, `Alice: `; "" for one who is not known."""
        name = self.labels.get(speaker)
        return "" if name is None else name + colon_of(self.language)

    @cached_property
    def cues(self) -> tuple[Cue, ...]:
        """Subtitle cues, without remarks."""
        options = self.options
        limits = Limits(options.subtitle_max_chars, options.subtitle_max_s, options.subtitle_pause_ms)
        return cues(self.runs, limits, {n: width(self.label(n)) for n in self.labels})

    @cached_property
    def remarks(self) -> tuple[Remark, ...]:
        """All remarks."""
        return remarks(self.transcript)

    @property
    def shown_remarks(self) -> tuple[Remark, ...]:
        """Those for files whose whole content is shown to an audience or read by programs: without the notice."""
        return tuple(r for r in self.remarks if r.kind != "notice")


#: The bytes of one file, UTF-8 unless the format says otherwise; the same for equal input.
Renderer = Callable[[Content], bytes]


def encode(text: str) -> bytes:
    """Encode as UTF-8; a lone surrogate, which has no UTF-8 form, becomes a backslash escape."""
    return text.encode("utf-8", "backslashreplace")
