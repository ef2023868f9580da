"""The description of /api/v1 as an OpenAPI 3.1 document. The schemas of the answers are those of docs/outputs.md."""

from __future__ import annotations

from typing import Any

from dropscribe import __version__
from dropscribe.ledger.control import LEAST_PRIORITY, MOST_PRIORITY
from dropscribe.transcript.naming import FORMATS
from dropscribe.web.openai.shapes import FORMATS as OPENAI_FORMATS
from dropscribe.web.openai.shapes import GRANULARITIES

_TEXT, _WHOLE, _NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
_INSTANT = {"type": "string", "description": "ISO 8601; a date or a time, local unless it has an offset"}
_JOB = {"name": "job", "in": "path", "required": True, "schema": _WHOLE, "description": "Number of the job"}
_STATES = ["queued", "running", "done", "failed", "cancelled", "held"]


def description(*, with_token: bool) -> dict[str, Any]:
    """The document. `with_token`: requests need the token."""
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "dropscribe", "version": __version__, "description": "Jobs, transcripts, search, status, actions."},
        "servers": [{"url": "/"}],
        "paths": {
            "/api/v1/jobs": {
                "get": _operation(
                    "List jobs, the newest first; all conditions must be met", "dropscribe/jobs/1",
                    _query("state", {"enum": _STATES}, "Only jobs in this state"),
                    _query("folder", _TEXT, "Only recordings below this folder"),
                    _query("profile", _TEXT, "Only this profile"),
                    _query("since", _INSTANT, "Admitted then or later"),
                    _query("until", _INSTANT, "Admitted before"),
                    _query("speaker", _TEXT, "Only transcripts with a speaker of this name"),
                    _query("path", _TEXT, "Only recordings whose path contains this"),
                    _query("text", _TEXT, "Only transcripts with all of these words; quotes make a phrase"),
                    _query("at_least_s", _NUMBER, "Shortest recording, seconds"),
                    _query("at_most_s", _NUMBER, "Longest recording, seconds"),
                    _query("reason", _TEXT, "Reason code, or a part of the reason"),
                    _query("host", _TEXT, "Only jobs that this host has taken, or that wait in its own folders; empty: the host without a name"),
                    _query("limit", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}, "Most jobs"),
                    _query("after", _TEXT, "`next` of the answer before"),
                )
            },
            "/api/v1/jobs/{job}": {"get": _operation("Show one job in full", "dropscribe/job/1", _JOB, missing=True)},
            "/api/v1/jobs/{job}/transcript/{format}": {
                "get": _file(
                    "The transcript in one format, rendered now", "*/*", _JOB,
                    {"name": "format", "in": "path", "required": True, "schema": {"enum": list(FORMATS)}},
                )
            },
            "/api/v1/jobs/{job}/sound.wav": {
                "get": _file("The recording as WAV at the times of the transcript; takes Range", "audio/wav", _JOB)
            },
            "/api/v1/jobs/{job}/original": {"get": _file("The recording itself; takes Range", "*/*", _JOB)},
            "/api/v1/jobs/{job}/retry": {"post": _action("Try a failed or cancelled job again", "dropscribe/control/1")},
            "/api/v1/jobs/{job}/cancel": {"post": _action("Cancel a queued or running job", "dropscribe/control/1")},
            "/api/v1/jobs/{job}/redo": {"post": _action("Make the transcript again", "dropscribe/redo/1")},
            "/api/v1/jobs/{job}/priority": {
                "post": _action("Set the priority", "dropscribe/control/1")
                | _body({"priority": _WHOLE | {"minimum": LEAST_PRIORITY, "maximum": MOST_PRIORITY}}, "priority")
            },
            "/api/v1/jobs/{job}/correct": {
                "post": _action("Correct sentences, in a new version", "dropscribe/redo/1")
                | _body({"edits": {"type": "array", "items": _EDIT}}, "edits")
            },
            "/api/v1/jobs/{job}/rename-speaker": {
                "post": _action("Name a speaker, in a new version", "dropscribe/redo/1")
                | _body({"speaker": _WHOLE, "name": {"type": ["string", "null"]}}, "speaker")
            },
            "/api/v1/pause": {"post": _operation("Begin no more recordings", "dropscribe/control/1") | _body({"folder": _TEXT})},
            "/api/v1/resume": {"post": _operation("End a pause", "dropscribe/control/1") | _body({"folder": _TEXT})},
            "/api/v1/search": {
                "get": _operation(
                    "Places with words that are said near each other", "dropscribe/search/1",
                    _query("q", _TEXT, "Words; quotes make a phrase"),
                    _query("limit", {"type": "integer", "minimum": 1, "maximum": 500, "default": 20}, "Most recordings"),
                    _query("places", {"type": "integer", "minimum": 1, "maximum": 100, "default": 5}, "Most places of each"),
                )
            },
            "/api/v1/upload": {
                "get": _operation("How much of a recording has arrived, before it is sent", "offset, size", *_SENDING),
                "put": _operation(
                    "Send a recording, or the rest of it; 201 when it is whole, 409 with the offset to go on from", "offset, size",
                    *_SENDING, _query("offset", _WHOLE, "First byte that is sent"),
                )
                | {"requestBody": {"required": True, "content": {"application/octet-stream": {}}}},
            },
            "/v1/audio/transcriptions": {"post": _TRANSCRIPTION},
            "/v1/models": {
                "get": {"summary": "The recogniser, as OpenAI's API has it", "responses": {"200": _OPENAI, "4XX": _OPENAI}}
            },
            "/api/v1/status": {"get": _operation("State of the daemon, its queue and problems", "dropscribe/daemon/1")},
            "/api/v1/stats": {
                "get": _operation(
                    "Totals of ended jobs", "dropscribe/stats/1",
                    _query("by", {"type": "array", "items": _TEXT}, "day, week, month, folder, profile, model, device, reason"),
                    _query("since", _INSTANT, "Ended on this day (UTC) or later"),
                    _query("until", _INSTANT, "Ended on this day (UTC) or earlier"),
                    _query("folder", _TEXT, "Only this watched folder"),
                    _query("profile", _TEXT, "Only this profile"),
                    _query("model", _TEXT, "Only this recogniser"),
                )
            },
        },
        "components": {
            "schemas": {
                "Document": {
                    "type": "object", "required": ["schema"], "properties": {"schema": _TEXT},
                    "description": "A document of the command line; docs/outputs.md describes each by its schema.",
                }
            }
        },
    }  # fmt: skip
    if with_token:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document


