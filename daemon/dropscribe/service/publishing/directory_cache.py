"""Names in a directory, found by how they begin: planning a recording's names must not cost a listing each.

A directory of 50,000 files is read about once a second while transcripts are published into it, not once for each of them.
What another program writes in between is still never overwritten: publishing itself refuses a name that is taken.
"""

from __future__ import annotations

import os
import time
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from dropscribe.files import close, open_directory

#: A listing is believed for so long, seconds, or for so many times what reading it took.
FRESH_S = 1.0
FRESH_TIMES = 20.0
#: Characters of a name that sort it; names longer than file systems take are cut far behind.
PREFIX_CHARS = 40


@dataclass(slots=True)
class _Listing:
    until: float
    names: dict[str, set[str]] = field(default_factory=dict)


class DirectoryCache:
    """Not thread-safe: the publisher plans names under a lock."""

    def __init__(self) -> None:
        self._listings: dict[Path, _Listing] = {}

    def like(self, root: Path, directory: Path, name: str) -> set[str]:
        """Names in `directory`, beneath `root`, that begin as `name` does up to its first dot, whatever their case.

        A directory that is not there has none. Raises OSError, also where a link stands on the way below `root`.
        """
        now = time.monotonic()
        listing = self._listings.get(directory)
        if listing is None or now > listing.until:
            self._listings = {d: known for d, known in self._listings.items() if now <= known.until}
            listing = self._listings[directory] = _read(root, directory, now)
        return listing.names.get(_prefix(name), set())

    def add(self, path: Path) -> None:
        """A name we are about to use."""
        listing = self._listings.get(path.parent)
        if listing is not None:
            listing.names.setdefault(_prefix(path.name), set()).add(path.name)

    def clear(self) -> None:
        """Read every directory anew: what was added may not have come to be, or somebody was quicker."""
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
    head = name.split(".", 1)[0]
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", head).casefold())[:PREFIX_CHARS]
