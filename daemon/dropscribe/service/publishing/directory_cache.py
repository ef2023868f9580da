"""Cache directory listings, indexed by name prefix, for planning the names of outputs.

While transcripts are published into a directory of 50,000 files, it is listed each few seconds, not once per
transcript. Stale entries are safe: publishing refuses a name that another program has taken since the listing.
"""

from __future__ import annotations

import math
import os
import threading
import time
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from dropscribe.files import close, open_directory

#: Lifetime of a listing: this many seconds, or this multiple of the time taken to read it, whichever is longer.
FRESH_S = 1.0
FRESH_TIMES = 100.0
#: Time for which a listing is kept after it, seconds.
KEPT_S = 10.0
#: Length of the index prefix, characters; `naming` shortens overlong names far beyond it.
PREFIX_CHARS = 40


@dataclass(slots=True)
class _Listing:
    until: float = -math.inf
    names: set[str] = field(default_factory=set)
    #: By prefix.
    index: dict[str, set[str]] = field(default_factory=dict)

    def renew(self, names: set[str]) -> None:
        """Take these names; only those that came and went are indexed."""
        for name in self.names - names:
            self.index[_prefix(name)].discard(name)
        for name in names - self.names:
            self.index.setdefault(_prefix(name), set()).add(name)
        self.names = names

    def add(self, name: str) -> None:
        self.names.add(name)
        self.index.setdefault(_prefix(name), set()).add(name)


class DirectoryCache:
    """Cached listings by directory. Not thread-safe, but for `ended`: the publisher plans names under a lock."""

    def __init__(self) -> None:
        self._listings: dict[Path, _Listing] = {}
        #: Names that are planned and may not be on the disk yet, by directory; guarded by `_lock`.
        self._planned: dict[Path, set[str]] = {}
        self._lock = threading.Lock()

    def like(self, root: Path, directory: Path, name: str) -> set[str]:
        """Names in `directory` with the same prefix as `name` up to its first dot, ignoring case.

        Empty if the directory does not exist. Raises OSError, also for a symbolic link on the path below `root`.
        """
        now = time.monotonic()
        listing = self._listings.get(directory)
        if listing is None or now > listing.until:
            # One that has just expired makes the next one cheap.
            self._listings = {d: one for d, one in self._listings.items() if now <= one.until + KEPT_S}
            listing = self._listings.get(directory) or _Listing()
            # Before the disk is read: what ends in between is there.
            planned = self._planned_in(directory)
            listing.renew(_read(root, directory) | planned)
            took = time.monotonic() - now
            listing.until = now + took + max(FRESH_S, took * FRESH_TIMES)
            self._listings[directory] = listing
        return listing.index.get(_prefix(name), set())

    def add(self, directory: Path, names: Collection[str]) -> None:
        """Add planned names to the cached listing of their directory, until `ended` also to each new one."""
        listing = self._listings.get(directory)
        if listing is not None:
            for name in names:
                listing.add(name)
        with self._lock:
            self._planned.setdefault(directory, set()).update(names)

    def ended(self, directory: Path, names: Iterable[str]) -> None:
        """Note that planned names are on the disk, or will not be. May be called on any thread."""
        with self._lock:
            planned = self._planned.get(directory, set())
            planned.difference_update(names)
            if not planned:
                self._planned.pop(directory, None)

    def _planned_in(self, directory: Path) -> set[str]:
        with self._lock:
            return set(self._planned.get(directory, ()))

    def clear(self) -> None:
        """Read all listings anew, because an added name was not written or another program took it."""
        for listing in self._listings.values():
            listing.until = min(listing.until, time.monotonic())


def _read(root: Path, directory: Path) -> set[str]:
    try:
        descriptor = open_directory(root, directory)
    except FileNotFoundError:
        return set()
    try:
        return set(os.listdir(descriptor))  # noqa: PTH208 - by descriptor
    finally:
        close(descriptor)


def _prefix(name: str) -> str:
    head = name.split(".", 1)[0]
    return head.lower()[:PREFIX_CHARS] if head.isascii() else _folded(head)


@lru_cache(maxsize=256)
def _folded(head: str) -> str:
    """Of names that share it, as all files of a recording do."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", head).casefold())[:PREFIX_CHARS]
