"""Build the container, and transcribe the sample recording in it, by itself and by compose.yaml, without a registry.

    apt-get install buildah debootstrap podman runc && pip install podman-compose
    python3 -m tests.packages.try_container

as root, with 8 GB of disk (--build cuda: 30 GB); some minutes. The base image is a bare Debian that debootstrap makes. pip inside
has the configuration of this machine if its files are shown to it with --bind. Without a GPU, the build with CUDA transcribes on
the processor, and compose.cuda.yaml is not started.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.packages.bare_debian import MIRROR, FailedStepError, Report, make

ROOT = Path(__file__).resolve().parents[2]
CONTAINER = ROOT / "packaging/container"
BASE = "localhost/dropscribe-base"
IMAGE = "localhost/dropscribe"
SAMPLE = ROOT / "daemon/dropscribe/engine/bundled/sample/sample.wav"
#: User and group of the container of compose.yaml: not those of the image.
OWNER = 1234
#: Longest time for a recording, with the start of the daemon, seconds.
LONGEST_S = 300
#: podman without systemd, and within the limits of this machine, which a container engine may usually raise.
ENGINE = """
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
"""
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
    parser.add_argument("--build", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--postgresql", action="store_true", help="with driver and clients of PostgreSQL")
    options = parser.parse_args()
    # Without the rights and file systems that a container engine has.
    os.environ |= {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}
    report = Report()
    with tempfile.TemporaryDirectory(prefix="dropscribe-container-") as folder:
        try:
            base = options.root or Path(folder) / "base"
            make(base, ("ca-certificates",), options.mirror)
            report.step("a bare Debian")
            attempt(base, options.bind, options.build, report, postgresql=options.postgresql)
            if options.build == "cpu" and shutil.which("podman") and shutil.which("podman-compose"):
                attempt_compose(Path(folder), report)
            else:
                print(
                    "--  compose.yaml: not tried (it needs podman, podman-compose and the build for processors)"
                )
        except FailedStepError as e:
            print(f"FAILED  {e}", file=sys.stderr)
            return 1
    print("0 failed")
    return 0


def attempt(base: Path, binds: list[Path], build: str, report: Report, *, postgresql: bool) -> None:
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
    arguments = [f"--build-arg=BASE={BASE}", f"--build-arg=BUILD={build}", *shown, "-f", file, "-t", IMAGE]
    if postgresql:
        arguments.append("--build-arg=POSTGRESQL=yes")
    buildah("build", "--format=docker", *arguments, str(ROOT))
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
        if postgresql:
            client = buildah(
                "run", used, "--", "/bin/sh", "-ec", "python -c 'import psycopg' && pg_dump --version"
            )
            report.step("PostgreSQL", client)
    finally:
        buildah("rm", used)


def attempt_compose(folder: Path, report: Report) -> None:
    """Start the service of compose.yaml, as another user than that of the image; its state outlives the container."""
    recordings = folder / "recordings"
    recordings.mkdir()
    os.chown(recordings, OWNER, OWNER)
    (folder / "containers.conf").write_text(ENGINE, encoding="utf-8")
    os.environ |= {
        "CONTAINERS_CONF": str(folder / "containers.conf"), "RECORDINGS": str(recordings), "OWNER": f"{OWNER}:{OWNER}",
    }  # fmt: skip
    compose("up", "-d", "--no-build")
    try:
        drop(recordings, "first")
        # Inside, as the user of the service.
        owner = (recordings / "first.txt").stat().st_uid
        if owner != OWNER or '"done"' not in inside("dropscribe", "jobs", "--json"):
            raise FailedStepError(f"a transcript of user {owner}; {inside('dropscribe', 'jobs')}")
        inside("dropscribe", "status")
        denied = inside("sh", "-c", "touch /opt/x || cat /proc/net/dev")
        if "eth" in denied:
            raise FailedStepError(f"it has a network: {denied}")
        report.step("compose.yaml: up, a recording is dropped", "read-only, without a network")
        compose("down")
        compose("up", "-d", "--no-build")
        drop(recordings, "second")
        listed = inside("dropscribe", "jobs")
        if not ("first.wav" in listed and "second.wav" in listed):
            raise FailedStepError(f"the history is not kept: {listed}")
        report.step("down and up again", "the history is kept")
    finally:
        compose("down", "--volumes")


def drop(recordings: Path, name: str) -> None:
    """Drop the sample recording into the folder of the container, and wait for its transcript."""
    shutil.copyfile(SAMPLE, recordings / f"{name}.wav")
    for _ in range(LONGEST_S):
        if (recordings / f"{name}.timing.json").exists():
            return
        time.sleep(1)
    raise FailedStepError(f"no transcript after {LONGEST_S} s:\n{compose('logs', 'dropscribe')[-3000:]}")


def compose(*arguments: str) -> str:
    """Output of a command of podman-compose with compose.yaml."""
    return command("podman-compose", "-f", str(CONTAINER / "compose.yaml"), *arguments)


def inside(*arguments: str) -> str:
    """Output of a command in the container of the service."""
    return compose("exec", "-T", "dropscribe", *arguments)


def buildah(*arguments: str) -> str:
    """Output of a command of buildah. Raises FailedStepError."""
    return command("buildah", *arguments)


def command(*arguments: str) -> str:
    """Output of a command. Raises FailedStepError."""
    done = subprocess.run(arguments, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise FailedStepError(f"{' '.join(arguments)}\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
