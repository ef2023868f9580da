"""The rules of docs/architecture.md, read from the source of every module of the package."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.support.documentation import DOCS, rows, section

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "daemon"
PACKAGE = SOURCE / "dropscribe"
MOST_ENTRIES = 14
#: A file above this length is reviewed: its name goes into REVIEWED with the reason why it stays whole.
REVIEW_LINES = 500
REVIEWED: Mapping[str, str] = {
    "dropscribe.settings": "all settings, each a field with its description; the checks beside what they check",
    "dropscribe.ledger.interface": "the contract of a ledger, which callers and implementations read in one place",
    "dropscribe.files": "all of it opens files below a folder without following links, by the same few functions",
    "dropscribe.transcript.types": "the records of a result, which all rooms pass on, from tokens to transcript",
}

#: Who may import whom: every room, and the single modules that count as one.
BASE = frozenset(
    {
        "config",
        "settings",
        "notify_settings",
        "errors",
        "escapes",
        "columns",
        "durations",
        "files",
        "output_places",
        "formats",
        "hotword_files",
        "keeping_terms",
        "logs",
        "schedules",
        "records",
        "secret_files",
        "children",
        "",
    }
)
MIDDLE = frozenset({"intake", "ledger", "media", "engine"})
BELOW_PIPELINE = BASE | MIDDLE | {"transcript"}
BELOW_SERVICE = BELOW_PIPELINE | {"pipeline"}
BELOW_VIEWS = BELOW_SERVICE | {"service", "scoring"}
MAY_IMPORT: dict[str, frozenset[str]] = {
    "": frozenset(),
    "errors": frozenset({""}),
    "escapes": frozenset({""}),
    "columns": frozenset({""}),
    "durations": frozenset({""}),
    "records": frozenset({""}),
    "formats": frozenset({""}),
    "schedules": frozenset({""}),
    "hotword_files": frozenset({""}),
    "keeping_terms": frozenset({""}),
    "secret_files": frozenset({"", "errors"}),
    "files": frozenset({"", "errors"}),
    "output_places": frozenset({"", "errors", "files"}),
    "children": frozenset({"", "errors", "escapes"}),
    "logs": frozenset({"", "errors", "escapes"}),
    "settings": frozenset(
        {"", "formats", "hotword_files", "keeping_terms", "notify_settings", "schedules", "transcript"}
    ),  # formats of recordings and transcripts
    "notify_settings": frozenset({""}),
    "settings_errors": frozenset({"", "notify_settings", "settings"}),
    "config": frozenset(
        {"", "errors", "formats", "hotword_files", "notify_settings", "settings", "settings_errors"}
    ),
    "transcript": BASE - {"config", "settings", "notify_settings"},
    **{room: BASE | {"transcript"} for room in MIDDLE},
    "scoring": (BASE - {"config", "settings", "notify_settings"}) | {"transcript"},
    "pipeline": BELOW_PIPELINE,
    "service": BELOW_SERVICE,
    "bench": BELOW_VIEWS,
    "doctor": BELOW_VIEWS,
    "notify": BELOW_VIEWS,
    "installation": BASE,
    "views": BELOW_VIEWS,
    "web": BELOW_VIEWS | {"views"},
    "cli": BELOW_VIEWS | {"views", "doctor", "bench", "notify", "installation", "settings_errors", "web"},
    "__main__": frozenset({"", "cli"}),
}

#: Inside the engine: (room, rooms and modules of the engine it may import), longest name first.
ENGINE = "dropscribe.engine"
INSIDE_ENGINE: tuple[tuple[str, frozenset[str]], ...] = (
    ("core", frozenset({"core", "protocol", "wire"})),
    ("layers", frozenset({"layers", "core.interfaces", "core.turns", "protocol"})),
    ("vad", frozenset({"vad", "layers", "core.interfaces", "core.turns", "models", "protocol"})),
    ("models", frozenset({"models", "layers", "core.interfaces", "core.turns", "protocol"})),
)

#: Where each third-party package may be imported. A package that is not named here may be imported nowhere.
ONLY_IN: dict[str, frozenset[str]] = {
    "watchdog": frozenset({"intake"}),
    "sqlalchemy": frozenset({"ledger.sql", "migrations"}),
    "alembic": frozenset({"ledger.sql", "migrations"}),
    "psycopg": frozenset({"ledger.sql.postgresql"}),
    "pysqlite3": frozenset({"ledger.sql.sqlite"}),
    "sqlite3": frozenset({"ledger.sql.sqlite"}),
    "soundfile": frozenset({"media.sources"}),
    "av": frozenset({"media.sources"}),
    "soxr": frozenset({"media"}),
    "torch": frozenset({"engine"}),
    "triton": frozenset({"engine.layers"}),
    "numba": frozenset({"engine.vad"}),
    "funasr": frozenset({"engine.models", "bench"}),
    "modelscope_hub": frozenset({"engine.models.hub"}),
    "tqdm": frozenset({"engine.models.hub"}),
    "omegaconf": frozenset({"engine.models"}),
    "yaml": frozenset({"engine.models"}),
    "typer": frozenset({"cli"}),
    "click": frozenset({"cli"}),
    "rich": frozenset({"cli"}),
    "numpy": frozenset({"media", "engine", "pipeline", "service", "bench"}),
    "matplotlib": frozenset({"bench"}),
    "pyarrow": frozenset({"views.export"}),
    "pydantic": frozenset({"config", "settings", "notify_settings", "settings_errors"}),
    "apprise": frozenset({"notify"}),
    "prometheus_client": frozenset({"service.monitoring"}),
    "ray": frozenset({"pipeline.cluster"}),
    "structlog": frozenset({"logs"}),
    "rjieba": frozenset({"transcript.layout", "engine.models.punctuation"}),
    "rapidfuzz": frozenset({"scoring"}),
    "starlette": frozenset({"web"}),
    "python_multipart": frozenset({"web.openai"}),
    "uvicorn": frozenset({"web"}),
    "jinja2": frozenset({"web"}),
    "markupsafe": frozenset({"web"}),
}
#: Schedules and batches: a package that computes on a device has no place there, but in annotations.
NO_TORCH = "dropscribe.engine.core"


@dataclass(frozen=True)
class Import:
    """An imported module, and the importing line."""

    module: str
    line: int
    for_annotations: bool = False


def room_of(module: str) -> str:
    """`dropscribe.intake.watcher` → `intake`; the package itself → ``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def lies_in(module: str, rooms: frozenset[str]) -> bool:
    """Whether a module lies in one of these rooms or in a room of it; `rooms` may name rooms of rooms."""
    below = module.partition(".")[2] if module.startswith("dropscribe") else "migrations"
    return any(below == room or below.startswith(f"{room}.") for room in rooms)


