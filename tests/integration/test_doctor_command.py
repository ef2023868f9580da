"""`dropscribe doctor` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from dropscribe import config
from dropscribe.cli.commands import doctor
from dropscribe.doctor.checks.hotwords import check_hotwords
from dropscribe.doctor.checks.languages import check_languages
from dropscribe.doctor.checks.model import problems_of, with_problems
from dropscribe.doctor.checks.record import Check, Level
from dropscribe.engine.models.hub import client as hub
from dropscribe.engine.protocol import HeldModel
from dropscribe.ledger.backend import lock_database
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.service.monitoring import status_file
from dropscribe.service.monitoring.status_file import Status
from dropscribe.transcript.types import EngineFacts


def called(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(doctor.command)
    return CliRunner().invoke(app, list(arguments))


def by_name(result: Result) -> dict[str, dict[str, Any]]:
    document = json.loads(result.stdout)
    assert document.keys() == {"schema", "checks"}
    assert document["schema"] == "dropscribe/doctor/1"
    for check in document["checks"]:
        assert check.keys() == {"name", "status", "detail", "remedy"}
        assert check["status"] in {"ok", "warning", "fail"}
        assert bool(check["remedy"]) == (check["status"] != "ok")
    names = [check["name"] for check in document["checks"]]
    assert len(names) == len(set(names)), "a name stands for one check"
    return {check["name"]: check for check in document["checks"]}


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """A healthy folder and database, and models without torch."""
    (tmp_path / "drop").mkdir()
    return [
        *("--watch", str(tmp_path / "drop"), "--database", str(tmp_path / "jobs.db")),
        *("--model", "null", "--vad-model", "null", "--device", "cpu"),
    ]


def test_hotwords_are_checked_only_for_profiles_that_have_some(tmp_path: Path) -> None:
    bundled = tmp_path / "tokens of its own"
    bundled.mkdir()
    for name, text in {
        "config.yaml": "model: SeacoParaformer\ntokenizer: CharTokenizer\n",
        "tokens.json": '["<blank>", "<s>", "</s>", "达", "摩", "<unk>"]',
        "seg_dict": "达 达\n摩 摩\n院 院\n",
        "model.pt": "",
    }.items():
        (bundled / name).write_text(text, encoding="utf-8")
    file = tmp_path / "my.toml"
    file.write_text(
        f'database = "{tmp_path}/jobs.db"\n[engine]\nmodel = "null"\nvad_model = "null"\ndevice = "cpu"\n'
        '[profiles.lab]\nhotwords = ["达摩"]\n[profiles.old]\nhotwords = ["达摩院", "摩"]\n',
        encoding="utf-8",
    )
    checks = by_name(called("--config", str(file), "--json"))
    assert {n for n in checks if n.startswith("hotwords")} == {"hotwords:lab", "hotwords:old"}
    assert checks["hotwords:lab"]["status"] == "warning"
    assert "does not support hotwords" in checks["hotwords:lab"]["detail"]
    loaded = config.override(config.load(file), engine__models__asr=str(bundled))
    lab, old = check_hotwords(loaded.settings)
    assert (lab.name, lab.status) == ("hotwords:lab", Level.OK)
    assert (old.name, old.status) == ("hotwords:old", Level.WARNING)
    assert old.detail.endswith(": 达摩院")


def test_the_hotwords_check_downloads_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model of a running daemon may be in the cache of another user."""
    monkeypatch.setattr(hub, "find", lambda _: None)
    monkeypatch.setattr(hub, "locate", None)
    file = tmp_path / "my.toml"
    file.write_text(
        '[engine]\nmodel = "paraformer-zh"\n[profiles.lab]\nhotwords = ["达摩"]\n', encoding="utf-8"
    )
    (check,) = check_hotwords(config.load(file).settings)
    assert check.status == Level.FAIL
    assert "not in the model cache of this user" in check.detail
    assert "MODELSCOPE_CACHE" in check.remedy