_EDIT = {
    "type": "object",
    "required": ["start_ms", "said", "text"],
    "description": "A sentence as it is in the transcript now, by its start and text, and its new text; empty removes it",
    "properties": {"start_ms": _WHOLE, "said": _TEXT, "text": _TEXT},
}
_OPENAI: dict[str, Any] = {
    "description": "As OpenAI's API has it",
    "content": {"application/json": {"schema": {"type": "object"}}},
}
_TRANSCRIPTION: dict[str, Any] = {
    "summary": "Transcribe a recording, as OpenAI's API has it; model and language have no effect",
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "model": _TEXT,
                        "language": _TEXT,
                        "response_format": {"enum": list(OPENAI_FORMATS), "default": "json"},
                        "timestamp_granularities[]": {
                            "type": "array",
                            "items": {"enum": sorted(GRANULARITIES)},
                        },
                    },
                }
            }
        },
    },
    "responses": {
        "200": {"description": "The transcript", "content": {"application/json": {}, "text/plain": {}, "text/vtt": {}}},
        "202": {"description": "It takes longer; `Location` has the job, which goes on"},
        "4XX": _OPENAI,
        "5XX": _OPENAI,
    },
}  # fmt: skip


def _query(name: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": text}


_SENDING = (
    _query("folder", _TEXT, "A watched folder"),
    _query("name", _TEXT, "Name of the file"),
    _query("size", _WHOLE, "Its bytes"),
    _query("key", _TEXT, "Anything that changes with its content, such as the time of its last change"),
)


def _operation(
    summary: str, schema: str, *parameters: dict[str, Any], missing: bool = False
) -> dict[str, Any]:
    answers = {
        "200": _answer(schema),
        "400": _answer("dropscribe/error/1"),
        "503": _answer("dropscribe/error/1"),
    }
    if missing:
        answers["404"] = _answer("dropscribe/error/1")
    return {"summary": summary, "parameters": list(parameters), "responses": answers}


def _action(summary: str, schema: str) -> dict[str, Any]:
    operation = _operation(summary, schema, _JOB)
    operation["responses"]["409"] = _answer(schema) | {"description": "It was not changed; `reason` says why"}
    return operation


def _file(summary: str, kind: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {
        "200": {"description": "The file", "content": {kind: {}}},
        "404": _answer("dropscribe/error/1"),
    }
    return {"summary": summary, "parameters": list(parameters), "responses": answers}


def _body(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return {"requestBody": {"required": bool(required), "content": {"application/json": {"schema": schema}}}}


def _answer(schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Document"}}}
    return {"description": schema, "content": content}
