"""JSON: everything that is known of a transcript."""

from __future__ import annotations

from itertools import repeat
from json.encoder import encode_basestring
from typing import Any

from dropscribe import escapes
from dropscribe.transcript.instants import iso
from dropscribe.transcript.renderers.content import Content, encode
from dropscribe.transcript.roles import key_of
from dropscribe.transcript.types import EngineFacts, Segment

#: Incremented when a field of the JSON document changes its meaning or is removed, not when one is added.
JSON_SCHEMA = "dropscribe/transcript/1"
#: The field `confidence` of a token by its value in 255ths: three digits, from which the value can be restored.
_PROBABILITIES = [f', "confidence": {byte / 255:.3f}' for byte in range(256)]


def json_document(content: Content) -> bytes:
    """JSON, schema `dropscribe/transcript/1`: first the facts, then one segment per line.

    schema, generator {name, version}, job (0: made without a ledger), recording {name, sha256, admitted},
    media {duration_ms, container, codec, sample_rate_hz, channels, decoder, truncated (null or why), warnings,
    losses [{kind, start_ms, length_ms (null: unknown), text, places}],
    tracks [{number, language, title (null: none), codec, channels, default, chosen}]},
    engine {model, vad_model, NAME_model of each further role, device, precision, versions {package: version}},
    notice (null or text), remarks [{kind, text}], text (segments' texts, one a line), segments [{index, start_ms, end_ms,
    text, confidence, tokens [{text, start_ms, end_ms, confidence}]}]. `confidence` is absent if it is not known. Positions
    are ms from the start of the recording; `admitted` is UTC.
    """
    head = escapes.dumps(_facts(content), indent=2).removesuffix("\n}")
    segments = ",\n    ".join(map(_segment, content.transcript.segments))
    body = f"[\n    {segments}\n  ]" if segments else "[]"
    return encode(f'{head},\n  "segments": {body}\n}}\n')


def engine_facts(engine: EngineFacts) -> dict[str, Any]:
    """Models, device, precision and package versions, as in every JSON file."""
    return {
        **{key_of(role): model for role, model in engine.models},
        "device": engine.device,
        "precision": engine.precision,
        "versions": dict(sorted(engine.versions)),
    }


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
        "engine": engine_facts(transcript.engine),
        "notice": transcript.engine.notice,
        "remarks": [{"kind": r.kind, "text": r.text} for r in content.remarks],
        "text": transcript.text,
    }


def _segment(segment: Segment) -> str:
    """JSON of one segment, equal to that of `escapes.dumps`, without an object per token: there are many."""
    said = segment.tokens
    texts = map(encode_basestring, said.texts)
    sure = map(_PROBABILITIES.__getitem__, said.confidence) if said.confidence else repeat("", len(said))
    tokens = ", ".join([
        f'{{"text": {text}, "start_ms": {start}, "end_ms": {end}{probability}}}'
        for text, start, end, probability in zip(texts, said.starts_ms, said.ends_ms, sure, strict=True)
    ])  # fmt: skip
    mean = said.mean_confidence
    confidence = "" if mean is None else f', "confidence": {mean:.3f}'
    written = (
        f'{{"index": {segment.index}, "start_ms": {segment.start_ms}, "end_ms": {segment.end_ms}, '
        f'"text": {encode_basestring(segment.text)}{confidence}, "tokens": [{tokens}]}}'
    )
    return written if written.isprintable() else escapes.in_json(written)
