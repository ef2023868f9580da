"""Read secrets: from files, or from the credentials that systemd gives to a service."""

from __future__ import annotations

import os
from pathlib import Path

from dropscribe.errors import ConfigError

#: Larger than any file of secrets, bytes.
_MOST_BYTES = 1 << 16


def lines_of(file: Path, remedy: str) -> list[str]:
    """Lines of a file of secrets, without comments (#) and blank ones. Raises ConfigError, without what is in the file.

    A credential of systemd that has the name of the file is read in its place.
    """
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(directory) / file.name if directory else None
    chosen = credential if credential is not None and credential.exists() else file
    try:
        with chosen.open("rb") as opened:
            text = opened.read(_MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise unusable("it is not a text file in UTF-8", chosen, remedy) from None
    except OSError as e:
        raise unusable(e.strerror or str(e), chosen, remedy) from e
    found = [line.strip() for line in text.splitlines()]
    found = [line for line in found if line and not line.startswith("#")]
    if not found:
        raise unusable("there is nothing in it", chosen, remedy)
    return found


def unusable(reason: str, file: Path, remedy: str) -> ConfigError:
    """The error for a file of secrets that cannot be used."""
    return ConfigError(reason, operation="read secrets", path=file, remedy=remedy)
