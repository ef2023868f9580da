"""`dropscribe adopt`: finished jobs are restored from valid transcripts only."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dropscribe.config import embedded
from dropscribe.errors import AlreadyRunningError, UsageError
from dropscribe.ledger.backend import lock_database, open_ledger
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.ledger.records import Admission
from dropscribe.transcript.naming import ending
from dropscribe.transcript.render import RENDERERS, Options, render_all
from dropscribe.transcript.timing import timing_log
from dropscribe.transcript.types import Transcript
from tests.support.command_line import call, document
from tests.support.ledgers import ENGINE, MEDIA, TIMINGS, segments


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


#: With the punctuation model that is on by default: results are shared only between equal recipes.
_ENGINE = replace(ENGINE, models=(*ENGINE.models, ("punctuation", "ct-punc-mini")))


def written(path: Path, content: bytes = b"sound", job: int = 7, stem: str | None = None) -> Transcript:
    """A recording and the files written for it by a daemon."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    transcript = Transcript(
        path.name, hashlib.sha256(content).hexdigest(), job, 1_700_000_000.25, MEDIA, _ENGINE,
        segments("预算会议", "再见"), TIMINGS,
    )  # fmt: skip
    base = path.with_name(stem or path.stem)
    for name, data in render_all(transcript, RENDERERS, Options()).items():
        base.with_name(base.name + ending(name)).write_bytes(data)
    log = timing_log(transcript, started=1_700_000_001.0, ended=1_700_000_002.5)
    base.with_name(f"{base.name}.timing.json").write_bytes(log)
    return transcript


def adopt(drop: Path, *options: str) -> dict[str, Any]:
    return document("adopt", drop, "--database", drop.parent / "jobs.db", *options)


def counts(report: dict[str, Any]) -> tuple[int, int, int, int]:
    return report["adopted"], report["on_record"], report["without_json"], len(report["skipped"])


def is_done(drop: Path, *recordings: Path) -> bool:
    """True if a daemon would not transcribe them again, unchanged and after a change of their mtime."""
    settings = embedded((drop,)).settings
    with closing(open_ledger(DatabaseLocation(drop.parent / "jobs.db"))) as ledger:
        known = {k.path for k in ledger.known(drop) if not k.unfinished}
        answers = ledger.admit(
            [
                Admission(
                    r,
                    drop,
                    r.stat().st_size,
                    1,
                    r.stat().st_ino,
                    hashlib.sha256(r.read_bytes()).hexdigest(),
                    "default",
                    settings.recipe("default"),
                    True,
                    0.0,
                    3,
                )
                for r in recordings
            ],
            2e9,
        )
    return known >= {str(r) for r in recordings} and not any(a.created for a in answers)


def test_finished_jobs_are_restored(drop: Path) -> None:
    one, deep = drop / "a.wav", drop / "sub" / "b.m4a"
    written(one)
    written(deep, b"other", 9, "b.m4a")
    assert counts(adopt(drop, "--dry-run")) == (2, 0, 0, 0)
    assert not (drop.parent / "jobs.db").exists()
    report = adopt(drop)
    assert counts(report) == (2, 0, 0, 0)
    assert report["differing"] == []
    assert counts(adopt(drop)) == (0, 2, 0, 0)
    assert is_done(drop, one, deep)
    database = drop.parent / "jobs.db"
    assert [h["job"] for h in document("jobs", "search", "预算会", "--database", database)["hits"]] == [9, 7]
    job = document("jobs", "show", "7", "--database", database)["job"]
    assert job["text"] == "预算会议\n再见"
    assert {o["format"] for o in job["outputs"]} == {*RENDERERS, "timing"}
    assert all(o["published"] for o in job["outputs"])
    assert job["stages"]["recognition"] == 0.25
    assert job["finished"] == "2023-11-14T22:13:22.500Z"


def test_renamed_recordings_are_found_by_their_content(drop: Path) -> None:
    written(drop / "a.wav")
    (drop / "a.wav").rename(drop / "renamed.wav")
    assert counts(adopt(drop)) == (1, 0, 0, 0)
    assert is_done(drop, drop / "renamed.wav")


def test_a_recording_with_other_content_is_not_adopted(drop: Path) -> None:
    written(drop / "a.wav")
    (drop / "a.wav").write_bytes(b"another recording")
    report = adopt(drop)
    assert counts(report) == (0, 0, 0, 1)
    assert "other content" in report["skipped"][0]["reason"]


def test_an_edited_transcript_is_not_owned_but_its_job_is_adopted(drop: Path) -> None:
    written(drop / "a.wav")
    (drop / "a.txt").write_text("corrected by hand\n")
    report = adopt(drop)
    assert report["differing"] == [str(drop / "a.txt")]
    assert is_done(drop, drop / "a.wav")
    with closing(open_ledger(DatabaseLocation(drop.parent / "jobs.db"))) as ledger:
        assert drop / "a.txt" not in ledger.owned([drop / "a.txt"])


def test_transcripts_without_json_are_counted(drop: Path) -> None:
    written(drop / "a.wav")
    (drop / "a.json").unlink()
    assert counts(adopt(drop)) == (0, 0, 1, 0)


def test_the_same_content_twice_is_stored_once(drop: Path) -> None:
    written(drop / "a.wav", job=3)
    written(drop / "b.wav", job=4)
    assert counts(adopt(drop, "--model", "mini", "--vad-model", "vad")) == (2, 0, 0, 0)
    hits = document("jobs", "search", "预算会", "--database", drop.parent / "jobs.db")["hits"]
    assert [h["job"] for h in hits] == [3]


