"""Thousands of tiny recordings with unique contents, and their jobs."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from tests.support.daemon_process import DaemonProcess

RATE_HZ = 16_000
#: Length in samples, 4 ms: room for a number, and for four different quarters.
SAMPLES = 64


def tiny(number: int, *, take: int = 0) -> bytes:
    """A complete WAV file of 4 ms with content unique to `number` and `take`."""
    samples = struct.pack("<IHH", number, take, 1) * (SAMPLES * 2 // 8)
    form = struct.pack("<HHIIHH", 1, 1, RATE_HZ, RATE_HZ * 2, 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(samples))
    return b"RIFF" + struct.pack("<I", len(body) + len(samples)) + body + samples


def on_record(daemon: DaemonProcess, below: Path | None = None) -> dict[Path, list[str]]:
    """All contents (SHA-256) ever admitted below a folder, by path, oldest first."""
    found: dict[Path, list[str]] = {}
    for row in daemon.rows("select path_raw, sha256 from recordings order by id"):
        path = Path(os.fsdecode(row["path_raw"]))
        if below is None or path.is_relative_to(below):
            found.setdefault(path, []).append(row["sha256"])
    return found


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def jobs_of(daemon: DaemonProcess, below: Path) -> dict[Path, list[str]]:
    """States of all jobs of recordings below a folder, by path, oldest first."""
    found: dict[Path, list[str]] = {}
    for row in daemon.rows(
        "select r.path_raw, j.state from jobs j join recordings r on r.id = j.recording_id order by j.id"
    ):
        path = Path(os.fsdecode(row["path_raw"]))
        if path.is_relative_to(below):
            found.setdefault(path, []).append(row["state"])
    return found


def all_done(daemon: DaemonProcess, below: Path, wanted: Iterable[Path]) -> bool:
    """True if the latest job of each of these recordings is done."""
    states = jobs_of(daemon, below)
    return all(states.get(path, [""])[-1] == "done" for path in wanted)


def last_contents(daemon: DaemonProcess, below: Path) -> dict[Path, str]:
    """Latest admitted content of each recording below a folder."""
    return {path: contents[-1] for path, contents in on_record(daemon, below).items()}
