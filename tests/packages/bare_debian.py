"""A bare Debian below a folder, made by debootstrap, in which commands run. Standard library only."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"


class FailedStepError(Exception):
    """A step ended otherwise than it should; the message says how."""


def make(root: Path, packages: Sequence[str], mirror: str = MIRROR) -> None:
    """Make the Debian, unless it is there."""
    if (root / "made").exists():
        return
    shutil.rmtree(root, ignore_errors=True)
    command = [
        "debootstrap",
        "--variant=minbase",
        f"--include={','.join(packages)}",
        SUITE,
        str(root),
        mirror,
    ]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise FailedStepError(done.stdout[-3000:])
    # Device nodes would be read when the folder is copied; `run` shows those of this machine.
    shutil.rmtree(root / "dev")
    (root / "dev").mkdir()
    (root / "made").touch()


def run(root: Path, script: str, binds: Sequence[Path] = (), *, status: int = 0) -> str:
    """Run a shell script inside, with mounts that end with it; returns what it printed.

    Variables of pip and of proxies are passed on; `binds`: folders that they name. Raises FailedStepError if it ends with another
    status.
    """
    shown = [*binds, *(p for p in (Path("/etc/ssl/certs"),) if p.is_dir())]
    for folder in shown:
        (root / folder.relative_to("/")).mkdir(parents=True, exist_ok=True)
    shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
    mounts = [f"mount --bind {shlex.quote(str(p))} {shlex.quote(f'{root}{p}')}" for p in shown]
    mounts += [
        f"mount -t proc proc {shlex.quote(f'{root}/proc')}",
        f"mount --rbind /dev {shlex.quote(f'{root}/dev')}",
    ]
    outside = " && ".join(
        [*mounts, f"exec chroot {shlex.quote(str(root))} /bin/sh -ec {shlex.quote(script)}"]
    )
    passed = {k: v for k, v in os.environ.items() if k.startswith("PIP_") or k.lower().endswith("_proxy")}
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "/bin/sh", "-c", outside],
        check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
             "DEBIAN_FRONTEND": "noninteractive", **passed},
    )  # fmt: skip
    if done.returncode != status:
        raise FailedStepError(f"{script}\nended with {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout


class Report:
    """Prints each step with its time."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def step(self, name: str, seen: str = "") -> None:
        """What was done since the step before."""
        now = time.monotonic()
        print(f"ok  {name}{': ' if seen else ''}{seen} [{now - self._began:.1f} s]")
        sys.stdout.flush()
        self._began = now
