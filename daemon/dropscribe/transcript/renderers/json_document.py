"""JSON: everything that is known of a transcript."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import repeat
from json.encoder import encode_basestring
from typing import Any

from dropscribe import escapes
from dropscribe.transcript.instants import iso
from dropscribe.transcript.renderers.content import Content, encode
from dropscribe.transcript.types import Segment
from dropscribe.transcript.written.marks import WIDE
from dropscribe.transcript.written.punctuation import joint
from dropscribe.transcript.written.speakers import shares_of

#: Incremented when a field of the JSON document changes its meaning or is removed, not when one is added.
JSON_SCHEMA = "dropscribe/transcript/1"
#: The field `confidence` of a token by its value in 255ths: three digits, from which the value can be restored.
_PROBABILITIES = [f', "confidence": {byte / 255:.3f}' for byte in range(256)]
#: The fields `mark` and `speaker` of a token by code and number.
_MARKS = ["", *(f', "mark": "{mark}"' for mark in WIDE[1:])]
_SPEAKERS = [', "speaker": null', *(f', "speaker": {number}' for number in range(1, 256))]


def json_document(content: Content) -> bytes:
    """JSON, schema `dropscribe/transcript/1`: first the facts, then one sentence and one segment per line.

    schema, generator {name, version}, job (0: made without a ledger), recording {name, sha256, admitted},
    media {duration_ms, container, codec, sample_rate_hz, channels, decoder, truncated (null or why), warnings,
    losses [{kind, start_ms, length_ms (null: unknown), text, places}],
    tracks [{number, language, title (null: none), codec, channels, default, chosen}],
    parts [{kind, number, start_ms, name (null: none)}]},
    engine {model, vad_model, NAME_model of each further role, device, precision, versions {package: version}},
    recipe {heard (models and options that decide what is recognised), numbers, fillers},
    notice (null or text), remarks [{kind, text}], text (as people read it, a paragraph a line), raw (texts of the
    segments as recognised, one a line), speakers [{number, name (null: none), label, kind, speech_ms, words, share}],
    sentences [{start_ms, end_ms, speaker, paragraph, text}], segments [{index, start_ms, end_ms, text, raw, confidence,
    punctuated, language, emotion, events [text], tokens [{text, start_ms, end_ms, confidence, mark, speaker}]}]. Absent:
    `raw` where it equals `text`; `recipe`, `confidence`, `speaker` and `speakers` where not known or asked for; `mark` of
    a token without one; `punctuated` where false; `language`, `emotion` and `events` where the model does not tell them;
    `sentences` where there are neither marks nor speakers. Positions are ms from the start of the
    recording; `admitted` is UTC.
    """
    head = escapes.dumps(_facts(content), indent=2).removesuffix("\n}")
    segments = ",\n    ".join(map(_segment, content.transcript.segments, _written(content)))
    body = f"[\n    {segments}\n  ]" if segments else "[]"
    return encode(f'{head}{_sentences(content)},\n  "segments": {body}\n}}\n')


def _facts(content: Content) -> dict[str, Any]:
    transcript = content.transcript
    return {
        "schema": JSON_SCHEMA,
        "generator": {"name": "dropscribe", "version": content.version},
        "job": transcript.job_id,
        "recording": {
            "name": transcript.recording_name,
            "sha256": transcript.sha256,
            "admitted": iso(transcript.created_at),
        },
        "media": transcript.media.record(),
        "engine": transcript.engine.told(),
        **_recipe(content),
        "notice": transcript.engine.notice,
        "remarks": [{"kind": r.kind, "text": r.text} for r in content.remarks],
        **_text_and_raw(content.text, transcript.text, lines=not any(run.flowing for run in content.runs)),
        **({"speakers": speakers} if (speakers := list(_speakers(content))) else {}),
    }


def _recipe(content: Content) -> dict[str, Any]:
    """The field `recipe`, if it is known: transcripts of earlier versions keep their bytes."""
    if not content.transcript.recipe:
        return {}
    options = content.options
    heard = content.transcript.recipe
    return {"recipe": {"heard": heard, "numbers": options.numbers, "fillers": options.fillers}}


def _text_and_raw(written: str, recognised: str, *, lines: bool = True) -> dict[str, str]:
    """Fields `text` and `raw`. Text that is written as it was recognised keeps its spaces and, if asked for, lines."""
    if written.split() == recognised.split():
        return {"text": recognised if lines else written}
    return {"text": written, "raw": recognised}


def _speakers(content: Content) -> Iterator[dict[str, Any]]:
    """Each speaker who was asked for, with what is known and what is said."""
    if not content.labels:
        return
    known = {speaker.number: speaker for speaker in content.transcript.speakers}
    for number, share in shares_of(content.runs, content.turns).items():
        speaker = known.get(number)
        yield {
            "number": number,
            "name": None if speaker is None else speaker.name,
            "label": content.labels[number],
            "kind": "voice" if speaker is None else speaker.kind,
            "speech_ms": share.speech_ms,
            "words": share.words,
            "share": round(share.share, 4),
        }


def _sentences(content: Content) -> str:
    """The field `sentences`, one a line; nothing for a text without marks and speakers."""
    if not content.labels and not any(run.flowing for run in content.runs):
        return ""
    lines: list[str] = []
    for number, paragraph in enumerate(content.paragraphs):
        for one in paragraph.sentences:
            speaker = f', "speaker": {one.speaker}' if one.speaker else ""
            line = (
                f'{{"start_ms": {one.start_ms}, "end_ms": {one.end_ms}{speaker}, "paragraph": {number}, '
                f'"text": {encode_basestring(one.text)}}}'
            )
            lines.append(line if line.isprintable() else escapes.in_json(line))
    joined = ",\n    ".join(lines)
    return f',\n  "sentences": [\n    {joined}\n  ]'


def _written(content: Content) -> list[str]:
    """Text of each segment as people read it."""
    found = [""] * len(content.transcript.segments)
    for run in content.runs:
        before = found[run.segment]
        found[run.segment] = before + joint(before, run.text) + run.text
    return found


def _further_fields(segment: Segment) -> Iterable[str]:
    """Those of the fields of each token that not all transcripts have."""
    columns: list[Iterable[str]] = []
    if segment.tokens.confidence:
        columns.append(map(_PROBABILITIES.__getitem__, segment.tokens.confidence))
    if any(segment.marks):
        columns.append(map(_MARKS.__getitem__, segment.marks))
    if segment.speakers:
        columns.append(map(_SPEAKERS.__getitem__, segment.speakers))
    if len(columns) > 1:
        return map("".join, zip(*columns, strict=True))
    return columns[0] if columns else repeat("", len(segment.tokens))


def _segment(segment: Segment, text: str) -> str:
    """JSON of one segment, equal to that of `escapes.dumps`, without an object per token: there are many."""
    said = segment.tokens
    texts = map(encode_basestring, said.texts)
    tokens = ", ".join([
        f'{{"text": {text}, "start_ms": {start}, "end_ms": {end}{further}}}'
        for text, start, end, further in zip(
            texts, said.starts_ms, said.ends_ms, _further_fields(segment), strict=True
        )
    ])  # fmt: skip
    mean = said.mean_confidence
    confidence = "" if mean is None else f', "confidence": {mean:.3f}'
    fields = ", ".join(
        f'"{name}": {encode_basestring(value)}' for name, value in _text_and_raw(text, segment.text).items()
    )
    punctuated = ', "punctuated": true' if segment.marks else ""
    tags = "".join(
        f', "{name}": {json.dumps(value, ensure_ascii=False)}'
        for name, value in segment.tags.record().items()
    )
    written = (
        f'{{"index": {segment.index}, "start_ms": {segment.start_ms}, "end_ms": {segment.end_ms}, '
        f'{fields}{confidence}{punctuated}{tags}, "tokens": [{tokens}]}}'
    )
    return written if written.isprintable() else escapes.in_json(written)
