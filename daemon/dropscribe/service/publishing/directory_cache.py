"""Cache directory listings, indexed by name prefix, for planning the names of outputs.

While transcripts are published into a directory of 50,000 files, it is listed about once a second, not once per
transcript. Stale entries are safe: publishing refuses a name that another program has taken since the listing.
"""

from __future__ import annotations

import os
import time
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from dropscribe.files import close, open_directory

#: Lifetime of a listing: this many seconds, or this multiple of the time taken to read it, whichever is longer.
FRESH_S = 1.0
FRESH_TIMES = 20.0
#: Length of the index prefix, characters; `naming` shortens overlong names far beyond it.
PREFIX_CHARS = 40


@dataclass(slots=True)
class _Listing:
    until: float
    names: dict[str, set[str]] = field(default_factory=dict)


class DirectoryCache:
    """Cached listings by directory. Not thread-safe: the publisher plans names under a lock."""

    def __init__(self) -> None:
        self._listings: dict[Path, _Listing] = {}

    def like(self, root: Path, directory: Path, name: str) -> set[str]:
        """Names in `directory` with the same prefix as `name` up to its first dot, ignoring case.

        Empty if the directory does not exist. Raises OSError, also for a symbolic link on the path below `root`.
        """
        now = time.monotonic()
        listing = self._listings.get(directory)
        if listing is None or now > listing.until:
            self._listings = {d: known for d, known in self._listings.items() if now <= known.until}
            listing = self._listings[directory] = _read(root, directory, now)
        return listing.names.get(_prefix(name), set())

    def add(self, directory: Path, paths: Iterable[Path]) -> None:
        """Add planned names to the cached listing of their directory."""
        listing = self._listings.get(directory)
        if listing is not None:
            for name in (path.name for path in paths):
                listing.names.setdefault(_prefix(name), set()).add(name)

    def clear(self) -> None:
        """Discard all listings, because an added name was not written or another program took it."""
        self._listings.clear()


def _read(root: Path, directory: Path, now: float) -> _Listing:
    listing = _Listing(until=now)
    try:
        descriptor = open_directory(root, directory)
    except FileNotFoundError:
        return listing
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                listing.names.setdefault(_prefix(entry.name), set()).add(entry.name)
    finally:
        close(descriptor)
    took = time.monotonic() - now
    listing.until = now + took + max(FRESH_S, took * FRESH_TIMES)
    return listing


def _prefix(name: str) -> str:
    return _folded(name.split(".", 1)[0])


@lru_cache(maxsize=256)
def _folded(head: str) -> str:
    """Of names that share it, as all files of a recording do."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", head).casefold())[:PREFIX_CHARS]
