"""Check the versions of Python and of the required packages."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata

from dropscribe.doctor.checks.record import Check, fail, ok

LOWEST_PYTHON = (3, 11)
#: Requirement in a package's metadata: `name[extra]>=1.2,<3; marker`; the order of the bounds varies.
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*([^;]*)(?:;(.*))?$")
_REINSTALL = "install dropscribe again: pip install --force-reinstall dropscribe"


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Check:
    """Check that the interpreter is new enough."""
    text = ".".join(str(part) for part in version)
    if version[:2] < LOWEST_PYTHON:
        return fail("python", f"Python {text}", "dropscribe needs Python 3.11 or newer")
    return ok("python", f"Python {text}")


def check_packages(requirements: Sequence[str], installed: Mapping[str, str | None]) -> Check:
    """Check that each required package is installed in a version within its bounds.

    `installed`: package → version, None if it is not installed. A requirement with a marker may be missing.
    """
    wrong: list[str] = []
    shown: list[str] = []
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match is None or "extra ==" in (match[3] or ""):
            continue
        name, bounds, marker = match[1], match[2].strip(), match[3]
        version = installed.get(name)
        if version is None:
            if not marker:
                wrong.append(f"{name} is missing")
            continue
        shown.append(f"{name} {version}")
        wrong += [
            f"{name} {version} is not {bound}" for bound in bounds.split(",") if not _within(version, bound)
        ]
    if wrong:
        return fail("packages", "; ".join(wrong), _REINSTALL)
    return ok("packages", ", ".join(sorted(shown, key=str.lower)))


def look_packages(distribution: str = "dropscribe") -> Check:
    """`check_packages` for this environment."""
    try:
        requirements = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return fail("packages", f"{distribution} itself is not installed", "pip install . in the checkout")
    names = [match[1] for r in requirements if (match := _REQUIREMENT.match(r))]
    return check_packages(requirements, {name: _installed(name) for name in names})


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _within(version: str, bound: str) -> bool:
    match = re.match(r"\s*(>=|<)\s*([\d.]+)", bound)
    if match is None:
        return True
    have, limit = _numbers(version), _numbers(match[2])
    return have >= limit if match[1] == ">=" else have < limit


def _numbers(version: str) -> tuple[int, ...]:
    """`2.13.0+cpu` → (2, 13, 0)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else [0]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
