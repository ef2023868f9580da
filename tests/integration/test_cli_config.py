"""`dropscribe config`: settings in force and their sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from dropscribe import config
from dropscribe.config import Profile
from dropscribe.errors import ConfigError
from dropscribe.transcript.naming import DEFAULT_FORMATS
from tests.support.command_line import call, document, process


def settings(*arguments: str | Path) -> dict[str, tuple[object, str]]:
    return {s["name"]: (s["value"], s["source"]) for s in document("config", *arguments)["settings"]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "my.toml"
    file.write_text(
        'database = "/data/jobs.db"\n[engine]\nmodel = "paraformer-zh"\n'
        '[profiles.lectures]\nformats = ["txt"]\n[[folder]]\npath = "/in"\nprofile = "lectures"\n',
        encoding="utf-8",
    )
    return file


def test_file_command_line_and_default_are_told_apart(file: Path) -> None:
    found = settings("--config", file, "--device", "cpu")
    assert found["database"] == ("/data/jobs.db", str(file))
    assert found["engine.device"] == ("cpu", "command line")
    assert found["engine.max_wait_ms"] == (100, "default")
    assert found["folder.0.path"] == ("/in", str(file))
    assert found["profiles.lectures.formats"] == (["txt"], str(file))
    assert found["profiles.lectures.timing_log"] == (True, "default")


def test_without_a_file_the_folder_is_from_the_command_line(tmp_path: Path) -> None:
    found = settings("--watch", tmp_path, "--database", tmp_path / "x.db")
    assert found["folder.0.path"] == (str(tmp_path), "command line")
    assert found["database"] == (str(tmp_path / "x.db"), "command line")
    assert found["engine.models.asr"] == found["engine.model"] == ("paraformer-mini", "embedded")


def test_every_setting_is_listed(file: Path) -> None:
    found = settings("--config", file)
    for prefix, model in (
        ("engine", config.EngineSettings),
        ("engine.models", config.Models),
        ("media", config.MediaSettings),
        ("service", config.ServiceSettings),
        ("profiles.default", config.Profile),
        ("profiles.lectures", config.Profile),
        ("folder.0", config.Folder),
    ):
        assert {f"{prefix}.{name}" for name in config.settings_of(model)} <= set(found)
    assert "database" in found


def test_it_can_be_read_by_people(file: Path) -> None:
    said = call("config", "--config", file)
    assert f"# configuration: {file} (named by --config)" in said
    assert any(
        line.split() == ["engine.models.asr", str(file), '"paraformer-zh"'] for line in said.splitlines()
    )
    assert any(line.split() == ["engine.threads", "default", "(not", "set)"] for line in said.splitlines())
    assert not any(line.endswith(" ") for line in said.splitlines())


def test_the_file_in_the_working_directory_is_found(file: Path) -> None:
    file.rename(file.with_name("dropscribe.toml"))
    said = process("config", cwd=file.parent).stdout
    assert "/data/jobs.db" in said
    assert f"# configuration: {file.with_name('dropscribe.toml')} (found in the current directory)" in said


def test_watch_and_a_file_exclude_each_other(file: Path) -> None:
    with pytest.raises(ConfigError):
        call("config", "--config", file, "--watch", "/x")


def test_hotwords_are_kept_once_each_and_shape_the_recipe_of_their_profile_only(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text(
        '[profiles.plain]\n[profiles.lab]\nhotwords = [" 达摩院", "machine  learning", "达摩院"]\n', "utf-8"
    )
    settings = config.load(file).settings
    assert settings.profile("lab").hotwords == ("达摩院", "machine learning")
    # Results are shared only between equal hotwords; older jobs, without hotwords, keep their recipe.
    assert (
        settings.recipe("plain")
        == settings.recipe("gone")
        == ("paraformer-zh|fsmn-vad|punctuation=ct-punc-mini")
    )
    assert settings.recipe("lab") != settings.recipe("plain")
    other = tmp_path / "other.toml"
    other.write_text('[profiles.lab]\nhotwords = ["达摩"]\n', encoding="utf-8")
    assert settings.recipe("lab") != config.load(other).settings.recipe("lab")


@pytest.mark.parametrize("hotwords", ['["ok", " "]', str(["w"] * 1001), f'["{"x" * 51}"]'])
def test_hotwords_out_of_bounds_are_refused(tmp_path: Path, hotwords: str) -> None:
    file = tmp_path / "my.toml"
    file.write_text(f"[profiles.lab]\nhotwords = {hotwords}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"profiles\.lab\.hotwords"):
        config.load(file)


def test_a_format_that_has_no_renderer_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "dropscribe.toml"
    file.write_text('[profiles.default]\nformats = ["txt", "pdf"]\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r'formats\.1 is "pdf", but must be one of txt, srt, vtt, json, md'):
        config.load(file)
    assert Profile.model_validate({}).formats == DEFAULT_FORMATS


def test_a_database_on_a_server_is_shown_as_it_was_written_and_never_with_a_password(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('database = "postgresql://me@host/jobs?passfile=/etc/pw"\n', encoding="utf-8")
    assert settings("--config", file)["database"] == ("postgresql://me@host/jobs?passfile=/etc/pw", str(file))
    file.write_text('database = "postgresql://me:s3cret@host/jobs"\n', encoding="utf-8")
    done = process("config", "--config", file)
    assert done.returncode == 2
    assert "has a password in it" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr
