"""Calls and files with several tracks, through the real daemon: who said what, when, in every file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from tests.support.daemon_process import SAMPLE, DaemonProcess
from tests.support.recordings import with_tracks

APART = '[profiles.default]\nspeakers = "channels"\naudio_track = "all"\n'
#: The other side begins later by this, seconds.
LATER_S = 1.5


def document(recording: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(recording.with_suffix(".json").read_text(encoding="utf-8"))
    return loaded


def said(found: dict[str, Any], number: int) -> tuple[str, int]:
    """What a speaker says, and when the first token of it begins, ms."""
    tokens = [t for s in found["segments"] for t in s["tokens"] if t.get("speaker", 0) == number]
    return "".join(t["text"] for t in tokens), tokens[0]["start_ms"]


def test_a_call_and_a_file_with_tracks(tmp_path: Path) -> None:
    pcm, rate_hz = soundfile.read(SAMPLE, dtype="int16")
    later = np.concatenate([np.zeros(round(LATER_S * rate_hz), np.int16), pcm])
    first = np.concatenate([pcm, np.zeros(len(later) - len(pcm), np.int16)])
    with DaemonProcess(tmp_path, extra=APART) as daemon:
        plain, call, talk = (daemon.inbox / name for name in ("plain.wav", "call.wav", "talk.mkv"))
        soundfile.write(plain, pcm, rate_hz)
        soundfile.write(call, np.stack([later, first], axis=1), rate_hz)
        tracks = [first.reshape(-1, 1), np.zeros((rate_hz, 1), np.int16), later.reshape(-1, 1)]
        titles = ("Floor", "Desktop", "Interpreter")
        with_tracks(talk, "matroska", "pcm_s16le", tracks, rate_hz=rate_hz, titles=titles)
        for recording in (plain, call, talk):
            daemon.wait_for(recording)
        assert daemon.stop() == 0
    alone, sides, apart = document(plain), document(call), document(talk)
    words, begin_ms = said(alone, 0)
    assert words
    assert [r["kind"] for r in alone["remarks"]] == ["channels", "notice"]
    for found, early, late in ((sides, 2, 1), (apart, 1, 3)):
        assert said(found, early) == (words, begin_ms)
        text, at_ms = said(found, late)
        assert text == words
        assert abs(at_ms - begin_ms - LATER_S * 1000) <= 60
        starts = [s["start_ms"] for s in found["segments"]]
        assert starts == sorted(starts)
        assert found["media"]["duration_ms"] == round(len(later) * 1000 / rate_hz)
    assert [(p["kind"], p["number"], p["name"]) for p in apart["media"]["parts"]] == [
        ("track", 1, "Floor"), ("track", 3, "Interpreter"),
    ]  # fmt: skip
    assert "Interpreter" in talk.with_suffix(".txt").read_text(encoding="utf-8")
    remarks = {r["kind"]: r["text"] for r in apart["remarks"]}
    assert 'without sound that can be decoded: 2 ("Desktop")' in remarks["tracks"]
