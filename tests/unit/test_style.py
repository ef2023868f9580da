"""Names that were replaced by the field's terms do not come back: in modules, classes, functions and variables."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("daemon", "tests", "benchmarks", "migrations")
#: Old name → the term used instead. Whole identifiers, or their parts between underscores.
REPLACED = {
    "verdicts": "outcome_writer",
    "doubts": "device failures (retry_policy)",
    "patience": "storage_retry",
    "upkeep": "maintenance",
    "keeper": "engine_supervisor",
    "seat": "MemberState",
    "bury": "remove_member",
    "wholeness": "completeness",
    "drafts": "output plans",
    "draft": "output_plan",
    "spoken_of": "reported",
    "ensemble": "LoadedModels",
    "looks": "vad_schedule, VAD passes",
    "vad_search": "vad_runner",
    "watchpost": "root_monitor",
    "extras": "search_schema",
    "crowded": "throughput_mode",
    "crowd": "throughput mode",
    "let_go": "release_traceback",
}
CLASSES = frozenset(
    {"Verdicts", "Doubts", "Patience", "Upkeep", "EngineKeeper", "Seat", "Wholeness", "Wall", "Draft", "Spoken", "Ensemble",
     "Looks", "Watchpost", "Hold", "Book", "Waits", "Piece", "Extras"}
)  # fmt: skip
MODULES = frozenset(
    {"verdicts", "doubts", "patience", "upkeep", "conditions", "engine_keeper", "wholeness", "wall", "draft", "loop", "looks",
     "vad_search", "stages", "outcomes", "book", "hold", "waits", "watchpost", "extras", "first_text"}
)  # fmt: skip
#: Tests and benchmarks name what they hold: fakes of the engine's stages.
ALLOWED_MODULES = frozenset({"tests/support/stages.py"})

SOURCES = sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py"))


def identifiers(source: str) -> set[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.string for t in tokens if t.type == tokenize.NAME}


def old_names(found: set[str]) -> list[str]:
    """Identifiers that are an old name, or contain one between underscores; names of tests are sentences."""
    pattern = re.compile(rf"(?:^|_)(?:{'|'.join(map(re.escape, REPLACED))})(?:_|$)")
    return sorted(
        n
        for n in found
        if n in CLASSES or (not n.startswith("test_") and pattern.search(n.lower().strip("_")))
    )


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_identifier_has_an_old_name(path: Path) -> None:
    found = old_names(identifiers(path.read_text(encoding="utf-8")))
    assert found == [], (
        f"use the terms of docs/glossary.md: {[(n, REPLACED.get(n.lower(), '')) for n in found]}"
    )


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.name)
def test_no_page_names_code_by_an_old_name(page: Path) -> None:
    quoted = re.findall(r"`([\w./]+)`", page.read_text(encoding="utf-8"))
    assert old_names({part for name in quoted for part in re.split(r"[./]", name)}) == []


def test_no_module_has_an_old_name() -> None:
    named = {
        p.relative_to(ROOT).as_posix() for p in SOURCES if p.stem in MODULES or p.stem.endswith("_material")
    }
    assert named <= ALLOWED_MODULES


@pytest.mark.parametrize("name", ["Patience", "_upkeep", "book_looks", "seat", "DRAFT"])
def test_an_old_name_is_found(name: str) -> None:
    assert old_names({name}) == [name]
