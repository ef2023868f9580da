"""Standard output has only the output of the command: no log lines, no output of libraries or child processes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dropscribe.cli.app import COMMANDS
from dropscribe.engine.models.store import SAMPLE
from tests.support.command_line import Main, process
from tests.support.terminal import shown_on

#: Options of the model that recognises nothing, for tests in which the words do not matter.
NULL = ("--model", "null", "--vad-model", "null", "--device", "cpu")
#: A command that prints JSON while a library and a child print to descriptor 1, as C code and children do.
CHATTY = """
import ctypes, os, subprocess, sys
from dropscribe.cli import app
from dropscribe.cli.commands import status
from dropscribe import logs

def command(as_json: bool = False) -> None:
    os.write(1, b"descriptor\\n")
    ctypes.CDLL(None).puts(b"library")
    ctypes.CDLL(None).fflush(None)
    subprocess.run(["echo", "child"], check=True)
    logs.event(logs.get("test"), logs.Action.ENGINE, "log line")
    print("answer")

status.command = command
app.COMMANDS = ("status",)
sys.argv = ["dropscribe", "status"]
app.main()
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Main:
    return Main(monkeypatch, capsys)


def test_what_libraries_and_children_print_goes_to_standard_error() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHATTY], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "answer\n", done.stderr
    assert done.returncode == 0
    for words in ("descriptor", "library", "child", "log line"):
        assert words in done.stderr


def test_a_child_does_not_hold_the_output_open(tmp_path: Path) -> None:
    """Otherwise a reader of the output would wait for a child that outlives the command."""
    code = CHATTY.replace('["echo", "child"]', '["sh", "-c", "sleep 100 2>/dev/null & echo $! >pid"]')
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=tmp_path,
    ) as command:  # fmt: skip
        assert command.stdout is not None
        assert command.stdout.read() == "answer\n"
    # Raises ProcessLookupError if the output ended only with the child.
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


@pytest.mark.parametrize(
    "name",
    [
        *(c for c in COMMANDS if c not in ("run", "web", "models", "speakers", "notify", "export")),
        "models list",
        "notify list",
        "speakers list",
        "jobs search",
    ],
)
def test_a_wrong_command_line_is_one_document_too(name: str, run: Main, tmp_path: Path) -> None:
    done = run(*name.split(), "--json", "--no-such-option", cwd=tmp_path)
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "usage"
    assert "--no-such-option" in error["reason"]
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["config"], 0),
        (["init", "made.toml"], 0),
        (["status"], 1),
        (["jobs"], 2),
        (["jobs", "show", "1"], 2),
        (["jobs", "search", "x"], 2),
        (["jobs", "skipped"], 2),
        (["transcribe", "none.wav"], 2),
        (["transcribe", str(SAMPLE), "--model", "/none"], 5),
        (["bench", "none.wav"], 2),
        (["models", "path", "vad-mini"], 0),
        (["doctor", *NULL, "--bundle", "/none/x.tar.gz"], 1),
        (["transcribe", str(SAMPLE), *NULL], 0),
        pytest.param(["doctor", "--model", "/none"], 1, marks=pytest.mark.soak),
        pytest.param(["transcribe", str(SAMPLE), "--device", "cpu"], 0, marks=pytest.mark.soak),
    ],
)
def test_with_json_every_command_prints_one_document(
    arguments: list[str], status: int, tmp_path: Path
) -> None:
    done = process(*arguments, "--json", cwd=tmp_path)
    assert done.returncode == status, done.stderr
    json.loads(done.stdout)
    assert "Traceback" not in done.stderr


def test_at_a_terminal_the_result_goes_where_standard_output_leads(tmp_path: Path) -> None:
    """rich must not redirect the result to standard error, where the bars are."""
    screen, terminal = pty.openpty()
    with (tmp_path / "out.json").open("wb") as out:
        command = subprocess.Popen(
            [sys.executable, "-m", "dropscribe", "transcribe", SAMPLE, "--json", *NULL],
            stdout=out, stderr=terminal, cwd=tmp_path,
        )  # fmt: skip
        os.close(terminal)
        shown = shown_on(screen)
        os.close(screen)
        assert command.wait(120) == 0
    assert json.loads((tmp_path / "out.json").read_bytes())["ok"]
    assert b"sample.wav" in shown, "the bar"
    assert b'"transcript"' not in shown


@pytest.mark.parametrize(
    "locale", ["C", *(pytest.param(other, marks=pytest.mark.soak) for other in ("POSIX", "en_US.ISO-8859-1"))]
)
def test_json_is_utf_8_in_every_locale(locale: str, tmp_path: Path) -> None:
    env = {**os.environ, "LC_ALL": locale, "PYTHONIOENCODING": "latin-1", "PYTHONCOERCECLOCALE": "0"}
    (tmp_path / "会议.wav").symlink_to(SAMPLE)
    done = subprocess.run(
        [sys.executable, "-m", "dropscribe", "transcribe", "会议.wav", "--json", *NULL],
        capture_output=True, check=True, cwd=tmp_path, env=env, timeout=120,
    )  # fmt: skip
    made = json.loads(done.stdout.decode("utf-8"))
    assert Path(made["file"]).name == "会议.wav"
    assert made["transcript"]["text"]
    assert "会议.wav".encode() in done.stdout, "not escaped"


@pytest.mark.parametrize("arguments", [("config",), pytest.param(("doctor", *NULL), marks=pytest.mark.soak)])
def test_a_full_disk_while_printing_json_is_reported(arguments: tuple[str, ...], tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dropscribe", *arguments, "--json"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path, timeout=120,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "dropscribe: write to standard output: No space left on device"
    )
