"""Names of speakers, and what each contributes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dropscribe.escapes import one_line
from dropscribe.transcript.types import Speaker
from dropscribe.transcript.written.runs import Run
from dropscribe.transcript.written.turns import SpokenTurn

_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_KANA = re.compile(r"[\u3041-\u30ff]")
_HANGUL = re.compile(r"[\uac00-\ud7a3]")
#: Speakers without a name, by the language of the text.
_NAMELESS = {"zh": "说话人 {}", "ja": "話者 {}", "ko": "화자 {}", "en": "Speaker {}"}
#: What stands between a speaker and the text.
_COLONS = {"zh": "：", "ja": "：", "ko": ": ", "en": ": "}


@dataclass(frozen=True, slots=True)
class Share:
    """What one speaker says: speech in ms, number of Chinese characters and words, share of all speech."""

    speech_ms: int
    words: int
    share: float


def language_of(text: str) -> str:
    """Language of a text by its script: "zh", "ja", "ko", or "en" for any other."""
    if text.isascii():
        return "en"
    if _KANA.search(text):
        return "ja"
    if _HANGUL.search(text):
        return "ko"
    return "zh" if _HAN.search(text) else "en"


def labels_of(turns: Iterable[SpokenTurn], speakers: Iterable[Speaker], language: str) -> Mapping[int, str]:
    """Names to show, by number: the given one, or `Speaker 1` in the language of the text. Empty if not asked for."""
    # Titles of tracks are what a stranger's file has.
    names = {s.number: one_line(" ".join(s.name.split())) for s in speakers if s.name is not None}
    numbers = sorted({turn.speaker for turn in turns} - {0})
    return {n: names.get(n) or _NAMELESS[language].format(n) for n in numbers}


def colon_of(language: str) -> str:
    """The mark between the name of a speaker and the text."""
    return _COLONS[language]


def shares_of(runs: Iterable[Run], turns: Iterable[SpokenTurn]) -> Mapping[int, Share]:
    """What each speaker says, by number."""
    speech: dict[int, int] = {}
    words: dict[int, int] = {}
    for turn in turns:
        if turn.speaker:
            speech[turn.speaker] = speech.get(turn.speaker, 0) + turn.end_ms - turn.start_ms
    for run in runs:
        if run.speaker:
            words[run.speaker] = words.get(run.speaker, 0) + len(run.units.texts)
    total = sum(speech.values())
    return {n: Share(ms, words.get(n, 0), ms / total if total else 0.0) for n, ms in sorted(speech.items())}
