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
#: Reports of boot.py: of all checks, and of those that were new or concerned something new afterwards (--only).
REPORTS = ("result.txt", "result-later.txt")


def names_of_checks() -> list[str]:
    """As they are printed. Read, not imported: they belong to another machine."""
    tree = ast.parse((FOLDER / "checks.py").read_text(encoding="utf-8"))
    return [
        node.name.replace("_", " ")
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(d, ast.Name) and d.id == "check" for d in node.decorator_list)
    ]


def report(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def test_every_check_was_ok_when_the_machine_was_booted() -> None:
    found = {name for which in REPORTS for name in re.findall(r"^ok +([^:]+):", report(which), re.MULTILINE)}
    assert found == set(names_of_checks())
    for which in REPORTS:
        assert "\n0 failed\n" in report(which)
        assert "FAILED" not in report(which)


def test_the_newest_report_is_of_this_unit() -> None:
    """Who changes a setting boots the machine again: `boot.py --out tests/systemd/result-later.txt`."""
    unit = (boot.CHECKOUT / "systemd/dropscribe.service").read_text(encoding="utf-8")
    assert f"; unit {machine.digest(unit)}; " in report(REPORTS[-1])


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
