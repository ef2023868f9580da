r"""Between paths and rows: the exact bytes of a name for the machine, a readable form for people.

A file name is bytes. SQLite text is Unicode, so names that are not UTF-8 live in a BLOB, with a TEXT column
beside it that shows the odd bytes as `\xNN`.
"""

from __future__ import annotations

import os
from pathlib import Path


def raw(path: Path) -> bytes:
    """The bytes the operating system knows this path by."""
    return os.fsencode(path)


def path_of(raw_path: bytes) -> Path:
    """Back from `raw`."""
    return Path(os.fsdecode(raw_path))


def readable(path: Path) -> str:
    """For people: never raises, equals the path where that is UTF-8."""
    return raw(path).decode("utf-8", "backslashreplace")


def storable(text: str) -> str:
    """Free text (reasons often quote file names) without lone surrogates, which SQLite text cannot hold."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text


def below(folder: Path) -> tuple[bytes, bytes]:
    """Bounds [first, last) of the raw paths below `folder`."""
    prefix = raw(folder).rstrip(b"/")
    # "0" is the byte after "/": everything between starts with "folder/".
    return prefix + b"/", prefix + b"0"