def exists(module: str) -> bool:
    path = SOURCE.joinpath(*module.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


@cache
def imports_of(source: str, module: str, *, package: bool) -> tuple[Import, ...]:
    """Every import, also inside functions, with relative ones and imported modules spelt out."""
    return tuple(_imports(source, module, package=package))


def _imports(source: str, module: str, *, package: bool) -> Iterator[Import]:
    home = module.split(".") if package else module.split(".")[:-1]
    tree = ast.parse(source)
    annotations = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and _name(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        quiet = id(node) in annotations
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, quiet)
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else []
            name = ".".join([*base, *(node.module.split(".") if node.module else [])])
            if name.split(".")[0] == "dropscribe":
                for alias in node.names:
                    inner = f"{name}.{alias.name}"
                    yield Import(inner if exists(inner) else name, node.lineno, quiet)
            else:
                yield Import(name, node.lineno, quiet)
        elif isinstance(node, ast.Call) and _is_dynamic(node.func) and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield Import(first.value, node.lineno)


def _name(node: ast.expr) -> str:
    """Last part of a name; "" for any other expression."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _is_dynamic(function: ast.expr) -> bool:
    return _name(function) in {"import_module", "__import__"}


def violations(source: str, module: str, *, package: bool = False) -> list[str]:
    """Forbidden imports of a module."""
    room = room_of(module) if module.split(".", maxsplit=1)[0] == "dropscribe" else "migrations"
    found = []
    for i in imports_of(source, module, package=package):
        top = i.module.split(".")[0]
        if top == "dropscribe":
            target = room_of(i.module)
            allowed = MAY_IMPORT["ledger"] | {"ledger"} if room == "migrations" else MAY_IMPORT[room] | {room}
            if target not in allowed:
                found.append(
                    f"{module}:{i.line} imports {i.module}: {room or 'dropscribe'} may not use {target}"
                )
            elif not _allowed_in_engine(module, i.module):
                found.append(f"{module}:{i.line} imports {i.module}: see INSIDE_ENGINE")
        elif top in ONLY_IN and not lies_in(module, ONLY_IN[top]):
            rooms = ", ".join(sorted(ONLY_IN[top]))
            found.append(f"{module}:{i.line} imports {top}, which belongs to {rooms} only")
        elif top == "torch" and module.startswith(NO_TORCH) and not i.for_annotations:
            found.append(f"{module}:{i.line} imports {top}: {NO_TORCH} decides, it does not compute")
    return found


def _allowed_in_engine(module: str, imported: str) -> bool:
    if not module.startswith(f"{ENGINE}.") or not imported.startswith(f"{ENGINE}."):
        return True
    for room, allowed in INSIDE_ENGINE:
        if module.startswith(f"{ENGINE}.{room}."):
            return lies_in(imported, frozenset(f"engine.{a}" for a in allowed))
    return True


def modules() -> list[tuple[Path, str]]:
    """Every module of the package and of the migrations, by its dotted name."""
    found = []
    for top, root in ((PACKAGE, SOURCE), (ROOT / "migrations", ROOT)):
        for path in sorted(top.rglob("*.py")):
            relative = path.relative_to(root)
            if "bundled" in relative.parts:
                continue
            parts = list(relative.with_suffix("").parts)
            found.append((path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts)))
    return found


MODULES = modules()
NAMES = frozenset(name for _, name in MODULES)


def test_imports_go_one_way_and_packages_stay_in_their_room() -> None:
    found = [
        violation
        for path, module in MODULES
        for violation in violations(
            path.read_text(encoding="utf-8"), module, package=path.name == "__init__.py"
        )
    ]
    assert found == []


def test_a_long_file_has_been_reviewed() -> None:
    lines = {module: len(path.read_text(encoding="utf-8").splitlines()) for path, module in MODULES}
    long = {
        module: count for module, count in lines.items() if count > REVIEW_LINES and module not in REVIEWED
    }
    assert long == {}, "split it or enter it in REVIEWED"


def rooms() -> list[Path]:
    return [p.parent for p in sorted(PACKAGE.rglob("__init__.py")) if p.parent != PACKAGE]


def test_a_room_can_be_taken_in_at_a_glance() -> None:
    entries = {
        room.relative_to(PACKAGE).as_posix(): sum(
            p.name not in {"__init__.py", "__pycache__"} and not p.name.startswith(".")
            for p in room.iterdir()
        )
        for room in rooms()
    }
    full = {room: count for room, count in entries.items() if count > MOST_ENTRIES}
    assert full == {}, "give it rooms of its own"


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        name: {
            i.module
            for i in imports_of(path.read_text(encoding="utf-8"), name, package=path.name == "__init__.py")
            if i.module in NAMES
        }
        for path, name in MODULES
    }
    while free := [name for name, imported in graph.items() if not imported & graph.keys()]:
        for name in free:
            del graph[name]
    assert sorted(graph) == []


def test_every_room_has_an_import_rule() -> None:
    found = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    singles = {p.stem for p in PACKAGE.glob("*.py") if p.stem != "__init__"}
    assert found | singles <= MAY_IMPORT.keys()


def test_no_module_is_named_utils_or_helpers() -> None:
    assert [name for _, name in MODULES if name.endswith((".utils", ".util", ".helpers", ".misc"))] == []


def test_every_third_party_import_is_allowed_in_some_room() -> None:
    standard = sys.stdlib_module_names
    unknown = {
        f"{module} imports {i.module}"
        for path, module in MODULES
        for i in imports_of(path.read_text(encoding="utf-8"), module, package=path.name == "__init__.py")
        if (top := i.module.split(".")[0]) not in standard and top != "dropscribe" and top not in ONLY_IN
    }
    assert unknown == set()


def test_the_documented_table_of_rooms_equals_the_enforced_one() -> None:
    table = rows(section(DOCS / "architecture.md", "## Rooms and import order"))
    documented = {row[0].strip("`/"): row[2] for row in table}
    assert documented.keys() == {room.relative_to(PACKAGE).as_posix() for room in rooms()}
    for room, packages in documented.items():
        for package in re.findall(r"[a-z0-9_]+", packages):
            assert room.replace("/", ".") in ONLY_IN[package], package


def test_no_test_imports_another() -> None:
    """What tests share is in tests/support, so that a test file can be read, moved and removed by itself."""
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        source = path.read_text(encoding="utf-8")
        if not re.search(r"from\s+tests\.(?!support\b)", source):
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests."):
                parts = [*(node.module or "").split("."), *(a.name for a in node.names)]
                if any(p.startswith("test_") for p in parts[1:]) and "support" not in parts:
                    found.append(f"{name}:{node.lineno}")
    assert found == []


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from dropscribe.ledger.records import Claim", "dropscribe.intake.watcher"),
        ("from dropscribe.service import sd_notify", "dropscribe.engine.worker"),
        ("from dropscribe import service", "dropscribe.engine.worker"),
        ("from ..media import pool", "dropscribe.engine.worker"),
        ("from dropscribe.service import daemon", "dropscribe.pipeline.local.pump"),
        ("from dropscribe.cli import app", "dropscribe.views.status"),
        ("from dropscribe.doctor import examination", "dropscribe.bench.gauge"),
        ("from dropscribe.engine.models import store", "dropscribe.engine.core.scheduler"),
        ("from dropscribe.engine.core import scheduler", "dropscribe.engine.models.hub.client"),
        ("from dropscribe.engine.models.paraformer import cif", "dropscribe.engine.layers.sanm"),
        ("import torch", "dropscribe.engine.core.batcher"),
        ("import sqlalchemy", "dropscribe.ledger.records"),
        ("def f():\n    import torch", "dropscribe.doctor.checks.device"),
        ("import importlib\nimportlib.import_module('torch.cuda')", "dropscribe.doctor.checks.device"),
        ("import numpy as np", "dropscribe.ledger.sql.schema"),
        ("import pydantic", "dropscribe.engine.models.store"),
        ("from structlog.stdlib import BoundLogger", "dropscribe.service.daemon"),
        ("import sqlite3", "dropscribe.doctor.checks.database"),
        ("import rich", "dropscribe.service.daemon"),
        ("from dropscribe.transcript.types import Segment", "dropscribe.config"),
        ("from dropscribe.service import daemon", "migrations.env"),
    ],
)
def test_the_rules_detect_violations(source: str, module: str) -> None:
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from dropscribe.ledger.records import Claim\nimport numpy", "dropscribe.service.daemon"),
        ("from dropscribe import __version__, logs", "dropscribe.service.daemon"),
        ("from . import types", "dropscribe.intake.watcher"),
        ("import torch, numpy", "dropscribe.engine.worker"),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch",
            "dropscribe.engine.core.batcher",
        ),
        ("from dropscribe.engine.core.interfaces import Vad", "dropscribe.engine.models.hub.client"),
    ],
)
def test_the_rules_accept_allowed_imports(source: str, module: str) -> None:
    assert violations(source, module) == []
