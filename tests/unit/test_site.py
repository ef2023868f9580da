"""The static site: every page is in its navigation, no link leaves it. `make site` builds it."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.documentation import DOCS, ROOT

SITE = ROOT / "packaging" / "site"


@pytest.fixture(scope="module")
def builder() -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(SITE), *sys.path])
        return runpy.run_path(str(SITE / "build_site.py"))


def pages_of(entries: list[Any]) -> list[str]:
    """Files named in a navigation of mkdocs."""
    found: list[str] = []
    for entry in entries:
        for value in entry.values():
            found += pages_of(value) if isinstance(value, list) else [value]
    return found


def test_every_page_is_in_the_navigation(builder: dict[str, Any]) -> None:
    settings = yaml.safe_load((SITE / "mkdocs.yml").read_text(encoding="utf-8"))
    assert sorted(pages_of(settings["nav"])) == sorted(
        {p.name for p in DOCS.glob("*.md")} | {*builder["MOVED"].values()}
    )


def test_links_of_the_site_stay_in_it(builder: dict[str, Any], tmp_path: Path) -> None:
    builder["write_pages"](tmp_path / "pages")
    first = (tmp_path / "pages" / "index.md").read_text(encoding="utf-8")
    assert "](installation.md)" in first
    assert "](docs/" not in first
    installation = (tmp_path / "pages" / "installation.md").read_text(encoding="utf-8")
    assert "](../daemon" not in installation
    assert "```sh root" not in installation
    # The theme has the list of sections beside the page.
    assert "- [GPU or CPU](#gpu-or-cpu)" not in installation
    assert "[GPU or CPU](#gpu-or-cpu)" in installation
    chinese = (tmp_path / "pages" / "index.zh.md").read_text(encoding="utf-8")
    assert not re.search(r"[，。\u4e00-\u9fff]\n[\u4e00-\u9fff]", chinese)
