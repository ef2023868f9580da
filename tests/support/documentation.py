"""Parse the documentation: pages, code blocks, tables, paths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
README_ZH = ROOT / "README.zh.md"
#: Every page, the READMEs first.
PAGES = (README, README_ZH, *sorted(DOCS.glob("*.md")))
#: Paths of the package and its sample recording as written in the pages.
PACKAGE = "daemon/dropscribe"
SAMPLE = f"{PACKAGE}/engine/bundled/sample/sample.wav"
#: False in a checkout whose package is not in `PACKAGE` yet: tests of these paths are skipped there.
PACKAGE_IN_PLACE = (ROOT / PACKAGE).is_dir()

#: Languages of code blocks: `sh` blocks are run, `toml` blocks are loaded, `ini` blocks are drop-ins of systemd, `sql` blocks
#: are queries.
LANGUAGES = frozenset({"sh", "toml", "ini", "json", "text", "sql"})
#: Second word of a fence ("```sh root"): why the block is checked but not run.
NOT_RUN = frozenset({"root", "network", "gpu", "checkout", "minutes", "recordings", "stopped"})

_FENCE = re.compile(r"^```(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of code. `line`: of the fence, from 1. `note`: the words after the language."""

    page: Path
    line: int
    language: str
    note: str
    text: str

    @property
    def name(self) -> str:
        """`docs/operations.md:17`, for messages and test ids."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, language: str | None = None) -> Iterator[Block]:
    """The fenced blocks of a page in order, of one language or all."""
    text = page.read_text(encoding="utf-8")
    for fence in _FENCE.finditer(text):
        found, _, note = fence[1].partition(" ")
        if language is None or found == language:
            yield Block(page, text.count("\n", 0, fence.start()) + 1, found, note, fence[2])


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def everything() -> str:
    """README.md and all pages below docs/, one after another."""
    return "\n".join(p.read_text(encoding="utf-8") for p in PAGES if p != README_ZH)


def section(page: Path, heading: str) -> str:
    """Text below a heading, up to the next one of the same or a higher level."""
    text = page.read_text(encoding="utf-8")
    level = len(heading) - len(heading.lstrip("#"))
    found = re.search(
        rf"^{re.escape(heading)}$\n(.*?)(?=^#{{1,{level}}} |\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert found is not None, f"{page.name} has no section '{heading}'"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Cells of every table row in a text, titles and rules left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    rules = {i for i, row in enumerate(cells) if row and set("".join(row)) <= set("-: ")}
    return [row for i, row in enumerate(cells) if i not in rules and i + 1 not in rules]


def anchors(page: Path) -> set[str]:
    """The fragments that links may name: a page's headings as GitHub spells them."""
    titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}
