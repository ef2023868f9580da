"""The content hash that names a recording."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from daemon.errors import RecordingChangedError, RecordingGoneError, StorageError
from daemon.intake.types import Signature

#: Read in pieces of this size, bytes: large enough for full disk speed, small enough to stay in cache.
PIECE_BYTES = 1 << 20


def content_hash(path: Path, expected: Signature) -> str:
    """SHA-256 of a file, hex.

    Raises RecordingChangedError when the file is not (or no longer) what `expected` says, RecordingGoneError
    when it is missing, StorageError when it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
            stat = os.fstat(file.fileno())
    except FileNotFoundError as e:
        raise RecordingGoneError("the file was removed", operation="hash", path=path) from e
    except OSError as e:
        raise StorageError(
            e.strerror or str(e),
            operation="hash",
            path=path,
            remedy="make the file readable for the user the daemon runs as",
        ) from e
    if Signature(stat.st_size, stat.st_mtime_ns, stat.st_ino) != expected:
        raise RecordingChangedError("the file changed while it was read", operation="hash", path=path)
    return digest.hexdigest()
