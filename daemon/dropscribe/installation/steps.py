"""What happens on the machine beside writing files: accounts, folders, the service manager."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from dropscribe.errors import DropscribeError, StorageError
from dropscribe.installation.places import Places

#: What to do if a command fails, before the files of a service are removed and after they are written.
AFTER_WRITING = "run it by hand to see why; the files are written, and install-service may be run again"
BEFORE_REMOVING = "run it by hand to see why; no file is removed yet, and uninstall-service may be run again"
AFTER_REMOVING = "run it by hand to see why; the files are removed"
#: Longest time for one command, seconds: stopping the service may take a minute.
_LONGEST_S = 120.0


def after_installing(places: Places) -> list[Sequence[str]]:
    """Commands that make the account and the folders, and show the units to the service manager."""
    if places.user:
        return [("systemctl", "--user", "daemon-reload")]
    return [
        ("systemd-sysusers", "/etc/sysusers.d/dropscribe.conf"),
        ("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/dropscribe.conf"),
        ("systemctl", "daemon-reload"),
    ]


def before_removing(places: Places, units: Iterable[str]) -> list[Sequence[str]]:
    """Commands that stop the units, and start them no more."""
    user = ["--user"] if places.user else []
    return [("systemctl", *user, "disable", "--now", *units)]


def after_removing(places: Places) -> list[Sequence[str]]:
    """Commands after the files are gone. Account and folders stay: they own recordings."""
    return [("systemctl", *(["--user"] if places.user else []), "daemon-reload")]


def make_folders(places: Places) -> None:
    """Make the folders of a service of one user, which nobody else makes. Raises StorageError."""
    for folder in (places.inbox, places.database.parent):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise StorageError.from_system(
                e,
                operation="make folder",
                path=folder,
                remedy="make it by hand, then run install-service again",
            ) from e


def run(command: Sequence[str], remedy: str) -> None:
    """Run one command. Raises DropscribeError with what it printed, and `remedy`."""
    try:
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", timeout=_LONGEST_S,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as e:
        raise _failed(command, str(e), remedy) from e
    if done.returncode != 0:
        raise _failed(
            command, done.stdout.strip().replace("\n", "; ") or f"it ended with {done.returncode}", remedy
        )


def next_steps(places: Places, program: Path, *, again: bool) -> list[str]:
    """What a person does next, in this order: commands, and comments behind `#`. `again`: it was installed before."""
    called = shlex.quote(str(program))
    if again:
        units = (
            "--user try-restart dropscribe"
            if places.user
            else "try-restart dropscribe dropscribe-notify dropscribe-web"
        )
        return [
            f"systemctl {units}   # what runs takes this version; recordings under way return to the queue",
            f"{called} status",
        ]
    if places.user:
        return [
            f"edit {shlex.quote(str(places.config))}   # folders and models",
            f"{called} models fetch   # 1 GB, once",
            f"{called} doctor",
            "systemctl --user enable --now dropscribe",
            "loginctl enable-linger   # it runs also while you are not logged in",
        ]
    as_service = f"runuser -u dropscribe -- env --chdir=/ HOME={places.cache} {called}"
    return [
        f"edit {places.config}   # folders and models",
        f"{as_service} models fetch   # 1 GB, once",
        f"{as_service} doctor --config {places.config}",
        "systemctl enable --now dropscribe",
        "systemctl enable --now dropscribe-web.socket   # the page, if it is wanted (extra web): http://127.0.0.1:8970/",
        "usermod -aG dropscribe NAME   # for each person who drops recordings",
    ]


def left_behind(places: Places) -> list[Path]:
    """Folders that an uninstallation does not remove."""
    return [places.config.parent, places.database.parent, places.inbox, places.cache]


def _failed(command: Sequence[str], reason: str, remedy: str) -> DropscribeError:
    return DropscribeError(reason, operation=f"run {shlex.join(command)}", remedy=remedy)
