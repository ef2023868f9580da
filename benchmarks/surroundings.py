"""Machine, versions and commit for the report of every benchmark, and its output."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dropscribe as product
from dropscribe.bench.comparison import machine

ROOT = Path(__file__).resolve().parents[1]
# Some benchmarks use code of the tests, which is not installed.
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))


def parser(description: str | None) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--out", type=Path, help="write the report there, too")
    return made


def report(name: str, options: argparse.Namespace, figures: dict[str, Any]) -> None:
    """Print the report as JSON, and write it to --out."""
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items() if k != "out"}
    document = {
        "benchmark": name,
        "dropscribe": product.__version__,
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "machine": machine(),
        "versions": {"python": sys.version.split()[0], **{p: version(p) for p in ("torch", "funasr")}},
        "settings": settings,
        **figures,
    }
    text = json.dumps(document, indent=2, ensure_ascii=False)
    print(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n", encoding="utf-8")


def _git(*arguments: str) -> str | None:
    """Output of a git command; None outside a checkout."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=ROOT, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
