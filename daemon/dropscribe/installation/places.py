"""Where the files of a service go: that of the machine, and that of one user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dropscribe.config import FILE_NAME, SYSTEM_FILE
from dropscribe.errors import UsageError


@dataclass(frozen=True, slots=True)
class Places:
    """Absolute paths on the machine where the service runs, without a prefix."""

    user: bool
    units: Path
    config: Path
    #: Folder with `man`, `bash-completion` and others.
    share: Path
    #: Link to the program, on the PATH.
    command: Path
    database: Path
    inbox: Path
    #: Where the program keeps models.
    cache: Path

    @property
    def record(self) -> Path:
        """List of the files that were written. Only the one who may write them may write it."""
        return self.config.with_name("installed-files.json")


def of_machine() -> Places:
    """Places of the service of the machine, which root installs."""
    return Places(
        user=False,
        units=Path("/etc/systemd/system"),
        config=SYSTEM_FILE,
        share=Path("/usr/local/share"),
        command=Path("/usr/local/bin/dropscribe"),
        database=Path("/var/lib/dropscribe/jobs.db"),
        inbox=Path("/srv/dropscribe/inbox"),
        cache=Path("/var/cache/dropscribe"),
    )


def of_user(environ: Mapping[str, str]) -> Places:
    """Places of the service of one user, by HOME and the XDG variables in `environ`. Raises UsageError without HOME."""
    home = Path(environ.get("HOME", ""))
    if not home.is_absolute():
        raise UsageError(
            "HOME names no folder, so it is not known where the files of this user are",
            operation="install the service",
            remedy="log in as the user whose service it is, or set HOME",
        )

    def base(variable: str, default: str) -> Path:
        value = environ.get(variable, "")
        return Path(value) if value.startswith("/") else home / default

    configuration = base("XDG_CONFIG_HOME", ".config")
    return Places(
        user=True,
        units=configuration / "systemd" / "user",
        config=configuration / "dropscribe" / FILE_NAME,
        share=base("XDG_DATA_HOME", ".local/share"),
        command=home / ".local" / "bin" / "dropscribe",
        database=base("XDG_STATE_HOME", ".local/state") / "dropscribe" / "jobs.db",
        inbox=home / "dropscribe",
        cache=base("XDG_CACHE_HOME", ".cache") / "modelscope",
    )
