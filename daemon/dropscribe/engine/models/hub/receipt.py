"""Whether a local copy of a model is complete and undamaged, by the list of files written after its download."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: File in a model's directory that lists its files with size and SHA-256, written after a complete download.
RECEIPT = ".dropscribe-fetched.json"
#: Largest `configuration.json` or receipt that is read, bytes.
LARGEST_LIST = 1 << 20


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Size of a file, bytes, and its SHA-256 (hex); None if that was not recorded."""

    size: int
    sha256: str | None


def is_whole(directory: Path) -> bool:
    """True if all files of the model exist: those of the receipt, else those that its configuration declares.

    The client itself accepts an interrupted download as a model. It renames a file after its download, but a crash of
    the machine can still truncate it; the receipt has its size.
    """
    recorded = read(directory)
    if recorded is not None:
        return all(_size(directory / name) == facts.size for name, facts in recorded.items())
    configuration = _read_json(directory / "configuration.json")
    if not isinstance(configuration, dict):
        return False
    declared = ["config.yaml", *_names(configuration.get("file_path_metas"))]
    return all((directory / name).is_dir() or _size(directory / name) for name in declared)


def read(directory: Path) -> Mapping[str, FileFacts] | None:
    """Files of the receipt; None without one. Receipts of earlier versions have sizes only."""
    receipt = _read_json(directory / RECEIPT)
    if not isinstance(receipt, dict):
        return None
    return {
        str(name): FileFacts(value["size"], value.get("sha256"))
        if isinstance(value, dict)
        else FileFacts(value, None)
        for name, value in receipt.items()
    }


def write(directory: Path) -> None:
    """Record the files of a complete copy. Raises OSError."""
    files = {
        p.relative_to(directory).as_posix(): {"size": p.stat().st_size, "sha256": digest(p)}
        for p in sorted(directory.rglob("*"))
        if p.is_file() and p.name != RECEIPT
    }
    unfinished = directory / f"{RECEIPT}.new"
    unfinished.write_text(json.dumps(files, indent=1), encoding="utf-8")
    unfinished.replace(directory / RECEIPT)


def damage(directory: Path, expected: Mapping[str, FileFacts]) -> dict[str, str]:
    """File → what is wrong with it, for each that differs from what is expected. Reads all files. Raises OSError."""
    found = {name: _difference(directory / name, facts) for name, facts in expected.items()}
    return {name: problem for name, problem in found.items() if problem is not None}


def _difference(path: Path, facts: FileFacts) -> str | None:
    size = _size(path)
    if size is None:
        return "missing"
    if size != facts.size:
        return f"has {size} bytes instead of {facts.size}"
    if facts.sha256 is not None and digest(path) != facts.sha256.lower():
        return "has another content than was downloaded"
    return None


def digest(path: Path) -> str:
    """SHA-256 of a file, hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _names(value: Any) -> Iterator[str]:
    """The file names in a `file_path_metas`, whose parts may be nested."""
    if isinstance(value, str) and value:
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _names(inner)


def _size(path: Path) -> int | None:
    """Size of a file, bytes; None if it does not exist."""
    return path.stat().st_size if path.is_file() else None


def _read_json(path: Path) -> Any:
    """Parsed content; None if there is no such file or it is not JSON."""
    try:
        with path.open(encoding="utf-8") as file:
            return json.loads(file.read(LARGEST_LIST))
    except (OSError, ValueError, RecursionError):
        return None
