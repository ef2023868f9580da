"""Check whether a file has all the bytes that its container declares, by a few small reads without a decoder.

Runs in the decoder processes and the inspection processes (`inspector.py`), never in the daemon process.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from dropscribe.files import open_recording
from dropscribe.media.container import boxed, chunked, framed, streamed
from dropscribe.media.container.foreign import ZEROS
from dropscribe.media.container.reader import Bytes, ContainerCheck, TooMuchError
from dropscribe.media.container.sniff import HEAD_BYTES, Sniffed, sniff
from dropscribe.media.container.tags import before_tags, id3v2_length

__all__ = ["ContainerCheck", "inspect", "inspect_open", "recognise"]

#: Most consecutive ID3v2 tags before the audio.
_MAX_TAGS = 8

_CHECKS: dict[str, Callable[[Bytes], ContainerCheck]] = {
    "wav": chunked.wav,
    "w64": chunked.w64,
    "aiff": chunked.aiff,
    "avi": chunked.avi,
    "caf": chunked.caf,
    "au": chunked.au,
    "nist": chunked.nist,
    "ogg": streamed.ogg,
    "mp4": boxed.mp4,
    "matroska": boxed.matroska,
    "asf": boxed.asf,
    "amr": framed.amr,
    "tta": framed.tta,
    "wavpack": framed.wavpack,
}

#: Kinds that may follow a tag: their checks take the offset at which the audio begins.
_TAGGED: dict[str, Callable[[Bytes, int], ContainerCheck]] = {
    "flac": streamed.flac,
    "mp3": streamed.mp3,
    "adts": framed.adts,
}


def inspect(path: Path, folder: Path | None = None) -> ContainerCheck:
    """Check the declared sizes of a file, without leaving `folder` if one is given.

    Never raises: a file that cannot be read yields `whole=None`.
    """
    try:
        fd = open_recording(path, folder)
    except (OSError, ValueError) as e:
        return ContainerCheck("unknown", None, None, 0, f"cannot be opened: {e}")
    try:
        return inspect_open(fd)
    finally:
        os.close(fd)


def inspect_open(fd: int, end: int | None = None) -> ContainerCheck:
    """As `inspect`, for an open file, or its bytes before `end`; its offset is not moved. Never raises."""
    kind, size = "unknown", 0
    try:
        status = os.fstat(fd)
        size = status.st_size if end is None else min(end, status.st_size)
        if not stat.S_ISREG(status.st_mode):
            return ContainerCheck("unknown", None, None, size, "not a regular file")
        file = Bytes(fd, size)
        found, start = recognise(file)
        kind = found.kind
        if found.foreign is not None:
            return ContainerCheck(kind, None, None, size, found.foreign.reason, foreign=found.foreign)
        if kind == "unknown" and size >= HEAD_BYTES and not any(file.at(0, HEAD_BYTES)):
            # Many downloads reserve the whole file first and write its parts in any order.
            return ContainerCheck(kind, False, None, size, ZEROS.reason)
        file = Bytes(fd, before_tags(file))
        if kind in _TAGGED:
            return _TAGGED[kind](file, start)
        check = _CHECKS.get(kind)
        return check(file) if check and start == 0 else ContainerCheck(kind, None, None, size)
    except TooMuchError as e:
        return ContainerCheck(kind, None, None, size, f"its header was not read to its end: {e}")
    except EOFError:
        return ContainerCheck(kind, False, None, size, "the file ends inside its header")
    except (OSError, ValueError, KeyError, IndexError, OverflowError, ArithmeticError) as e:
        return ContainerCheck(kind, None, None, size, f"its header is invalid: {e}")


def recognise(file: Bytes) -> tuple[Sniffed, int]:
    """Kind of content, and the offset at which it begins (after ID3v2 tags). Raises OSError."""
    start = 0
    for _ in range(_MAX_TAGS):
        length = id3v2_length(file.at(start, 10))
        if not length:
            break
        start += length
    found = sniff(file.at(start, HEAD_BYTES))
    if start and found.kind == "unknown":
        # Unknown content after a tag is usually damaged MP3; the decoder decides.
        return Sniffed("mp3"), start
    return found, start
