"""Render transcript files: one pure function per format, in the table `RENDERERS`.

To add a format, write its function, enter it in `RENDERERS` and add its golden file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from json.encoder import encode_basestring
from types import MappingProxyType
from typing import Any

from dropscribe import __version__, escapes
from dropscribe.transcript.instants import iso
from dropscribe.transcript.layout.cues import Cue, cues
from dropscribe.transcript.layout.line_breaks import lines_of
from dropscribe.transcript.remarks import Remark, remarks
from dropscribe.transcript.roles import key_of
from dropscribe.transcript.types import EngineFacts, Segment, Transcript

#: Incremented when a field of the JSON document changes its meaning or is removed, not when one is added.
JSON_SCHEMA = "dropscribe/transcript/1"
#: Display time of the remark at the end of a subtitle file, ms.
REMARK_MS = 4000


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


#: The bytes of one file, UTF-8; the same for equal input.
Renderer = Callable[[Content], bytes]


def txt(content: Content) -> bytes:
    """Plain text: a line per speech segment, several for a long one; remarks in brackets at the end."""
    transcript = content.transcript
    lines = [line for segment in transcript.segments for line in lines_of(segment)]
    said = [f"[{r.text}]" for r in remarks(transcript)]
    if lines and said:
        lines.append("")
    return encode("\n".join([*lines, *said]) + "\n")


def srt(content: Content) -> bytes:
    """SubRip. Remarks are one cue at the end of the recording; a notice of the engine is left out.

    SubRip has no comments: what stands in the file is shown to the audience.
    """
    transcript, shown = content.transcript, list(content.cues)
    said = tuple(r for r in remarks(transcript) if r.kind != "notice")
    if said:
        shown.append(_remark_cue(said, shown, transcript.media.duration_ms))
    blocks = [
        # Players would parse a text that contains `-->` as a timing line.
        f"{i}\n{_clock(c.start_ms, ',')} --> {_clock(c.end_ms, ',')}\n{c.text.replace('-->', '->')}\n"
        for i, c in enumerate(shown, start=1)
    ]
    return encode("\n".join(blocks) or "\n")


def vtt(content: Content) -> bytes:
    """WebVTT. Remarks are NOTE blocks before the first cue; `&`, `<` and `>` are escaped."""
    notes = [f"NOTE {r.text.replace('-->', '->')}\n" for r in remarks(content.transcript)]
    blocks = [
        f"{_clock(c.start_ms, '.')} --> {_clock(c.end_ms, '.')}\n{_escape(c.text)}\n" for c in content.cues
    ]
    return encode("\n".join(["WEBVTT\n", *notes, *blocks]))


def json_document(content: Content) -> bytes:
    """JSON, schema `dropscribe/transcript/1`: first the facts, then one segment per line.

    schema, generator {name, version}, job (0: made without a ledger), recording {name, sha256, admitted},
    media {duration_ms, container, codec, sample_rate_hz, channels, decoder, truncated (null or why), warnings,
    losses [{kind, start_ms, length_ms (null: unknown), text, places}],
    tracks [{number, language, title (null: none), codec, channels, default, chosen}]},
    engine {model, vad_model, NAME_model of each further role, device, precision, versions {package: version}}, notice (null or text),
    remarks [{kind, text}], text (segments' texts, one a line), segments [{index, start_ms, end_ms, text,
    tokens [{text, start_ms, end_ms}]}]. Positions are ms from the start of the recording; `admitted` is UTC.
    """
    transcript = content.transcript
    head = escapes.dumps(_facts(transcript, content.version), indent=2).removesuffix("\n}")
    segments = ",\n    ".join(map(_segment, transcript.segments))
    body = f"[\n    {segments}\n  ]" if segments else "[]"
    return encode(f'{head},\n  "segments": {body}\n}}\n')


#: The output formats: a file of each ends with a dot and its name. The setting `formats` takes these names.
RENDERERS: Mapping[str, Renderer] = MappingProxyType(
    {"txt": txt, "srt": srt, "vtt": vtt, "json": json_document}
)


def render(transcript: Transcript, name: str, options: Options) -> bytes:
    """Bytes of one file: UTF-8, deterministic. Raises KeyError for an unknown format."""
    return render_all(transcript, [name], options)[name]


def render_all(
    transcript: Transcript, names: Iterable[str], options: Options, version: str = __version__
) -> dict[str, bytes]:
    """Bytes of several formats, see `render`; shared values are computed once. `version` as in `Content`."""
    content = Content(transcript, options, version)
    return {name: RENDERERS[name](content) for name in names}


def encode(text: str) -> bytes:
    """Encode as UTF-8; a lone surrogate, which has no UTF-8 form, becomes a backslash escape."""
    return text.encode("utf-8", "backslashreplace")


@lru_cache(1 << 14)
def clock(seconds: int) -> str:
    """Format a position in a recording as `01:02:03`."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}"


def engine_facts(engine: EngineFacts) -> dict[str, Any]:
    """Models, device, precision and package versions, as in every JSON file."""
    return {
        **{key_of(role): model for role, model in engine.models},
        "device": engine.device,
        "precision": engine.precision,
        "versions": dict(sorted(engine.versions)),
    }


def _facts(transcript: Transcript, version: str) -> dict[str, Any]:
    return {
        "schema": JSON_SCHEMA,
        "generator": {"name": "dropscribe", "version": version},
        "job": transcript.job_id,
        "recording": {
            "name": transcript.recording_name,
            "sha256": transcript.sha256,
            "admitted": iso(transcript.created_at),
        },
        "media": transcript.media.record(),
        "engine": engine_facts(transcript.engine),
        "notice": transcript.engine.notice,
        "remarks": [{"kind": r.kind, "text": r.text} for r in remarks(transcript)],
        "text": transcript.text,
    }


def _segment(segment: Segment) -> str:
    """JSON of one segment, equal to that of `escapes.dumps`, without an object per token: there are many."""
    said = segment.tokens
    texts = map(encode_basestring, said.texts)
    tokens = ", ".join([
        f'{{"text": {text}, "start_ms": {start}, "end_ms": {end}}}'
        for text, start, end in zip(texts, said.starts_ms, said.ends_ms, strict=True)
    ])  # fmt: skip
    written = (
        f'{{"index": {segment.index}, "start_ms": {segment.start_ms}, "end_ms": {segment.end_ms}, '
        f'"text": {encode_basestring(segment.text)}, "tokens": [{tokens}]}}'
    )
    return written if written.isprintable() else escapes.in_json(written)


def _remark_cue(said: tuple[Remark, ...], shown: list[Cue], duration_ms: int) -> Cue:
    """Cue with the remarks: in the last `REMARK_MS` of the recording, or after the last cue if that is later."""
    spoken_until = shown[-1].end_ms if shown else 0
    start = max(spoken_until, duration_ms - REMARK_MS)
    return Cue(start, start + REMARK_MS, "\n".join(f"[{r.text}]" for r in said))


def _clock(ms: int, mark: str) -> str:
    return f"{clock(ms // 1000)}{mark}{ms % 1000:03}"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