def test_a_language_that_a_model_does_not_know_and_a_model_that_cannot_be_loaded_are_named(
    tmp_path: Path,
) -> None:
    file = tmp_path / "my.toml"
    file.write_text(
        '[engine]\nmodel = "paraformer-mini"\n[profiles.lab]\nlanguage = "yue"\n', encoding="utf-8"
    )
    (check,) = check_languages(config.load(file).settings)
    assert (check.name, check.status) == ("language:lab", Level.WARNING)
    assert "paraformer-mini does not know the language yue" in check.detail
    held = (HeldModel("asr", "a", "loaded", 1), HeldModel("asr", "b", "failed", 0, "it is damaged"))
    works = Check("model", Level.OK, "a with v on cpu")
    failed = with_problems(works, problems_of([*held, *held]))  # of two devices
    assert failed.status == Level.FAIL
    assert failed.detail == "a with v on cpu; but b (asr) cannot be loaded: it is damaged"
    assert with_problems(works, problems_of(held[:1])) == works


def test_a_healthy_installation(options: list[str], tmp_path: Path) -> None:
    result = called(*options, "--json")
    assert result.exit_code == 0, result.stdout
    checks = by_name(result)
    assert {
        *("configuration", "python", "packages", "sqlite", "systemd", "clock", "database", "daemon"),
        *("memory", "torch", "device", "precision", "model", "inotify:watches", "inotify:instances"),
        *(f"folder:{tmp_path}/drop", f"watching:{tmp_path}/drop", "disk:database", f"disk:{tmp_path}/drop"),
    } == checks.keys()
    assert [p.name for p in tmp_path.iterdir()] == ["drop"], "the doctor leaves nothing behind"


def test_lines_for_people(options: list[str]) -> None:
    result = called(*options)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert any(line.startswith("ok      python: Python 3.") for line in lines)


def test_problems_are_reported_with_remedies(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "drop").rmdir()
    result = called(*options, "--json")
    assert result.exit_code == 1
    checks = by_name(result)
    assert checks[f"folder:{tmp_path}/drop"]["status"] == "fail"
    assert "create it" in checks[f"folder:{tmp_path}/drop"]["remedy"]


def test_a_missing_model(options: list[str], tmp_path: Path) -> None:
    options[options.index("--model") + 1] = str(tmp_path / "no-model")
    result = called(*options, "--json")
    assert result.exit_code == 1
    assert by_name(result)["model"]["status"] == "fail"


def test_the_bundled_model_loads_and_reports_its_facts(options: list[str]) -> None:
    options[options.index("--model") + 1] = "paraformer-mini"
    options[options.index("--vad-model") + 1] = "vad-mini"
    result = called(*options, "--json")
    assert result.exit_code == 0, result.stdout
    model = by_name(result)["model"]
    assert model["status"] == "warning"
    assert "paraformer-mini" in model["detail"]
    assert "on cpu" in model["detail"]


def test_a_configuration_that_cannot_be_read_leaves_the_rest_to_be_checked(tmp_path: Path) -> None:
    result = called("--config", str(tmp_path / "nothing.toml"), "--json")
    assert result.exit_code == 1
    checks = by_name(result)
    assert checks["configuration"]["status"] == "fail"
    assert "dropscribe init" in checks["configuration"]["remedy"]
    assert checks["python"]["status"] == "ok"


def test_beside_a_running_daemon_no_second_engine_is_started(options: list[str], tmp_path: Path) -> None:
    database = tmp_path / "jobs.db"
    facts = EngineFacts(
        (("asr", "some-model"), ("vad", "some-vad")), "cpu", "fp32", (("torch", "2"),), None, 1.5
    )
    held = lock_database(DatabaseLocation(database))
    try:
        status_file.write(DatabaseLocation(database), Status("ready", 0.0, facts, (), 0, 0), 0.0)
        checks = by_name(called(*options, "--json"))
    finally:
        held.close()
    assert "running as process" in checks["daemon"]["detail"]
    assert "some-model" in checks["model"]["detail"]
