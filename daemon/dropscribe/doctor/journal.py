"""Read the service's lines in systemd's journal, redacted for a support bundle."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from typing import Any

from dropscribe.doctor.redaction import Mask
from dropscribe.logs import Action

LINES = 1000
LIMIT_S = 20.0
#: Keys of log lines whose values never contain names. `event`, the message, is kept only for actions that do not
#: concern a recording.
_KEPT = ("timestamp", "level", "room", "action", "code", "job", "attempt", "audio_s", "device")
_SENTENCES = frozenset(
    str(a)
    for a in (Action.READY, Action.RELOAD, Action.STOPPING, Action.STOPPED, Action.FOLDER, Action.ENGINE,
              Action.LEDGER, Action.STORAGE)
)  # fmt: skip
# Of our own files the path in the package, of others the last folder.
_FRAME = re.compile(
    r'\s*File "[^"]*?(?:(?:site-packages|daemon)/dropscribe/((?:\w+/)*\w+\.py)|([\w-]+/[\w.-]+\.py))", '
    r"line (\d+), in ([\w<>]+)"
)
_EXCEPTION = re.compile(r"([A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit))\b")


def read() -> list[dict[str, Any]]:
    """Newest journal entries of dropscribe.service; empty if there are none or this user may not read them."""
    command = (
        "journalctl",
        "--unit",
        "dropscribe",
        "--lines",
        str(LINES),
        "--output",
        "json",
        "--no-pager",
        "--quiet",
    )
    try:
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    entries = []
    for line in done.stdout.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("MESSAGE"), str):
            entries.append(entry)
    return entries


def redact(entries: Iterable[dict[str, Any]], mask: Mask) -> Iterator[dict[str, Any]]:
    """Redact journal entries; entries of unknown form are left out."""
    for entry in entries:
        message = entry["MESSAGE"]
        if entry.get("SYSLOG_IDENTIFIER") == "systemd":
            yield {"systemd": mask.text(message)}
            continue
        found = _ours(message, mask) or _traceback(message)
        if found is not None:
            yield found


def _ours(message: str, mask: Mask) -> dict[str, Any] | None:
    try:
        line = json.loads(message)
    except ValueError:
        return None
    if not isinstance(line, dict):
        return None
    kept = {key: line[key] for key in _KEPT if isinstance(line.get(key), (str, int, float))}
    if line.get("action") in _SENTENCES and isinstance(line.get("event"), str):
        kept["event"] = mask.text(line["event"])
    return kept


def _traceback(message: str) -> dict[str, Any] | None:
    """Position in the program, or type of the exception; not its message, which may contain names."""
    frame = _FRAME.match(message)
    if frame is not None:
        return {"file": frame[1] or frame[2], "line": int(frame[3]), "function": frame[4]}
    exception = _EXCEPTION.match(message)
    return {"exception": exception[1]} if exception is not None else None
