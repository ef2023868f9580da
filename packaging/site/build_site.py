"""Build the documentation as a static site: `make site`.

    python packaging/site/build_site.py --out build/site

Needs the packages of requirements.txt beside it, and dropscribe. The result is files: any web server shows them, and a browser
opens index.html from a disk.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
#: Pages that lie elsewhere in the repository → their name in the site.
MOVED = {"README.md": "index.md", "README.zh.md": "index.zh.md", "CHANGELOG.md": "changes.md"}
#: iframe-worker 1.0.4 (MIT, see vendor/), which lets a browser search in pages that are files.
SHIM_ELSEWHERE, SHIM = "https://unpkg.com/iframe-worker/shim", "assets/javascripts/iframe-worker.js"
#: Endings of what pages show.
PICTURES = {".png", ".svg", ".jpg", ".webp"}
_CHINESE = "[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]"
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def main() -> None:
    """Copy, rewrite, build."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dropscribe-site-") as folder:
        work = Path(folder)
        write_pages(work / "pages")
        shutil.copyfile(HERE / "mkdocs.yml", work / "mkdocs.yml")
        command = [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--strict",
            "--quiet",
            "-d",
            str(options.out.resolve()),
        ]
        subprocess.run(command, check=True, cwd=work)
    localise(options.out)
    print(options.out)


def localise(site: Path) -> None:
    """Serve from the site what the theme would load from elsewhere: the shim by which the search works from a disk."""
    shutil.copyfile(HERE / "vendor/iframe-worker.js", site / SHIM)
    for path in site.glob("*.html"):
        text = path.read_text(encoding="utf-8").replace(SHIM_ELSEWHERE, SHIM)
        path.write_text(text, encoding="utf-8")
        loaded = re.findall(r'(?:src|<link[^>]* href)="(https?://[^"]+)', text)
        if loaded:
            raise SystemExit(f"{path} loads {loaded[0]}")


def write_pages(target: Path) -> None:
    """All pages of the site, with links that hold inside it."""
    target.mkdir(parents=True)
    for source in sorted((ROOT / "docs").rglob("*")):
        place = target / source.relative_to(ROOT / "docs")
        if source.suffix == ".md":
            place.write_text(rewritten(source, source.name), encoding="utf-8")
        elif source.suffix in PICTURES:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
    for name, place_name in MOVED.items():
        (target / place_name).write_text(rewritten(ROOT / name, place_name), encoding="utf-8")


def rewritten(source: Path, name: str) -> str:
    """Text of a page; links out of the documentation become plain text, since the repository is not there."""
    text = source.read_text(encoding="utf-8")

    def link(found: re.Match[str]) -> str:
        mark, label, address = found.groups()
        if re.match(r"[a-z]+:|#", address):
            return found[0]
        file, _, fragment = address.partition("#")
        inside = (source.parent / file).resolve().relative_to(ROOT).as_posix()
        target = MOVED.get(inside) or (inside.removeprefix("docs/") if inside.startswith("docs/") else None)
        if target is None:
            return label
        return f"{mark}[{label}]({target}{'#' if fragment else ''}{fragment})"

    text = "".join(
        part if part.startswith("```") else _LINK.sub(link, part)
        for part in re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    )
    # A second word on a fence is for the tests.
    text = re.sub(r"^```(\w+) \w+$", r"```\1", text, flags=re.MULTILINE)
    # Chinese has no blank between words, which a browser makes of the end of a line.
    text = re.sub(rf"(?<={_CHINESE})\n(?={_CHINESE})", "", text)
    # The list of sections at the top stands beside the page here.
    text = re.sub(r"\A(# [^\n]*\n(?:(?!##|- )[^\n]*\n)*)(?:- \[[^\]]*\]\(#[^)\n]*\)\n)+", r"\1", text)
    # Python-Markdown wants a blank line before a list.
    text = re.sub(r"([^\n|>\- ][^\n]*)\n(- )", r"\1\n\n\2", text)
    return text if name != "changes.md" else text.replace("<", "&lt;")


if __name__ == "__main__":
    main()
