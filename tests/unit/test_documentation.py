"""Form of the documentation: line width, links, code blocks, paths, and current generated parts."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

from dropscribe.config import load
from tests.support.documentation import (
    DOCS,
    LANGUAGES,
    NOT_RUN,
    PACKAGE,
    PACKAGE_IN_PLACE,
    PAGES,
    README,
    README_ZH,
    ROOT,
    Block,
    anchors,
    blocks,
    everything,
    prose,
    rows,
    section,
)

WIDEST = 120
LONGEST_README = 120
#: Pages whose text below a heading is generated: `docs/generate.py`.
GENERATE = DOCS / "generate.py"

in_place = pytest.mark.skipif(not PACKAGE_IN_PLACE, reason=f"the package is not in {PACKAGE} here")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


@each_page
def test_no_line_is_too_wide(page: Path) -> None:
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        assert len(line) <= WIDEST, f"line {number}"


@pytest.mark.parametrize("page", [README, README_ZH], ids=lambda p: p.name)
def test_the_readme_is_short(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").splitlines()) <= LONGEST_README


@each_page
def test_every_relative_link_resolves(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    for link in links:
        if re.match(r"https?://", link):
            continue
        name, _, fragment = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not PACKAGE_IN_PLACE and target.is_relative_to(ROOT / PACKAGE):
            continue
        assert target.exists(), link
        if fragment and target.suffix == ".md" and target != README_ZH:
            assert fragment in anchors(target), link


def test_every_page_is_linked_from_the_readme() -> None:
    for first in (README, README_ZH):
        linked = set(re.findall(r"\]\((docs/[\w-]+\.md)", first.read_text(encoding="utf-8")))
        assert {f"docs/{p.name}" for p in DOCS.glob("*.md")} == linked


@each_page
def test_the_list_of_sections_at_the_top_is_complete(page: Path) -> None:
    if page in (README, README_ZH) or page.name == "glossary.md":
        return
    titles = re.findall(r"^## (.+)$", prose(page), re.MULTILINE)
    head = page.read_text(encoding="utf-8").partition("\n## ")[0]
    assert re.findall(r"^- \[(.+)\]\(#", head, re.MULTILINE) == titles


@each_page
def test_every_code_block_has_a_known_kind(page: Path) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, block.name
        assert not block.note or (block.language == "sh" and block.note in NOT_RUN), block.name
    assert page.read_text(encoding="utf-8").count("```") == 2 * len(list(blocks(page)))


@pytest.mark.parametrize("block", [b for p in PAGES for b in blocks(p, "toml")], ids=lambda b: b.name)
def test_every_example_of_a_configuration_loads(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "dropscribe.toml"
    file.write_text(block.text, encoding="utf-8")
    assert load(file).sources, "it sets nothing"


def test_the_chinese_readme_has_the_same_commands() -> None:
    shell = [[b.text for b in blocks(page, "sh")] for page in (README, README_ZH)]
    assert shell[0] == shell[1]
    assert len(rows(README.read_text("utf-8"))) == len(rows(README_ZH.read_text("utf-8")))


def test_generated_parts_are_current(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the generator names the pages that it would write."""
    monkeypatch.setattr(sys, "argv", [str(GENERATE), "--check"])
    runpy.run_path(str(GENERATE), run_name="__main__")
    assert capsys.readouterr().out == ""


def named_paths() -> set[str]:
    """Paths of the checkout that occur in the documentation, files and folders."""
    found = re.findall(r"`((?:daemon|tests|benchmarks|systemd|migrations|docs)/[\w/.-]*)", everything())
    return {path.rstrip("/") for path in found}


def test_every_path_in_the_documentation_exists() -> None:
    paths = {p for p in named_paths() if PACKAGE_IN_PLACE or not p.startswith(PACKAGE)}
    assert len(paths) > 20
    for path in paths:
        assert (ROOT / path).exists(), path


def steps() -> list[tuple[str, str]]:
    """(file in the package, function) of every step of "Follow one recording"."""
    found = rows(section(DOCS / "architecture.md", "## Follow one recording"))
    return [(row[2].strip("`"), row[3].strip("`")) for row in found]


def test_follow_one_recording_names_each_file_once_in_numbered_steps() -> None:
    found = rows(section(DOCS / "architecture.md", "## Follow one recording"))
    assert [row[0] for row in found] == [str(i) for i in range(1, len(found) + 1)]
    files = [file for file, _ in steps()]
    assert len(files) > 25
    assert len(files) == len(set(files))


@in_place
@pytest.mark.parametrize(("file", "start"), steps())
def test_follow_one_recording_names_existing_code(file: str, start: str) -> None:
    text = (ROOT / PACKAGE / file).read_text(encoding="utf-8")
    assert re.search(rf"^ *(?:def|class) {start}\b", text, re.MULTILINE), f"{file}: {start}"


@in_place
def test_files_of_the_architecture_page_exist() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    named = {
        n for n in re.findall(r"`([a-z_]+(?:/[a-z_]+)*/[a-z_]+\.py)`", page) if not n.startswith("tests/")
    }
    below = {p.relative_to(ROOT / PACKAGE).as_posix() for p in (ROOT / PACKAGE).rglob("*.py")}
    for name in named:
        assert any(b == name or b.endswith(f"/{name}") for b in below), name


def test_every_guarantee_names_existing_tests() -> None:
    page = DOCS / "guarantees.md"
    text = page.read_text(encoding="utf-8")
    parts = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    assert [p[:2] for p in parts[:6]] == [f"{n}." for n in range(1, 7)]
    for number, part in enumerate(parts):
        named = re.findall(r"^- `((?:tests|benchmarks)/[\w/.]+)(?:::(\w+))?`$", part, re.MULTILINE)
        assert named, part.splitlines()[0]
        assert number >= 6 or all(name for _, name in named), part.splitlines()[0]
        for path, name in named:
            assert (ROOT / path).is_file(), path
            source = (ROOT / path).read_text(encoding="utf-8")
            assert not name or re.search(rf"^(?:def |class )?{name}\b", source, re.MULTILINE), (
                f"{path}::{name}"
            )


def test_every_soak_test_has_a_short_form_in_make_test() -> None:
    """The mark stands on parameters of tests only."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        assert not re.search(r"^@pytest\.mark\.soak", path.read_text(encoding="utf-8"), re.MULTILINE), path


def test_the_glossary_defines_each_term_once() -> None:
    terms = [row[0] for row in rows((DOCS / "glossary.md").read_text(encoding="utf-8"))]
    assert len(terms) > 40
    assert len({t.lower() for t in terms}) == len(terms)
    for title in ("## dropscribe", "## Speech recognition"):
        inside = [row[0].lower() for row in rows(section(DOCS / "glossary.md", title))]
        assert inside == sorted(inside)
