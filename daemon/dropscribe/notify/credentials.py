"""Read secrets: from files, or from the credentials that systemd gives to the service."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dropscribe.errors import ConfigError
from dropscribe.notify.signing import parse_secret

#: Larger than any file of secrets, bytes.
_MOST_BYTES = 1 << 16


def lines_of(file: Path) -> list[str]:
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
        raise _unusable("it is not a text file in UTF-8", chosen) from None
    except OSError as e:
        raise _unusable(e.strerror or str(e), chosen) from e
    found = [line.strip() for line in text.splitlines()]
    found = [line for line in found if line and not line.startswith("#")]
    if not found:
        raise _unusable("there is nothing in it", chosen)
    return found


def keys_of(files: Sequence[Path]) -> list[bytes]:
    """Keys of all secrets in these files. Raises ConfigError."""
    keys = []
    for file in files:
        for number, line in enumerate(lines_of(file), 1):
            try:
                keys.append(parse_secret(line))
            except ValueError as e:
                raise _unusable(f"secret {number}: {e}", file) from None
    return keys


def _unusable(reason: str, file: Path) -> ConfigError:
    return ConfigError(
        reason,
        operation="read secrets",
        path=file,
        remedy="see that the file is there and readable for dropscribe-notify; a secret is whsec_ and the output of 'openssl rand -base64 32'",
    )
