"""The files of systemd that come with the program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import dropscribe
from dropscribe.errors import UsageError


def systemd_files() -> Mapping[str, str]:
    """Name → text of units, drop-ins, accounts and folders. Raises UsageError if the installation lacks them."""
    package = Path(dropscribe.__file__).resolve().parent
    # In an installation they lie in the package, in a checkout two folders above it.
    for folder in (package / "systemd", package.parents[1] / "systemd"):
        if (folder / "dropscribe.service").is_file():
            return {p.name: p.read_text(encoding="utf-8") for p in sorted(folder.iterdir()) if p.is_file()}
    raise UsageError(
        "the files of systemd are missing in this installation",
        operation="install the service",
        path=package / "systemd",
        remedy="install dropscribe again from its wheel",
    )
