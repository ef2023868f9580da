"""What the plans of a group of recordings share: read from settings, ledger and disk once for all of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, Self

from dropscribe.config import Profile, Settings
from dropscribe.files import GONE, STEP, Readers, close, open_beneath, open_folder, readers_of, relative_to
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import OwnedOutput
from dropscribe.transcript import naming
from dropscribe.transcript.timing import TIMING

#: Most directories that are open at once.
MOST_OPEN = 32
#: Most directories whose places are kept.
MOST_PLACES = 4096


class Placed(Protocol):
    """A recording of a watched folder, under a profile: a `Claim`, for example."""

    @property
    def path(self) -> Path: ...
    @property
    def folder(self) -> Path: ...
    @property
    def profile(self) -> str: ...


class Places:
    """Where outputs go under one state of the settings: the same for all recordings of a directory. Not thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        #: By folder, `output_dir`, and directory of the recording as text: paths take ten times as long.
        self._found: dict[tuple[Path, Path | None, str], tuple[Path, Path]] = {}
        #: By profile.
        self._longest: dict[str, str] = {}

    def longest(self, name: str) -> str:
        """The format of a profile whose names are the longest."""
        if name not in self._longest:
            profile = self.settings.profile(name)
            formats = [*profile.formats, TIMING] if profile.timing_log else profile.formats
            self._longest[name] = max(formats, key=lambda f: len(naming.ending(f)))
        return self._longest[name]

    def of(self, one: Placed, profile: Profile) -> tuple[Path, Path]:
        """Directory of the outputs of a recording, and the one below which no symbolic link is followed on the way to them."""
        key = (one.folder, profile.output_dir, _above(one.path))
        found = self._found.get(key)
        if found is None:
            if len(self._found) >= MOST_PLACES:
                self._found.clear()
            directory = naming.target_directory(one.path, folder=one.folder, output_dir=profile.output_dir)
            root = naming.output_root(
                directory,
                folder=one.folder,
                output_dir=profile.output_dir,
                watched=[f.path for f in self.settings.folders],
            )
            found = self._found[key] = directory, root
        return found


class GroupFacts:
    """Facts about a group of recordings. A context manager, for one thread and some milliseconds.

    The outputs on record are those of the time it is made. Directories are opened once each, as `files.is_there` does.
    """

    def __init__(self, group: Iterable[Placed], settings: Settings, ledger: Ledger) -> None:
        """Raises as the ledger does."""
        self.settings = settings
        self.ledger = ledger
        self._outputs = ledger.outputs_of_each([one.path for one in group])
        self._extensions = {f.path: f.recordings for f in settings.folders}
        self._places = Places(settings)
        self._opened = ExitStack()
        #: Descriptors by root and directory; None: there is no such directory.
        self._descriptors: dict[tuple[Path, str], int | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def outputs_of(self, recording: Path) -> list[OwnedOutput]:
        """As `Ledger.outputs_of`."""
        return self._outputs.get(recording, [])

    def extensions(self, folder: Path) -> frozenset[str]:
        """Extensions of the recordings of a watched folder."""
        return self._extensions.get(folder, frozenset())

    def place(self, one: Placed, profile: Profile) -> tuple[Path, Path]:
        """As `Places.of`."""
        return self._places.of(one, profile)

    def is_there(self, path: Path, root: Path) -> bool:
        """As `files.is_there`."""
        return self._status(path, root) is not None

    def readers_of(self, recording: Path, folder: Path) -> Readers | None:
        """As `files.readers_of`; None if the recording is not there. Raises OSError as `is_there` does."""
        status = self._status(recording, folder)
        if status is None:
            return None
        return readers_of(recording, folder) if stat.S_ISLNK(status.st_mode) else Readers.of(status)

    def _status(self, path: Path, root: Path) -> os.stat_result | None:
        """lstat(2) of a path below `root`; None if there is nothing."""
        directory = self._directory(root, path)
        if directory is None:
            return None
        try:
            return os.stat(str(path).rpartition("/")[2], dir_fd=directory, follow_symlinks=False)
        except OSError as e:
            if e.errno not in GONE:
                raise
            return None

    def occupied(self, path: Path, root: Path) -> bool:
        """As `placing.standing.occupied`."""
        try:
            return self.is_there(path, root)
        except FileNotFoundError:
            return False

    def _directory(self, root: Path, path: Path) -> int | None:
        """Descriptor of the directory of a path."""
        key = (root, _above(path))
        if key not in self._descriptors:
            if len(self._descriptors) >= MOST_OPEN:
                self._opened.close()
                self._descriptors.clear()
            folder = open_folder(root)
            try:
                found: int | None = open_beneath(folder, relative_to(path.parent, root), STEP)
            except OSError as e:
                if e.errno not in GONE:
                    raise
                found = None
            finally:
                close(folder)
            if found is not None:
                self._opened.callback(close, found)
            self._descriptors[key] = found
        return self._descriptors[key]


def _above(path: Path) -> str:
    """Directory of an absolute path."""
    return str(path).rpartition("/")[0]
