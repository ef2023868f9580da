"""The rules of daemon/dropscribe/ARCHITECTURE.md, read from the source of every module of the package."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "daemon"
MOST_LINES = 500

#: Who may import whom: every room, and the single modules that count as one.
BASE = frozenset({"config", "settings", "errors", "escapes", "files", "logs", ""})
MIDDLE = frozenset({"intake", "ledger", "media", "engine"})
MAY_IMPORT: dict[str, frozenset[str]] = {
    "": frozenset(),
    "errors": frozenset({""}),
    "escapes": frozenset({""}),
    "files": frozenset({"", "errors"}),
    "logs": frozenset({"", "errors", "escapes"}),
    "settings": frozenset({""}),
    "config": frozenset({"", "errors", "settings"}),
    "transcript": BASE,
    **{room: BASE | {"transcript"} for room in MIDDLE},
    "service": BASE | MIDDLE | {"transcript"},
    "cli": BASE | MIDDLE | {"transcript", "service"},
    "__main__": frozenset({"", "cli"}),
}

#: Where each third-party package may be imported. A package that is not named here may be imported nowhere.
ONLY_IN: dict[str, frozenset[str]] = {
    "watchdog": frozenset({"intake"}),
    "sqlalchemy": frozenset({"ledger", "migrations"}),
    "alembic": frozenset({"ledger", "migrations"}),
    "pysqlite3": frozenset({"ledger"}),
    "sqlite3": frozenset({"ledger"}),
    "soundfile": frozenset({"media"}),
    "av": frozenset({"media"}),
    "soxr": frozenset({"media"}),
    "torch": frozenset({"engine"}),
    "triton": frozenset({"engine"}),
    "numba": frozenset({"engine"}),
    "funasr": frozenset({"engine"}),
    "modelscope": frozenset({"engine"}),
    "modelscope_hub": frozenset({"engine"}),
    "tqdm": frozenset({"engine"}),
    "omegaconf": frozenset({"engine"}),
    "yaml": frozenset({"engine"}),
    "typer": frozenset({"cli"}),
    "click": frozenset({"cli"}),
    "rich": frozenset({"cli"}),
    "numpy": frozenset({"media", "engine", "service"}),
    "matplotlib": frozenset({"service"}),
    "pydantic": frozenset({"config", "settings"}),
    "structlog": frozenset({"logs"}),
}


@dataclass(frozen=True)
class Import:
    """One imported module, and where."""

    module: str
    line: int


def room_of(module: str) -> str:
    """`dropscribe.intake.watcher` → `intake`; the package itself → ``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports_of(source: str, module: str, *, package: bool) -> Iterator[Import]:
    """Every import, also inside functions, with relative ones and `from daemon import x` spelt out."""
    home = module.split(".") if package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else []
            name = ".".join([*base, *(node.module.split(".") if node.module else [])])
            if name == "daemon":
                for alias in node.names:
                    inner = (PACKAGE / f"{alias.name}.py").exists() or (PACKAGE / alias.name).is_dir()
                    yield Import(f"daemon.{alias.name}" if inner else "daemon", node.lineno)
            else:
                yield Import(name, node.lineno)
        elif isinstance(node, ast.Call) and _is_dynamic(node.func) and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield Import(first.value, node.lineno)


def _is_dynamic(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in {"import_module", "__import__"}


def violations(source: str, module: str, *, package: bool = False) -> list[str]:
    """What a module imports and may not."""
    room = room_of(module) if module.split(".", maxsplit=1)[0] == "daemon" else "migrations"
    found = []
    for i in imports_of(source, module, package=package):
        top = i.module.split(".")[0]
        if top == "daemon":
            target = room_of(i.module)
            allowed = MAY_IMPORT["ledger"] | {"ledger"} if room == "migrations" else MAY_IMPORT[room] | {room}
            if target not in allowed:
                found.append(f"{module}:{i.line} imports {i.module}: {room or 'daemon'} may not use {target}")
        elif top in ONLY_IN and room not in ONLY_IN[top]:
            rooms = ", ".join(sorted(ONLY_IN[top]))
            found.append(f"{module}:{i.line} imports {top}, which belongs to {rooms} only")
    return found


def modules() -> list[tuple[Path, str]]:
    """Every module of the package and of the migrations, by its dotted name."""
    found = []
    for root in (PACKAGE, ROOT / "migrations"):
        for path in sorted(root.rglob("*.py")):
            relative = path.relative_to(ROOT)
            if "bundled" in relative.parts:
                continue
            parts = list(relative.with_suffix("").parts)
            found.append((path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts)))
    return found


