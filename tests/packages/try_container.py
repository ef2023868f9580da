"""Build the container with buildah, and transcribe the sample recording in it, on a machine without a registry.

    apt-get install buildah debootstrap
    python3 -m tests.packages.try_container

as root, with 8 GB of disk; some minutes. The base image is a bare Debian that debootstrap makes. pip inside has the
configuration of this machine; folders that it names are shown to it with --bind. Only the build for processors is tried.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.packages.bare_debian import MIRROR, FailedStepError, Report, make

ROOT = Path(__file__).resolve().parents[2]
CONTAINER = ROOT / "packaging/container"
BASE = "localhost/dropscribe-base"
IMAGE = "localhost/dropscribe"
SAMPLE = ROOT / "daemon/dropscribe/engine/bundled/sample/sample.wav"
#: As its user: start, drop, wait, ask for the health, stop.
DROP = """
dropscribe run 2>/state/log &
for i in $(seq 600); do grep -q ready /state/log && break; sleep 0.5; done
cp /sample.wav /recordings/talk.wav
for i in $(seq 240); do [ -e /recordings/talk.txt ] && break; sleep 0.5; done
dropscribe status >/dev/null || { dropscribe status; exit 1; }
kill -TERM $!; wait $! || true
head -n 1 /recordings/talk.txt || { cat /state/log; exit 1; }
"""


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--root", type=Path, help="keep the bare Debian in this folder: the next run is quicker"
    )
    parser.add_argument("--mirror", default=MIRROR)
    parser.add_argument("--bind", type=Path, action="append", default=[], help="a file or folder of pip")
    options = parser.parse_args()
    # Without the rights and file systems that a container engine has.
    os.environ |= {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}
    report = Report()
    with tempfile.TemporaryDirectory(prefix="dropscribe-container-") as folder:
        try:
            base = options.root or Path(folder) / "base"
            make(base, ("ca-certificates",), options.mirror)
            report.step("a bare Debian")
            attempt(base, options.bind, report)
        except FailedStepError as e:
            print(f"FAILED  {e}", file=sys.stderr)
            return 1
    print("0 failed")
    return 0


def attempt(base: Path, binds: list[Path], report: Report) -> None:
    """Build the base, the image of the Containerfile, and use it."""
    scratch = buildah("from", "scratch")
    try:
        buildah("add", "--quiet", scratch, str(base), "/")
        buildah("commit", "--quiet", scratch, BASE)
    finally:
        buildah("rm", scratch)
    report.step("base image")
    shown = [f"--volume={p}:{p}:ro" for p in binds]
    file = str(CONTAINER / "Containerfile")
    buildah(
        "build", "--format=docker", f"--build-arg=BASE={BASE}", *shown, "-f", file, "-t", IMAGE, str(ROOT)
    )
    settings = json.loads(buildah("inspect", "--type=image", IMAGE))["Docker"]["config"]
    if (settings["Entrypoint"], settings["Cmd"], settings["User"]) != (["dropscribe"], ["run"], "1000:1000"):
        raise FailedStepError(f"the image starts something else: {settings}")
    used = buildah("from", "--pull-never", IMAGE)
    try:
        size = subprocess.run(
            ["du", "-sm", buildah("mount", used)], check=True, capture_output=True, text=True
        )
        report.step("the image", f"{size.stdout.split()[0]} MB")
        buildah("copy", "--quiet", "--chmod=644", used, str(SAMPLE), "/sample.wav")
        report.step("a recording is dropped", buildah("run", used, "--", "/bin/sh", "-ec", DROP))
    finally:
        buildah("rm", used)


def buildah(*arguments: str) -> str:
    """Output of a command of buildah. Raises FailedStepError."""
    done = subprocess.run(
        ["buildah", *arguments], check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise FailedStepError(f"buildah {' '.join(arguments)}\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
