"""The unit under a real systemd: boot.py, where it is asked for, and what it printed the last time."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.systemd import boot, machine

FOLDER = Path(__file__).parent
#: Options for boot.py, maybe none; without the variable it is not run, because it takes a quarter of an hour or more.
VARIABLE = "DROPSCRIBE_BOOT_TEST"
#: Checks and settings of the unit that are newer than the recorded result. Who boots the machine again empties them.
NOT_BOOTED_CHECKS = frozenset(
    {
        "command of a member of the group",
        "notifications by a service of their own",
        "page by its socket",
        "service made and removed by its own commands",
    }
)
NOT_BOOTED_SETTINGS = frozenset({"RuntimeDirectory=dropscribe", "RuntimeDirectoryMode=0750"})


def names_of_checks() -> list[str]:
    """As they are printed. Read, not imported: they belong to another machine."""
    tree = ast.parse((FOLDER / "checks.py").read_text(encoding="utf-8"))
    return [
        node.name.replace("_", " ")
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(d, ast.Name) and d.id == "check" for d in node.decorator_list)
    ]


def test_the_recorded_result_is_of_these_checks() -> None:
    result = (FOLDER / "result.txt").read_text(encoding="utf-8")
    assert re.findall(r"^ok +([^:]+):", result, re.MULTILINE) == [
        name for name in names_of_checks() if name not in NOT_BOOTED_CHECKS
    ]
    assert "\n0 failed\n" in result
    assert "FAILED" not in result


def test_the_recorded_result_is_of_this_unit() -> None:
    """Who changes a setting boots the machine again: `boot.py --out tests/systemd/result.txt`."""
    result = (FOLDER / "result.txt").read_text(encoding="utf-8")
    unit = (boot.CHECKOUT / "systemd/dropscribe.service").read_text(encoding="utf-8")
    assert set(unit.splitlines()) >= NOT_BOOTED_SETTINGS
    booted = "\n".join(line for line in unit.splitlines() if line not in NOT_BOOTED_SETTINGS)
    assert f"; unit {machine.digest(booted)}; " in result


@pytest.mark.timeout(4 * 3600)
def test_the_service_under_a_real_systemd() -> None:
    if VARIABLE not in os.environ:
        pytest.skip(f"set {VARIABLE} to boot a Debian (a quarter of an hour or more)")
    lacking = boot.lacking()
    if lacking:
        pytest.skip(lacking)
    done = subprocess.run(
        [sys.executable, str(FOLDER / "boot.py"), *shlex.split(os.environ[VARIABLE])],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
