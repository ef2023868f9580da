"""Check that a service can run this installation, before anything is written. Each check raises UsageError."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path

import dropscribe
from dropscribe.errors import UsageError

#: Oldest systemd with all that the units use.
OLDEST_SYSTEMD = 252
#: Folders that the units hide from the service (ProtectHome=, PrivateTmp=).
HIDDEN = tuple(Path(p) for p in ("/home", "/root", "/run/user", "/tmp", "/var/tmp"))  # noqa: S108
_OPERATION = "install the service"
_ELSEWHERE = (
    "install dropscribe into an environment that every user can read, such as python3 -m venv /opt/dropscribe/venv, and run "
    "install-service from there; --user makes a service of your own"
)


def this_program() -> tuple[Path, tuple[Path, ...]]:
    """The command `dropscribe` of this environment, and all that a service must be able to read to run it."""
    program = Path(sys.executable).with_name("dropscribe")
    if not program.is_file():
        program = Path(sysconfig.get_path("scripts")) / "dropscribe"
    if not program.is_file():
        raise UsageError(
            "there is no such command in this environment",
            operation=_OPERATION,
            path=program,
            remedy="install dropscribe with pip or uv, and run install-service from that environment",
        )
    return program, (program, Path(sys.executable).resolve(), Path(dropscribe.__file__).resolve())


def demand_systemd(running: Path = Path("/run/systemd/system")) -> int:
    """Version of the systemd of this machine."""
    if not running.is_dir():
        raise UsageError(
            "systemd does not run here",
            operation=_OPERATION,
            remedy="in a container, and without systemd, start 'dropscribe run'; --prefix DIR only writes the files",
        )
    try:
        done = subprocess.run(["systemctl", "--version"], check=False, capture_output=True, text=True)
    except OSError as e:
        raise UsageError(
            f"systemctl cannot be run: {e.strerror}",
            operation=_OPERATION,
            remedy="add the folder of systemctl, such as /usr/bin, to PATH",
        ) from e
    return demand_version(done.stdout)


def demand_user_manager(environ: Mapping[str, str], uid: int) -> None:
    """The service manager of this user must answer, which it does not after `su` and `sudo`."""
    runtime = Path(environ.get("XDG_RUNTIME_DIR", ""))
    if not (runtime.is_absolute() and (runtime / "systemd").is_dir()):
        raise UsageError(
            "the service manager of this user cannot be reached, such as after su or sudo",
            operation=_OPERATION,
            remedy=f"log in as this user, by ssh or at the machine; or, as root: loginctl enable-linger {uid}; then, as "
            f"this user: export XDG_RUNTIME_DIR=/run/user/{uid}",
        )


def demand_version(said: str) -> int:
    """Version in the output of `systemctl --version`."""
    found = re.match(r"systemd (\d+)", said)
    version = int(found[1]) if found else 0
    if version < OLDEST_SYSTEMD:
        raise UsageError(
            f"systemd {version or 'of an unknown version'} is too old: the units need {OLDEST_SYSTEMD}",
            operation=_OPERATION,
            remedy="upgrade the machine, such as to Debian 12, or start 'dropscribe run' by other means",
        )
    return version


def demand_root(uid: int) -> None:
    """Only root installs a service of the machine."""
    if uid != 0:
        raise UsageError(
            "only root may install a service of the machine",
            operation=_OPERATION,
            remedy="run it with sudo, or add --user for a service of your own",
        )


def demand_plain(program: Path) -> None:
    """Units divide a command at blanks, know quotes, and are text in UTF-8."""
    if re.search(r"[\s\"'\\$;]", str(program)) or not str(program).isprintable():
        raise UsageError(
            "systemd cannot start a program with blanks, quotes or unprintable characters in its path",
            operation=_OPERATION,
            path=program,
            remedy="install dropscribe into an environment without them in its path, such as /opt/dropscribe/venv",
        )


def demand_visible(paths: Iterable[Path]) -> None:
    """The program, its interpreter and its code must not lie where the service sees nothing."""
    for path in paths:
        folder = next((h for h in HIDDEN if path.is_relative_to(h)), None)
        if folder is not None:
            raise UsageError(
                f"the service cannot see {folder}, which is hidden from it",
                operation=_OPERATION,
                path=path,
                remedy=_ELSEWHERE,
            )


def demand_readable(paths: Iterable[Path]) -> None:
    """Another user must be able to enter the folders of the program, and to read it."""
    for path in paths:
        for one in (path, *path.parents):
            mode = os.stat(one).st_mode  # noqa: PTH116
            needed = stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH
            if not mode & needed:
                raise UsageError(
                    f"other users cannot {'enter' if stat.S_ISDIR(mode) else 'read'} {one}",
                    operation=_OPERATION,
                    path=path,
                    remedy=f"chmod o+rX {one}, or {_ELSEWHERE}",
                )


def demand_one_device(*, cpu: bool, cuda: bool) -> None:
    """Options that exclude each other."""
    if cpu and cuda:
        raise UsageError(
            "--cpu and --cuda exclude each other", operation=_OPERATION, remedy="give one of them, or neither"
        )


def demand_matching_torch(version: str, *, cuda: bool) -> None:
    """A torch for CPUs finds no GPU. `version`: of the installed torch, such as `2.13.0+cpu`."""
    if cuda and version.endswith("+cpu"):
        raise UsageError(
            f"the torch of this environment, {version}, is the build for CPUs",
            operation=_OPERATION,
            remedy="install the build with CUDA (pip install --force-reinstall torch), or leave out --cuda",
        )
