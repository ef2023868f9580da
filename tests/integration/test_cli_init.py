"""`dropscribe init`: the written configuration file."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dropscribe import config
from dropscribe.cli.arguments.settings import database_location
from dropscribe.cli.commands import init
from dropscribe.cli.commands.init import production_file, toml_value
from dropscribe.errors import StorageError, UsageError
from tests.support.command_line import call, document, process

SECTIONS: dict[str, Any] = {
    "[engine]": config.EngineSettings,
    "[engine.models]": config.Models,
    "[media]": config.MediaSettings,
    "[service]": config.ServiceSettings,
    "[profiles.default]": config.Profile,
    "[[folder]]": config.Folder,
}


def every_setting() -> Iterator[tuple[str, str, Any]]:
    yield "", "database", config.Settings.model_fields["database"]
    for header, model in SECTIONS.items():
        for name, field in config.settings_of(model).items():
            yield header, name, field


def section(text: str, header: str) -> str:
    """Text from `header` to the next one; header "" selects the text before the first."""
    start = text.index(f"\n{header}\n") if header else 0
    following = re.search(r"^\[", text[start + len(header) + 2 :], re.MULTILINE)
    return text[start : start + len(header) + 2 + following.start()] if following else text[start:]


def words(text: str) -> str:
    return " ".join(text.replace("#", " ").split())


def test_it_loads_and_is_for_production(tmp_path: Path) -> None:
    file = tmp_path / "dropscribe.toml"
    call("init", file)
    settings = config.load(file).settings
    assert settings.engine.model == "paraformer-zh"
    assert settings.engine.vad_model == "fsmn-vad"
    assert settings.engine.device == "auto"
    assert settings.database == tmp_path / "jobs.db"
    assert [f.path for f in settings.folders] == [tmp_path / "drop"]
    assert (tmp_path / "drop").is_dir()
    assert not (tmp_path / "jobs.db").exists()


def test_that_of_the_service_has_its_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "SYSTEM_FILE", tmp_path / "dropscribe.toml")
    assert document("init", "--system")["folder"] == "/srv/dropscribe/inbox"
    settings = config.load(tmp_path / "dropscribe.toml").settings
    assert settings.database == Path("/var/lib/dropscribe/jobs.db")
    assert [f.path for f in settings.folders] == [Path("/srv/dropscribe/inbox")]
    assert settings.engine.device == "auto"
    assert not (tmp_path / "drop").exists()


def test_every_section_of_the_settings_is_in_it() -> None:
    groups = {
        "database",
        "host",
        "folders",
        "profiles",
        "engine",
        "media",
        "service",
        "cluster",
        "notify",
        "web",
    }
    assert set(config.Settings.model_fields) == groups


@pytest.mark.parametrize(
    ("header", "name", "field"), [pytest.param(*s, id=f"{s[0]}{s[1]}") for s in every_setting()]
)
def test_every_setting_is_in_it_with_description_and_default(header: str, name: str, field: Any) -> None:
    part = section(production_file(), header)
    assert words(field.description) in words(part)
    assert re.search(rf"^(# )?{name} = ", part, re.MULTILINE)
    if not field.is_required() and field.default is not None:
        assert words(toml_value(field.default)).replace(" ", "") in words(part).replace(" ", "")


def test_uncommented_it_is_still_valid(tmp_path: Path) -> None:
    # Not the notifications: each of them has one of several targets.
    production = production_file().partition("\n# [[notify]]\n")[0]
    text = re.sub(r"^# (\w+ = |  \"|\])", r"\1", production, flags=re.MULTILINE)
    assert "\n# max_wait_ms" not in text
    raw = tomllib.loads(text)
    assert raw["engine"]["max_wait_ms"] == 100
    words = tmp_path / "hotwords.txt"
    words.write_text("预算\n", encoding="utf-8")
    file = tmp_path / "all.toml"
    file.write_text(text.replace("/etc/dropscribe/hotwords.txt", str(words)), encoding="utf-8")
    assert config.load(file).settings.folders[0].extensions == config.RECORDING_EXTENSIONS


def test_a_file_that_is_there_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "dropscribe.toml"
    file.write_text("# mine\n", encoding="utf-8")
    with pytest.raises(UsageError, match="exists"):
        call("init", file)
    assert file.read_text(encoding="utf-8") == "# mine\n"


def test_force_keeps_the_file_that_was_there(tmp_path: Path) -> None:
    file = tmp_path / "dropscribe.toml"
    for number, backup in enumerate(("dropscribe.toml.bak", "dropscribe.toml.bak.2")):
        mine = f"# mine {number}\n"
        file.write_text(mine, encoding="utf-8")
        said = document("init", file, "--force")
        assert said == {
            "schema": "dropscribe/init/1",
            "file": str(file),
            "backup": str(tmp_path / backup),
            "folder": str(tmp_path / "drop"),
        }
        assert (tmp_path / backup).read_text(encoding="utf-8") == mine
        assert file.read_text(encoding="utf-8") == production_file(tmp_path)


def test_missing_folders_are_not_made_and_a_place_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder") as refused:
        call("init", tmp_path / "etc" / "dropscribe" / "dropscribe.toml")
    assert f"mkdir -p {tmp_path}/etc/dropscribe" in refused.value.remedy
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StorageError) as caught:
        call("init", tmp_path / "file" / "x")
    assert caught.value.remedy
    (tmp_path / "drop").write_text("", encoding="utf-8")
    assert "drop" in call("init", tmp_path / "a.toml"), "a file of that name is the doctor's matter"


def test_what_comes_next_is_said_with_the_option_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "dropscribe run\n" in call("init")
    assert f"dropscribe run --config {tmp_path}/my.toml\n" in call("init", "my.toml")


def test_after_it_every_command_there_uses_the_same_database_without_options(tmp_path: Path) -> None:
    assert process("init", cwd=tmp_path).returncode == 0
    file = tmp_path / "dropscribe.toml"
    text = file.read_text(encoding="utf-8").replace('asr = "paraformer-zh"', 'asr = "null"')
    file.write_text(text.replace('vad = "fsmn-vad"', 'vad = "null"'), encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-m", "dropscribe", "run"], cwd=tmp_path, stderr=subprocess.PIPE, encoding="utf-8"
    ) as daemon:
        assert daemon.stderr is not None
        lines = iter(daemon.stderr)
        assert any('"action": "ready"' in line for line in lines)
        status = json.loads(process("status", "--json", cwd=tmp_path).stdout)
        daemon.send_signal(signal.SIGTERM)
        for _ in lines:
            pass
    assert daemon.returncode == 0
    assert status["running"]
    jobs = json.loads(process("jobs", "--json", cwd=tmp_path).stdout)
    assert jobs["database"] == status["database"] == str(tmp_path / "jobs.db")


def test_the_history_in_the_current_directory_comes_before_a_configuration_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `run --watch ./drop` on a machine with a service."""
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    user = home / ".config" / "dropscribe" / "dropscribe.toml"
    user.parent.mkdir(parents=True)
    user.write_text('database = "/data/jobs.db"\n', encoding="utf-8")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("DROPSCRIBE_CONFIG", raising=False)
    monkeypatch.chdir(here)
    assert database_location(None, None).file == Path("/data/jobs.db")
    (here / "jobs.db").touch()
    assert database_location(None, None).file == here / "jobs.db"
    assert database_location(user, None).file == Path("/data/jobs.db")
    assert database_location(None, Path("other.db")).file == here / "other.db"
    (here / "dropscribe.toml").write_text('database = "/mine/jobs.db"\n', encoding="utf-8")
    assert database_location(None, None).file == Path("/mine/jobs.db")


def test_values_are_written_as_toml_reads_them() -> None:
    for value in (True, 3, 2.5, 'a "quoted" \\ path\n\x7f', ("a", "b"), ()):
        expected = list(value) if isinstance(value, tuple) else value
        assert tomllib.loads(f"x = {toml_value(value)}")["x"] == expected
