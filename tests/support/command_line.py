"""Run commands in this process or in a new one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from dropscribe.cli.app import build


def call(*arguments: str | Path) -> str:
    """Run a command in this process; returns its standard output. Raises DropscribeError; the status must be 0."""
    status, output = outcome(*arguments)
    assert status == 0, output
    return output


def outcome(*arguments: str | Path) -> tuple[int, str]:
    """Exit status and standard output."""
    result = CliRunner().invoke(build(), [os.fspath(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def document(*arguments: str | Path) -> dict[str, Any]:
    """Parsed output of a command with --json."""
    found: dict[str, Any] = json.loads(call(*arguments, "--json"))
    return found


def process(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `python -m dropscribe …` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "dropscribe", *arguments],
        capture_output=True, encoding="utf-8", check=False, cwd=cwd, timeout=120,
    )  # fmt: skip
