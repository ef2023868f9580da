"""Collections of real files through the daemon: every file ends, and the text equals FunASR's."""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon_process import BUNDLED, DaemonProcess, wait_until
from tests.support.engines import FUNASR_WARNS

pytestmark = [
    pytest.mark.shared,
    *FUNASR_WARNS,
    # Dozens of recordings on a CPU.
    pytest.mark.timeout(900),
]

#: Time limit for a collection, seconds.
DEADLINE_S = 600.0
#: Samples a millisecond at 16 kHz.
PER_MS = 16
#: Damaged files whose container shows the truncation.
CUT = {"taglib_empty-seektable.flac"}


def outcomes(daemon: DaemonProcess) -> dict[Path, sqlite3.Row]:
    """Ended jobs by recording."""
    rows = daemon.rows(
        "select r.path_raw, j.id, j.state, j.reason, j.remedy, j.truncated from jobs j"
        " join recordings r on r.id = j.recording_id where j.state in ('done', 'failed', 'cancelled')"
    )
    return {Path(os.fsdecode(row["path_raw"])): row for row in rows}


def drop(daemon: DaemonProcess, folder: str, files: Iterable[Path]) -> list[Path]:
    """Copy `files` into a new folder in the inbox; returns the copies."""
    target = daemon.inbox / folder
    target.mkdir()
    return [Path(shutil.copyfile(file, target / file.name)) for file in files]


def wait_for_all(daemon: DaemonProcess, dropped: list[Path]) -> dict[str, sqlite3.Row]:
    """Wait for all of `dropped`; returns the ended jobs by name. Skipped files have no job."""
    with_jobs = [d for d in dropped if d.stat().st_size]
    wait_until(
        lambda: not daemon.running or all(d in taken(daemon) for d in with_jobs),
        "every file has come to its end",
        DEADLINE_S,
    )
    assert daemon.running, daemon.lines[-5:]
    ended = outcomes(daemon)
    return {d.name: ended[d] for d in dropped if d in ended}


def taken(daemon: DaemonProcess) -> set[Path]:
    """Files whose job has ended or that were skipped with a recorded reason."""
    passed = daemon.rows("select path_raw from skips")
    return {*outcomes(daemon), *(Path(os.fsdecode(row["path_raw"])) for row in passed)}


def document(recording: Path) -> dict[str, Any]:
    """JSON transcript of a recording, as NAME.json or NAME.EXT.json."""
    for name in (f"{recording.stem}.json", f"{recording.name}.json"):
        path = recording.with_name(name)
        if path.is_file():
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if found["recording"]["name"] == recording.name:
                return found
    raise AssertionError(f"no transcript of {recording.name}")


def assert_ended_well(recording: Path, row: sqlite3.Row) -> None:
    """Assert that the job is `done` with a document, or `failed` with reason and remedy."""
    if row["state"] == "failed":
        assert len(row["reason"]) > 10, recording.name
        assert row["remedy"], recording.name
        for name in (f"{recording.stem}.json", f"{recording.name}.json"):
            assert not recording.with_name(name).exists(), recording.name
    else:
        assert row["state"] == "done", recording.name
        assert document(recording)["media"]["duration_ms"] > 0, recording.name


def test_intact_recordings_are_transcribed_or_fail_with_a_reason(
    dropscribe: DaemonProcess, shared: Path
) -> None:
    files = sorted((shared / "data" / "media" / "intact").iterdir())
    assert len(files) > 40
    dropped = drop(dropscribe, "intact", files)
    ended = wait_for_all(dropscribe, dropped)
    passed = {d.name: d.suffix for d in dropped if d.name not in ended}
    assert set(passed.values()) <= {".sph"}, passed
    for recording in dropped:
        if recording.name in ended:
            assert_ended_well(recording, ended[recording.name])
            assert ended[recording.name]["truncated"] is None, recording.name
    done = [name for name, row in ended.items() if row["state"] == "done"]
    assert len(done) == len(files) - len(passed), sorted(set(ended) - set(done))