MODULES = modules()
NAMES = [name for _, name in MODULES]


@pytest.mark.parametrize(("path", "module"), MODULES, ids=NAMES)
def test_imports_go_one_way_and_packages_stay_in_their_room(path: Path, module: str) -> None:
    source = path.read_text(encoding="utf-8")
    assert violations(source, module, package=path.name == "__init__.py") == []


@pytest.mark.parametrize(("path", "module"), MODULES, ids=NAMES)
def test_a_file_stays_under_the_limit(path: Path, module: str) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines < MOST_LINES, f"{module} has {lines} lines; split it"


def test_every_room_has_a_rule() -> None:
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    singles = {p.stem for p in PACKAGE.glob("*.py") if p.stem != "__init__"}
    assert rooms | singles <= MAY_IMPORT.keys()


def test_no_module_is_a_drawer_of_odds_and_ends() -> None:
    assert [name for _, name in MODULES if name.endswith((".utils", ".util", ".helpers", ".misc"))] == []


def test_every_third_party_import_has_a_room() -> None:
    standard = sys.stdlib_module_names
    unknown = {
        f"{module} imports {i.module}"
        for path, module in MODULES
        for i in imports_of(path.read_text(encoding="utf-8"), module, package=path.name == "__init__.py")
        if (top := i.module.split(".")[0]) not in standard and top != "daemon" and top not in ONLY_IN
    }
    assert unknown == set()


def test_the_table_of_rooms_in_the_document_is_the_one_enforced() -> None:
    text = (PACKAGE / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if re.match(r"\| `\w+/` \|", line)]
    documented = {row[1].strip().strip("`/"): row[3] for row in rows}
    assert documented.keys() == {"transcript", "service", "cli", *MIDDLE}
    for room, packages in documented.items():
        for package in (p.strip() for p in packages.split("(")[0].split(",")):
            if package != "–":
                assert ONLY_IN[package] - {"migrations"} == {room}, package


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from dropscribe.ledger.records import Claim", "dropscribe.intake.watcher"),
        ("from dropscribe.service import notify", "dropscribe.engine.worker"),
        ("from daemon import service", "dropscribe.engine.worker"),
        ("from ..media import pool", "dropscribe.engine.worker"),
        ("def f():\n    import torch", "dropscribe.doctor.checks.device"),
        ("import importlib\nimportlib.import_module('torch.cuda')", "dropscribe.doctor.checks.device"),
        ("import numpy as np", "dropscribe.ledger.sqlite.schema"),
        ("import pydantic", "dropscribe.engine.models.store"),
        ("from structlog.stdlib import BoundLogger", "dropscribe.service.daemon"),
        ("import sqlite3", "dropscribe.doctor.checks.ledger"),
        ("import rich", "dropscribe.service.daemon"),
        ("from dropscribe.transcript.types import Segment", "dropscribe.config"),
        ("from dropscribe.service import daemon", "migrations.env"),
    ],
)
def test_the_rules_catch_what_breaks_them(source: str, module: str) -> None:
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from dropscribe.ledger.records import Claim\nimport numpy", "dropscribe.pipeline.pump"),
        ("from daemon import __version__, logs", "dropscribe.service.daemon"),
        ("from . import types", "dropscribe.intake.watcher"),
        ("import torch, funasr, numpy", "dropscribe.engine.worker"),
    ],
)
def test_the_rules_allow_what_they_should(source: str, module: str) -> None:
    assert violations(source, module) == []