def test_a_job_that_waits_in_a_new_database_is_not_done_again(drop: Path) -> None:
    written(drop / "a.wav", job=1)
    with closing(open_ledger(DatabaseLocation(drop.parent / "jobs.db"))) as ledger:
        sha = hashlib.sha256(b"sound").hexdigest()
        ledger.admit([Admission(drop / "a.wav", drop, 5, 1, 1, sha, "default", "x", True, 0.0, 3)], 1.0)
    assert counts(adopt(drop)) == (1, 0, 0, 0)
    listed = document("jobs", "--database", drop.parent / "jobs.db")["jobs"]
    assert sorted(j["state"] for j in listed) == ["cancelled", "done"]
    assert is_done(drop, drop / "a.wav")


def _set(path: str, value: object) -> Any:
    def change(document: Any) -> None:
        *outer, last = path.split(".")
        for part in outer:
            document = document[int(part) if isinstance(document, list) else part]
        document[last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", "dropscribe/transcript/2"), ("schema", 1), ("recording", None), ("recording.admitted", "yesterday"),
        ("recording.admitted", "9999-12-31T23:59:59"), ("job", 2**62), ("job", True), ("job", -1), ("media", []),
        ("media.duration_ms", "5"), ("media.warnings", {}), ("media.codec", "x" * 5000), ("engine.versions", {"a": 1}),
        ("segments", "none"), ("segments", [1]), ("segments.0.index", 4), ("segments.0.start_ms", -5),
        ("segments.0.text", None), ("segments.0.tokens", None), ("segments.0.tokens", [{"text": 5}]),
        ("segments.0.end_ms", float("nan")), ("generator", {}),
    ],
)  # fmt: skip
def test_wrong_values_are_refused_with_a_reason(drop: Path, path: str, value: object) -> None:
    written(drop / "a.wav")
    found = json.loads((drop / "a.json").read_text(encoding="utf-8"))
    _set(path, value)(found)
    (drop / "a.json").write_text(json.dumps(found), encoding="utf-8")
    report = adopt(drop)
    assert counts(report) == (0, 0, 0, 1)
    assert report["skipped"][0]["reason"]


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[" * 100_000, b"null", b"\xff\xfe", b'{"schema": ' + b"9" * 5000 + b"}", b'{"job": 1e999}'],
    ids=["empty", "cut", "deep", "null", "binary", "long number", "infinite"],
)
def test_files_that_are_no_transcripts_are_refused(drop: Path, data: bytes) -> None:
    written(drop / "a.wav")
    (drop / "a.json").write_bytes(data)
    assert counts(adopt(drop)) == (0, 0, 0, 1)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(4 * 1024**4)


def outside(path: Path) -> None:
    secret = path.parent.parent / "secret.json"
    (path.parent / "kept").rename(secret)
    path.symlink_to(secret)


@pytest.mark.parametrize("plant", [fifo, endless, sparse, outside])
@pytest.mark.parametrize("name", ["a.json", "a.txt", "a.timing.json"])
def test_planted_files_are_neither_waited_for_nor_followed(drop: Path, plant: Any, name: str) -> None:
    written(drop / "a.wav")
    (drop / name).rename(drop / "kept")
    plant(drop / name)
    report = adopt(drop)
    if name == "a.json":
        assert counts(report) == (0, 0, 0, 1)
    else:
        assert counts(report) == (1, 0, 0, 0)
        assert report["differing"] == [str(drop / name)]


def test_mirrored_trees_and_profiles(tmp_path: Path) -> None:
    calls, talks, out = tmp_path / "calls", tmp_path / "talks", tmp_path / "out"
    for folder in (calls / "may", talks, out / "may"):
        folder.mkdir(parents=True)
    written(calls / "may" / "a.wav")
    for name in (*("a" + ending(f) for f in RENDERERS), "a.timing.json"):
        (calls / "may" / name).rename(out / "may" / name.replace("a.srt", "a.zh.srt"))
    written(talks / "b.wav", b"talk", 8)
    config = tmp_path / "dropscribe.toml"
    config.write_text(
        f'database = "{tmp_path}/jobs.db"\n[profiles.calls]\noutput_dir = "{out}"\n'
        'subtitle_language_suffix = "zh"\n'
        f'[[folder]]\npath = "{calls}"\nprofile = "calls"\n[[folder]]\npath = "{talks}"\n'
    )
    assert counts(document("adopt", calls / "may", "--config", config)) == (1, 0, 0, 0)
    assert counts(document("adopt", tmp_path, "--config", config)) == (1, 1, 0, 0)
    listed = document("jobs", "--config", config)["jobs"]
    assert {j["profile"] for j in listed} == {"calls", "default"}
    (adopted,) = (j["id"] for j in listed if j["profile"] == "calls")
    outputs = document("jobs", "show", str(adopted), "--config", config)["job"]["outputs"]
    assert str(out / "may" / "a.zh.srt") in {o["path"] for o in outputs}
    with pytest.raises(UsageError, match="in no watched folder"):
        call("adopt", out, "--config", config)


def test_not_while_a_daemon_has_the_database(drop: Path) -> None:
    written(drop / "a.wav")
    with (
        closing(lock_database(DatabaseLocation(drop.parent / "jobs.db"))),
        pytest.raises(AlreadyRunningError),
    ):
        adopt(drop)
