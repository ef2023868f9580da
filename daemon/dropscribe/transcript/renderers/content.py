"""Input of the renderers, and what several of them write alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from dropscribe import __version__
from dropscribe.transcript.layout.cues import Cue, cues
from dropscribe.transcript.types import Transcript


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


#: The bytes of one file, UTF-8 unless the format says otherwise; the same for equal input.
Renderer = Callable[[Content], bytes]


def encode(text: str) -> bytes:
    """Encode as UTF-8; a lone surrogate, which has no UTF-8 form, becomes a backslash escape."""
    return text.encode("utf-8", "backslashreplace")


@lru_cache(1 << 14)
def clock(seconds: int) -> str:
    """Format a position in a recording as `01:02:03`."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}"


def clock_ms(ms: int, mark: str) -> str:
    """Format a position as `01:02:03.456`, with `mark` before the milliseconds."""
    return f"{clock(ms // 1000)}{mark}{ms % 1000:03}"
