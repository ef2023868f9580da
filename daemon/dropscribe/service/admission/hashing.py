"""The content hash that names a recording."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from dropscribe.errors import RecordingChangedError, RecordingGoneError, StorageError
from dropscribe.files import GONE, open_recording
from dropscribe.intake.types import Signature

#: Read in pieces of this size, bytes: large enough for full disk speed, small enough to stay in cache.
PIECE_BYTES = 1 << 20
#: After so many pieces it is checked whether the file is still what was meant: a large one takes an hour.
CHECK_PIECES = 64


def _nothing() -> None:
    pass


def content_hash(
    path: Path, folder: Path | None, expected: Signature, between: Callable[[], None] = _nothing
) -> str:
    """SHA-256 of a recording, hex, without leaving the watched `folder` (None: a person named the file).

    `between` is called before each piece; what it raises ends the work.

    Raises RecordingChangedError when the file is not (or no longer) what `expected` says, RecordingGoneError
    when it is missing, StorageError when it cannot be read.
    """
    try:
        descriptor = open_recording(path, folder)
        try:
            return _hash(descriptor, path, folder, expected, between)
        finally:
            os.close(descriptor)
    except OSError as e:
        if e.errno in GONE:
            raise RecordingGoneError("the file was removed", operation="hash", path=path) from e
        raise StorageError(
            e.strerror or str(e),
            operation="hash",
            path=path,
            remedy="make the file readable for the user the daemon runs as",
        ) from e


def _hash(
    descriptor: int, path: Path, folder: Path | None, expected: Signature, between: Callable[[], None]
) -> str:
    _demand(descriptor, path, expected)
    digest = hashlib.sha256()
    left, pieces = expected.size, 0
    while left > 0:
        between()
        piece = os.read(descriptor, min(left, PIECE_BYTES))
        if not piece:
            break
        digest.update(piece)
        left -= len(piece)
        pieces += 1
        if pieces % CHECK_PIECES == 0:
            _demand(descriptor, path, expected)
            again = open_recording(path, folder)
            try:
                _demand(again, path, expected)
            finally:
                os.close(again)
    _demand(descriptor, path, expected)
    return digest.hexdigest()


def _demand(descriptor: int, path: Path, expected: Signature) -> None:
    status = os.fstat(descriptor)
    there = Signature(status.st_size, status.st_mtime_ns, status.st_ino)
    if not stat.S_ISREG(status.st_mode) or there != expected:
        raise RecordingChangedError("the file changed while it was read", operation="hash", path=path)
