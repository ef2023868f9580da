"""Run commands in this process or in a new one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dropscribe.cli import app, streams
from dropscribe.cli.app import build, needed
from tests.support import forked


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


class Main:
    """Run the program in this process as from a shell: errors are printed, and end it with their exit code."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.setattr(streams, "prepare", lambda: None)
        monkeypatch.setenv("PATH", os.environ["PATH"])  # it is changed by the command
        for name in ("DROPSCRIBE_CONFIG", "XDG_CONFIG_HOME"):
            monkeypatch.delenv(name, raising=False)

    def __call__(
        self,
        *arguments: str | Path,
        cwd: Path,
        home: Path | None = None,
        within: AbstractContextManager[None] | None = None,
    ) -> Done:
        """Run a command in the directory `cwd`, `within` a context. An exception it raises fails the test."""
        self._monkeypatch.setenv("HOME", str(home or cwd))
        self._monkeypatch.chdir(cwd)
        self._monkeypatch.setattr(sys, "argv", ["dropscribe", *(os.fspath(a) for a in arguments)])
        with within or nullcontext(), pytest.raises(SystemExit) as ended:
            app.main()
        printed = self._capsys.readouterr()
        return Done(int(str(ended.value.code or 0)), printed.out, printed.err)


def call(*arguments: str | Path) -> str:
    """Run a command in this process; returns its standard output. Raises DropscribeError; the status must be 0."""
    status, output = outcome(*arguments)
    assert status == 0, output
    return output


def outcome(*arguments: str | Path) -> tuple[int, str]:
    """Exit status and standard output."""
    words = [os.fspath(a) for a in arguments]
    result = CliRunner().invoke(build(needed(words)), words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def document(*arguments: str | Path) -> dict[str, Any]:
    """Parsed output of a command with --json."""
    found: dict[str, Any] = json.loads(call(*arguments, "--json"))
    return found


def process(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `python -m dropscribe …` to its end."""
    return forked.run([sys.executable, "-m", "dropscribe", *arguments], cwd=cwd)
