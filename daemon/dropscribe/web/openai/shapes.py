"""Requests and answers of OpenAI's transcription API as values, without HTTP.

The fields are those of the API's reference (Audio, Create transcription). What the models here do not have is 0 or empty:
`seek`, `tokens`, `temperature`, `compression_ratio`, `no_speech_prob`.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from dropscribe.transcript.renderers.content import Content
from dropscribe.transcript.written.sentences import Sentence

#: Names of languages as the API has them, by code.
_LANGUAGES: Mapping[str, str] = MappingProxyType(
    {"zh": "chinese", "en": "english", "ja": "japanese", "ko": "korean"}
)
#: Formats of an answer.
FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
#: What has times in `verbose_json`.
GRANULARITIES = frozenset({"segment", "word"})
#: Longest name that is kept of a file, bytes.
_LONGEST = 150


class WishError(ValueError):
    """A field of a request asks for what is not there; the text says what, with a remedy."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a transcript is to be answered."""

    format: str = "json"
    granularities: frozenset[str] = frozenset({"segment"})

    @classmethod
    def of(cls, fields: Mapping[str, Sequence[str]]) -> Wishes:
        """Read the fields of a form. Raises WishError.

        `model`, `language`, `prompt` and `temperature` have no effect: the profile of the folder decides.
        """
        form = fields.get("response_format", ["json"])[-1]
        if form not in FORMATS:
            raise WishError(f"response_format '{form}' is not known (write one of {', '.join(FORMATS)})")
        given = frozenset(
            one
            for name in ("timestamp_granularities[]", "timestamp_granularities")
            for one in fields.get(name, ())
        )
        if not given <= GRANULARITIES:
            raise WishError("timestamp_granularities are not known (write segment or word)")
        if fields.get("stream", ["false"])[-1].lower() not in {"false", "0", ""}:
            raise WishError("answers are not streamed here (leave out stream)")
        return cls(form, given or frozenset({"segment"}))


def name_for(filename: str) -> str:
    """Name for a recording that was sent as `filename`: with its stem and extension, and never the same twice."""
    base = PurePosixPath(filename.replace("\\", "/")).name
    shown = "".join(c if c.isprintable() and c != "\ufffd" else "_" for c in base).lstrip(".")
    stem, dot, extension = shown.rpartition(".")
    if not dot:
        stem, extension = extension, ""
    while len(stem.encode()) > _LONGEST:
        stem = stem[:-1]
    return f"{stem or 'recording'}-{uuid.uuid4().hex[:8]}{dot}{extension}"


def document(content: Content, wishes: Wishes) -> dict[str, Any]:
    """The answer as `json` or `verbose_json`."""
    duration = content.transcript.media.duration_ms / 1000
    usage = {"type": "duration", "seconds": math.ceil(duration)}
    if wishes.format == "json":
        return {"text": content.text, "usage": usage}
    answer: dict[str, Any] = {
        "task": "transcribe",
        "language": _LANGUAGES.get(content.language, content.language),
        "duration": duration,
        "text": content.text,
        "usage": usage,
    }
    if "segment" in wishes.granularities:
        answer["segments"] = [_segment(content, i, one) for i, one in enumerate(content.sentences)]
    if "word" in wishes.granularities:
        answer["words"] = [
            {"word": text.strip(), "start": start / 1000, "end": end / 1000}
            for one in content.sentences
            for part in one.parts
            for text, start, end in zip(part.texts, part.starts, part.ends, strict=True)
        ]
    return answer


def _segment(content: Content, index: int, one: Sentence) -> dict[str, Any]:
    segment = {
        "id": index, "seek": 0, "start": one.start_ms / 1000, "end": one.end_ms / 1000, "text": one.text, "tokens": [],
        "temperature": 0.0, "avg_logprob": _logprob(one), "compression_ratio": 0.0, "no_speech_prob": 0.0,
    }  # fmt: skip
    speaker = content.labels.get(one.speaker)
    return segment if speaker is None else segment | {"speaker": speaker}


def _logprob(one: Sentence) -> float:
    """Mean logarithm of the probabilities of its words; 0 if they are not known."""
    known = [c for part in one.parts for c in part.confidence]
    return sum(math.log(max(c, 1) / 255) for c in known) / len(known) if known else 0.0
