"""Secrets of the targets of notifications, each with what to do if it cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dropscribe import secret_files
from dropscribe.notify.signing import parse_secret

_REMEDY = (
    "see that the file is there and readable for dropscribe-notify; a secret is whsec_ and the output of "
    "'openssl rand -base64 32'"
)


def lines_of(file: Path) -> list[str]:
    """Lines of a file of secrets: see `secret_files.lines_of`. Raises ConfigError."""
    return secret_files.lines_of(file, _REMEDY)


def keys_of(files: Sequence[Path]) -> list[bytes]:
    """Keys of all secrets in these files. Raises ConfigError."""
    keys = []
    for file in files:
        for number, line in enumerate(lines_of(file), 1):
            try:
                keys.append(parse_secret(line))
            except ValueError as e:
                raise secret_files.unusable(f"secret {number}: {e}", file, _REMEDY) from None
    return keys
