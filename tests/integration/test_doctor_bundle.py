"""`dropscribe doctor --support-bundle`: facts for diagnosis without private data."""

from __future__ import annotations

import json
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from dropscribe.doctor import journal, support_bundle
from dropscribe.doctor.redaction import Mask
from dropscribe.errors import StorageError, UsageError
from tests.support.command_line import outcome
from tests.support.histories import History

#: Texts that must not occur in a bundle.
PRIVATE = (
    "Board meeting", "budget of the hospital", "预算", "anna", "Dr Weber", "Weber", "legal", "Ms Klein", "Klein",
    "Patient 17", "takeover", "hunter2",
)  # fmt: skip
CONFIG = """
database = "{database}"
[engine]
model = "null"
vad_model = "null"
device = "cpu"
batch_s = 77
[profiles.legal]
hotwords = ["takeover", "Dr Weber"]
output_dir = "{out}"
[[folder]]
path = "{folder}"
profile = "legal"
exclude = ["*hunter2*"]
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory with finished and failed recordings, and a configuration."""
    home = tmp_path / "home/anna"
    folder = home / "Board meeting"
    folder.mkdir(parents=True)
    (home / "Patient 17").mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    # The journal of this machine is unknown; `redact` has its own test.
    monkeypatch.setattr(journal, "read", list)
    database = home / "jobs.db"
    with History(database) as history:
        history.done("Board meeting.wav", "the budget of the hospital", "预算")
        history.failed(
            "Dr Weber's call.m4a",
            "it holds no sound: /in/Dr Weber's call.m4a (title 'Ms Klein'), see Dr Weber's call",
            f"look at {folder}/Dr Weber's call.m4a, or ask for '--help'",
        )
        history.waiting("anna.wav", time.time())
    text = CONFIG.format(database=database, folder=folder, out=home / "Patient 17")
    (home / "anna.toml").write_text(text, encoding="utf-8")
    return home


def members(file: Path) -> dict[str, str]:
    with tarfile.open(file) as archive:
        files = {m.name: archive.extractfile(m) for m in archive.getmembers()}
        return {name: f.read().decode("utf-8") for name, f in files.items() if f is not None}


def documents(file: Path) -> dict[str, Any]:
    return {Path(name).name: json.loads(text) for name, text in members(file).items()}


def test_the_bundle_has_the_facts_for_diagnosis_and_nothing_private(home: Path) -> None:
    file = home / "bundle.tar.gz"
    status, _ = outcome("doctor", "--config", "anna.toml", "--bundle", str(file))
    assert status == 0
    for name, text in members(file).items():
        for word in (*PRIVATE, str(home), str(home.parent)):
            assert word not in text, f"{word} stands in {name}: {text}"
    found = documents(file)
    assert found["about.json"]["schema"] == support_bundle.SCHEMA
    assert {"dropscribe", "python", "torch", "funasr"} <= found["about.json"]["versions"].keys()
    settings = {s["name"]: s for s in found["settings.json"]}
    assert settings["engine.batch_s"] == {"name": "engine.batch_s", "value": 77.0, "source": "file"}
    assert settings["engine.models.asr"]["value"] == settings["engine.model"]["value"] == "null"
    assert settings["media.max_hours"]["source"] == "default"
    (hotwords,) = (s["value"] for n, s in settings.items() if n.endswith("hotwords") and "default" not in n)
    assert hotwords == "2 words"
    checks = {c["name"]: c["status"] for c in found["doctor.json"]}
    assert checks["database"] == "ok"
    assert found["jobs.json"]["counts"] == {"queued": 1, "running": 0, "done": 1, "failed": 1, "cancelled": 0}
    (timed,) = found["jobs.json"]["timings"]
    assert timed["audio_s"] == 5.0
    assert timed["stages_s"]["recognition"] == 0.25
    (failure,) = found["failures.json"]
    assert failure["code"] == "no_audio"
    assert failure["file"].endswith(".m4a")
    assert failure["reason"].startswith("it holds no sound: ")
    # Remedies are fixed texts and are not redacted.
    assert "'--help'" in failure["remedy"]
    assert file.stat().st_mode & 0o777 == 0o600, "for its owner"


def test_it_never_replaces_a_file(home: Path) -> None:
    file = home / "bundle.tar.gz"
    file.write_bytes(b"mine")
    before = file.read_bytes()
    with pytest.raises(UsageError, match="the file exists"):
        outcome("doctor", "--config", "anna.toml", "--bundle", str(file))
    assert file.read_bytes() == before
    with pytest.raises(StorageError):
        outcome("doctor", "--config", "anna.toml", "--bundle", "nowhere/bundle.tar.gz")


