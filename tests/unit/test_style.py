"""Names that were replaced by the field's terms do not come back: in modules, classes, functions and variables."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable
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


_OLD_PART = re.compile(rf"(?:^|_)(?:{'|'.join(map(re.escape, REPLACED))})(?:_|$)")


def old_names(found: Iterable[str]) -> list[str]:
    """Identifiers that are an old name, or contain one between underscores; names of tests are sentences."""
    return sorted(
        n
        for n in found
        if n in CLASSES or (not n.startswith("test_") and _OLD_PART.search(n.lower().strip("_")))
    )


def test_no_identifier_has_an_old_name() -> None:
    found: dict[str, list[str]] = {}
    for path in SOURCES:
        source = path.read_text(encoding="utf-8")
        # Most files have none in any word; identifiers of the others are told from their comments and strings.
        if old_names({*re.findall(r"\w+", source)}) and (names := old_names(identifiers(source))):
            found[path.relative_to(ROOT).as_posix()] = [f"{n}: {REPLACED.get(n.lower(), '')}" for n in names]
    assert found == {}, "use the terms of docs/glossary.md"


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
