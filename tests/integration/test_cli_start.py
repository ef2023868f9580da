"""Properties of every command: light imports, help, one-line errors."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dropscribe import __version__
from dropscribe.cli.app import COMMANDS
from dropscribe.cli.commands.run import require_folder
from dropscribe.engine.models.store import SAMPLE
from dropscribe.errors import DropscribeError, UsageError
from tests.support.command_line import call, process

#: Modules that are slow to import and must not be loaded at the start of a command. (Typer itself imports pydantic.)
HEAVY = frozenset(
    "torch funasr numpy sqlalchemy alembic av soundfile soxr watchdog structlog sqlite3 pysqlite3".split()
)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["jobs", "--help"], ["run", "--help"]])
def test_nothing_heavy_is_imported_before_it_is_needed(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "dropscribe", *arguments],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    imported = {
        line.rsplit("|", 1)[1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line
    }
    assert "typer" in imported
    assert not imported & HEAVY


def test_history_and_settings_need_no_model(tmp_path: Path) -> None:
    for arguments in (["config"], ["init"], ["status"]):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "dropscribe", *arguments],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        imported = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if "|" in line}
        assert not imported & {"torch", "funasr", "numpy", "av", "sqlalchemy"}, arguments


def test_help_lists_every_command() -> None:
    helped = call("--help")
    assert all(re.search(rf"\b{name}\b", helped) for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    helped = call(name, "--help")
    assert "Usage" in helped
    # `export` prints JSON Lines with --format.
    assert "--json" in helped or name in ("run", "export", "web")


def test_version() -> None:
    assert call("--version").strip() == f"dropscribe {__version__}"


def test_an_error_is_one_clear_line_and_the_status_of_its_kind(tmp_path: Path) -> None:
    done = process("jobs", "--database", tmp_path / "none.db")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "none.db: there is no database" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_is_json_where_json_was_asked_for(tmp_path: Path) -> None:
    done = process("jobs", "--json", "--database", tmp_path / "none.db")
    assert done.returncode == 2
    document = json.loads(done.stdout)
    assert document["schema"] == "dropscribe/error/1"
    error = document["error"]
    assert error["code"] == "usage"
    assert error["path"] == str(tmp_path / "none.db")
    assert error["exit_code"] == 2
    assert error["reason"]
    assert error["remedy"]


def test_a_wrong_setting_names_file_field_and_remedy(tmp_path: Path) -> None:
    (tmp_path / "dropscribe.toml").write_text("[engine]\nmodle = 'x'\n", encoding="utf-8")
    done = process("config", cwd=tmp_path)
    assert done.returncode == 2
    for words in ("dropscribe.toml", "engine.modle", "did you mean 'model'?"):
        assert words in done.stderr


def test_an_unknown_option_is_a_usage_error() -> None:
    done = process("jobs", "--nonsense")
    assert done.returncode == 2
    assert "--nonsense" in done.stderr


def test_exit_codes_are_those_of_the_classes() -> None:
    kinds: list[type[DropscribeError]] = [DropscribeError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert {k.exit_code for k in kinds} == {1, 2, 3, 4, 5}
    # A class without its own code has that of its base class.
    coded = [k for k in kinds if "code" in vars(k)]
    assert len({k.code for k in coded}) == len(coded)


def test_inaccessible_directories_in_path_are_ignored(tmp_path: Path) -> None:
    """PATH may have directories of root after `runuser` or `sudo`."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    # Root may enter all directories unless these capabilities are dropped.
    powerless = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if powerless:
        os.chown(closed, 65534, 65534)
    command = [*powerless, sys.executable, "-m", "dropscribe", "transcribe", str(SAMPLE), "--device", "cpu"]
    done = subprocess.run(
        command, check=False, capture_output=True, encoding="utf-8", cwd=tmp_path, timeout=120,
        env={**os.environ, "PATH": f"{closed}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("what", ["missing", "file"])
def test_run_refuses_to_watch_what_is_no_folder(tmp_path: Path, what: str) -> None:
    path = tmp_path / "drop"
    if what == "file":
        path.write_bytes(b"sound")
    (tmp_path / "good").mkdir()
    database = tmp_path / "state" / "jobs.db"
    watched = ("--watch", str(tmp_path / "good"), "--watch", str(path))
    done = process("run", *watched, "--database", str(database), cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"dropscribe: watch {path}: ")
    assert line.endswith(")")
    assert not database.parent.exists()


def test_a_folder_to_watch_must_be_one_that_exists(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"sound")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "link").symlink_to(tmp_path)
    require_folder(tmp_path)
    require_folder(tmp_path / "link")
    for name in ("missing", "a.wav", "a.wav/below", "pipe", "dangling", "x" * 300):
        with pytest.raises(UsageError) as caught:
            require_folder(tmp_path / name)
        assert caught.value.path == tmp_path / name
        assert caught.value.reason
        assert caught.value.remedy