def test_unreadable_sources_are_listed_as_missing(home: Path) -> None:
    (home / "anna.toml").write_text("database = 7\nsecret = 'hunter2'\n", encoding="utf-8")
    file = home / "bundle.tar.gz"
    status, _ = outcome("doctor", "--config", "anna.toml", "--bundle", str(file))
    assert status == 1
    found = documents(file)
    assert "settings.json" in found["about.json"]["missing"]
    assert found["settings.json"] == []
    assert any(c["name"] == "configuration" and c["status"] == "fail" for c in found["doctor.json"])
    assert "hunter2" not in "".join(members(file).values())


@pytest.mark.parametrize(
    "text",
    [
        "[profiles.legal]\nformats = ['pdf']",
        "[profiles.'Ms Klein']\nhotwords = 'Dr Weber'",
        "[profiles.default]\ntakeover = 3",
        "[engine]\ndevice = 'hunter2'",
        "[[folder]]\npath = 'Board meeting'",
        "[[folder]]\npath = '/Board meeting'\nprofile = 'legal'",
        "[legal]\n[legal]",
        "model = Klein",
    ],
)
def test_an_invalid_configuration_leaks_no_names(home: Path, text: str) -> None:
    (home / "anna.toml").write_text(text, encoding="utf-8")
    file = home / "bundle.tar.gz"
    outcome("doctor", "--config", "anna.toml", "--bundle", str(file))
    (check,) = (c for c in documents(file)["doctor.json"] if c["name"] == "configuration")
    assert check["status"] == "fail"
    for name, written in members(file).items():
        for word in PRIVATE:
            assert word not in written, f"{word} stands in {name}: {check}"


def test_a_damaged_database_does_not_stop_it(home: Path) -> None:
    (home / "jobs.db").write_bytes(b"not a database at all" * 100)
    file = home / "bundle.tar.gz"
    outcome("doctor", "--config", "anna.toml", "--bundle", str(file))
    assert "not a database" in documents(file)["about.json"]["missing"]["jobs.json"]


def test_journal_lines_are_redacted() -> None:
    done = {
        "action": "job_done", "level": "info", "job": 3, "audio_s": 61.5, "path": "Ms Klein.wav",
        "event": "Ms Klein.wav: 1:01 in 1.2 s (51×) → Ms Klein.txt",
    }  # fmt: skip
    folder = {"action": "folder", "level": "warning", "event": "/srv/Dr Weber: does not exist; create it"}
    messages = [
        json.dumps(done),
        json.dumps(folder),
        "Traceback (most recent call last):",
        '  File "/home/anna/venv/lib/python3.11/site-packages/daemon/dropscribe/pipeline/local/pump.py", line 7, in turn',
        "    handle('Ms Klein.wav')",
        '  File "/home/anna/venv/lib/python3.11/site-packages/torch/nn/modules/module.py", line 8, in _call_impl',
        "ValueError: bad name Ms Klein.wav",
        "[mov @ 0x1] title: takeover",
    ]
    entries = [{"MESSAGE": m, "SYSLOG_IDENTIFIER": "dropscribe"} for m in messages]
    entries.append({"MESSAGE": "dropscribe.service: Watchdog timeout!", "SYSLOG_IDENTIFIER": "systemd"})
    told = list(journal.redact(entries, Mask({})))
    assert told[0] == {"action": "job_done", "level": "info", "job": 3, "audio_s": 61.5}
    assert told[1]["event"].endswith(": does not exist; create it")
    assert told[2:] == [
        {"file": "pipeline/local/pump.py", "line": 7, "function": "turn"},
        {"file": "modules/module.py", "line": 8, "function": "_call_impl"},
        {"exception": "ValueError"},
        {"systemd": "dropscribe.service: Watchdog timeout!"},
    ]
    assert not any(word in json.dumps(told, ensure_ascii=False) for word in PRIVATE)


def test_marks_are_stable_within_a_bundle_only() -> None:
    one, other = Mask({}), Mask({})
    assert one.name("/in/a.wav") == one.name(Path("/elsewhere/a.wav"))
    assert one.name("a.wav") != one.name("b.wav")
    assert one.name("a.wav") != other.name("a.wav")
    # The part after the last dot of a name is not always an extension.
    assert "Klein" not in one.name("call of Ms. Klein and others")
    assert one.text("16 kHz, 3/4 of it, n/a") == "16 kHz, 3/4 of it, n/a"
    known = Mask({"folder": [Path("/srv/in")]})
    assert known.text("watching /srv/in by inotify").endswith("> by inotify")
    assert "Klein" not in known.text("/srv/in/Ms Klein.wav: permission denied")
    assert known.text("/srv/in/Ms Klein.wav: permission denied").endswith(": permission denied")
