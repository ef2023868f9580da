"""Contents of messages: JSON for programs, title and lines for people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dropscribe import durations
from dropscribe.escapes import one_line
from dropscribe.ledger.events import EventKind
from dropscribe.ledger.outbox import Message, RecordedEvent

#: Largest body, bytes; receivers need not take more (Standard Webhooks).
MOST_BYTES = 20_000
#: Most events of a digest that are listed for people.
LISTED = 20
#: `type` of each kind of event in JSON.
TYPES: Mapping[EventKind, str] = {
    EventKind.DONE: "job.done",
    EventKind.FAILED: "job.failed",
    EventKind.HELD: "jobs.held",
    EventKind.BACKLOG: "backlog.old",
    EventKind.DISK: "disk.low",
    EventKind.ENGINE: "engine.replaced",
}
DIGEST = "digest"
TEST = "test"


@dataclass(frozen=True, slots=True)
class Content:
    """What is sent. `title` and `lines` are for people."""

    body: bytes
    title: str
    lines: tuple[str, ...]


def content_of(message: Message, text_of: Callable[[int], str | None]) -> Content:
    """The same for the same message at every try. `text_of`: text of a done job that is to be sent, or None."""
    if message.digest:
        return _digest(message.events)
    (event,) = message.events
    document = _document(event)
    text = text_of(event.job_id) if event.kind is EventKind.DONE and event.job_id is not None else None
    body = _fitting(document, text)
    return Content(body, title_of(event), tuple(_lines(event, text)))


def trial_content(now: float) -> Content:
    """Content of the message of `dropscribe notify test`."""
    document = {"type": TEST, "timestamp": _instant(now), "data": {}}
    return Content(_bytes(document), "dropscribe: a test", ("Notifications arrive here.",))


def title_of(event: RecordedEvent) -> str:
    """One line about an event."""
    facts = event.facts
    name = one_line(str(facts.get("recording", "")).rpartition("/")[2])
    match event.kind:
        case EventKind.DONE:
            return f"{name}: done"
        case EventKind.FAILED:
            return f"{name}: failed: {one_line(str(facts.get('reason') or 'for an unknown reason'))}"
        case EventKind.HELD:
            return f"{facts.get('jobs')} recordings are held: {one_line(str(facts.get('reason')))}"
        case EventKind.BACKLOG:
            return f"the oldest recording has waited for {durations.spent(float(facts.get('waited_s', 0)))}"
        case EventKind.DISK:
            return f"disk: {one_line(str(facts.get('problem')))}"
        case EventKind.ENGINE:
            return f"the engine was replaced: {one_line(str(facts.get('reason')))}"


def _lines(event: RecordedEvent, text: str | None = None) -> list[str]:
    facts = event.facts
    named = [name for name in ("recording", "remedy") if facts.get(name)]
    lines = [title_of(event), *(f"{name}: {one_line(str(facts[name]))}" for name in named)]
    if facts.get("audio_ms"):
        lines.append(f"audio: {durations.length(facts['audio_ms'] / 1000)}")
    if text:
        lines += ["", *text[: MOST_BYTES // 4].splitlines()]
    return lines


def _document(event: RecordedEvent) -> dict[str, Any]:
    data = {name: _value(name, value) for name, value in event.facts.items()}
    return {"type": TYPES[event.kind], "timestamp": _instant(event.at), "data": data}


def _fitting(document: dict[str, Any], text: str | None) -> bytes:
    """The document with as much of the text as fits, and without its files if these do not."""
    data = document["data"]
    if len(_bytes(document)) > MOST_BYTES:
        data.pop("files", None)
    if text is None:
        return _bytes(document)
    data |= {"text": text, "text_whole": True}
    while len(body := _bytes(document)) > MOST_BYTES and data["text"]:
        # A character has up to six bytes: \u0000.
        surplus = len(body) - MOST_BYTES
        data |= {"text": data["text"][: -max(surplus // 6, 1)], "text_whole": False}
    return body


def _digest(events: Sequence[RecordedEvent]) -> Content:
    counts = Counter(TYPES[e.kind] for e in events)
    # What needs a person comes first.
    ordered = sorted(events, key=lambda e: e.kind is EventKind.DONE)
    listed: list[dict[str, Any]] = []
    document: dict[str, Any] = {
        "type": DIGEST,
        "timestamp": _instant(max(e.at for e in events)),
        "data": {"counts": dict(counts), "events": listed, "left_out": len(events)},
    }
    size = len(_bytes(document))
    for event in ordered:
        one = _document(event)
        size += len(_bytes(one)) + 2
        if size > MOST_BYTES:
            break
        listed.append(one)
    document["data"]["left_out"] = len(events) - len(listed)
    counted = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items()))
    lines = [title_of(e) for e in ordered[:LISTED]]
    if len(events) > LISTED:
        lines.append(f"and {len(events) - LISTED} more")
    return Content(_bytes(document), f"dropscribe: {counted}", tuple(lines))


def _value(name: str, value: Any) -> Any:
    return _instant(value) if name.endswith("_at") and isinstance(value, (int, float)) else value


def _instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _bytes(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
