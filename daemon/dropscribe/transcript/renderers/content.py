"""Input of the renderers, and what several of them write alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from dropscribe import __version__
from dropscribe.transcript.layout.cues import Cue, cues
from dropscribe.transcript.remarks import Remark, remarks
from dropscribe.transcript.types import Segment, Transcript


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a profile that affect the content of files; fields are named as in the profile."""

    subtitle_max_chars: int = 20
    subtitle_max_s: float = 7.0
    subtitle_pause_ms: int = 400


class Content:
    """Input of the renderers for one job; values that several formats use are computed once.

    `version`: of the dropscribe that writes the files, or wrote them.
    """

    def __init__(self, transcript: Transcript, options: Options, version: str = __version__) -> None:
        self.transcript = transcript
        self.version = version
        self._options = options

    @cached_property
    def cues(self) -> tuple[Cue, ...]:
        """Subtitle cues, without remarks."""
        return cues(
            self.transcript.segments,
            max_chars=self._options.subtitle_max_chars,
            max_s=self._options.subtitle_max_s,
            pause_ms=self._options.subtitle_pause_ms,
        )

    @cached_property
    def spoken(self) -> tuple[tuple[Segment, str], ...]:
        """The segments with words, and the text of each on one line."""
        lines = ((segment, " ".join(segment.text.split())) for segment in self.transcript.segments)
        return tuple((segment, text) for segment, text in lines if text)

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