@pytest.mark.parametrize("kind", ["broken", "noaudio"])
def test_damaged_recordings_fail_with_a_reason_or_report_the_cut(
    kind: str, dropscribe: DaemonProcess, shared: Path
) -> None:
    files = sorted((shared / "data" / "media" / kind).iterdir())
    dropped = drop(dropscribe, kind, files)
    ended = wait_for_all(dropscribe, dropped)
    assert set(ended) == {f.name for f in files}
    for recording in dropped:
        row = ended[recording.name]
        assert_ended_well(recording, row)
        assert (row["truncated"] is not None) == (recording.name in CUT), (recording.name, row["truncated"])
        if row["truncated"] is not None:
            assert document(recording)["media"]["truncated"] == row["truncated"]
    assert any(row["state"] == "failed" for row in ended.values())


@pytest.fixture(scope="module")
def funasr() -> Callable[[Any], str]:
    """Text that FunASR gives for 16 kHz int16 samples, without spaces."""
    import numpy as np
    import torch
    from funasr import AutoModel

    torch.set_num_threads(1)
    model: Any = AutoModel(
        model=str(BUNDLED / "paraformer-mini"), device="cpu", ncpu=1, disable_update=True, disable_pbar=True
    )

    def ask(pcm: Any) -> str:
        results = model.generate(input=torch.from_numpy(pcm.astype(np.float32) / 32768), fs=16_000)
        return "".join(r["text"] for r in results).replace(" ", "")

    return ask


def errors(said: str, reference: str) -> int:
    """Levenshtein distance in characters."""
    row = list(range(len(reference) + 1))
    for i, heard in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, meant in enumerate(reference, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (heard != meant))
    return row[-1]


def cer(texts: dict[str, str], references: dict[str, str]) -> float:
    """CER over all texts."""
    wrong = sum(errors(texts[name], reference) for name, reference in references.items())
    return wrong / sum(map(len, references.values()))


def test_distance() -> None:
    assert errors("", "今天") == 2
    assert errors("今日天", "今天") == 1
    assert errors("明天", "今天") == 1
    assert errors("天今", "今天") == 2


def references(shared: Path) -> Iterator[tuple[str, str]]:
    """(file name, reference text) of every AISHELL clip."""
    for line in (shared / "data/recordings/refs.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        file, text = line.split("\t")[:2]
        if file.startswith("aishell/"):
            yield Path(file).name, "".join(text.split())


def test_the_text_of_the_clips_equals_funasrs(
    dropscribe: DaemonProcess, shared: Path, funasr: Callable[[Any], str]
) -> None:
    import soundfile

    clips = sorted((shared / "data/recordings/aishell").glob("*.flac"))
    meant = dict(references(shared))
    assert set(meant) == {c.name for c in clips}
    assert len(clips) >= 60
    dropped = drop(dropscribe, "aishell", clips)
    ended = wait_for_all(dropscribe, dropped)
    assert {row["state"] for row in ended.values()} == {"done"}
    ours: dict[str, str] = {}
    theirs: dict[str, str] = {}
    for clip, recording in zip(clips, dropped, strict=True):
        samples, rate = soundfile.read(clip, dtype="int16")
        assert rate == 1000 * PER_MS
        segments = document(recording)["segments"]
        assert segments, clip.name
        # Words as recognised: without the marks of punctuation.
        spoken = [s.get("raw", s["text"]) for s in segments]
        said = [
            (text, funasr(samples[s["start_ms"] * PER_MS : s["end_ms"] * PER_MS]))
            for text, s in zip(spoken, segments, strict=True)
        ]
        ours[clip.name] = "".join(text for text, _ in said)
        theirs[clip.name] = "".join(wanted for _, wanted in said)
        assert ours[clip.name] == theirs[clip.name], clip.name
        kept = dropscribe.rows(
            "select text from segments where job_id = ? order by idx", ended[clip.name]["id"]
        )
        assert [row["text"] for row in kept] == spoken, clip.name
    assert cer(ours, meant) == cer(theirs, meant)
    # So that the equality above is not one of unrelated texts.
    assert cer(ours, meant) < 0.9
