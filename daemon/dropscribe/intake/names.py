"""Classify files by name: recording, temporary, sidecar or foreign."""

from __future__ import annotations

import fnmatch
import re
from enum import Enum

from dropscribe.config import Folder

#: Suffixes of incomplete files: browsers, FTP and SFTP clients, synchronisers, editors. Lower case.
TEMPORARY_SUFFIXES = (
    ".part",
    ".partial",
    ".filepart",
    ".crdownload",
    ".download",
    ".tmp",
    ".!sync",
    ".bts",
    ".icloud",
    "~",
)
#: Prefixes of incomplete files. A leading dot covers rsync, Syncthing, NFS (.nfs*), FUSE (.fuse_hidden*), macOS (._*).
TEMPORARY_PREFIXES = (".", "~$", "~syncthing~")

#: Files that usually accompany recordings, from dropscribe and other programs; ignored without a report. Lower case.
SIDECAR_EXTENSIONS = frozenset(
    (
        *(".txt", ".srt", ".vtt", ".json", ".done", ".md", ".log", ".lrc", ".ass", ".tsv", ".csv", ".docx"),
        *(".xml", ".nfo", ".cue", ".md5", ".sha256", ".asd", ".pkf", ".reapeaks"),
    )
)

#: Ignored folders: versions, thumbnails and trash of storage appliances and desktops. Those with a leading dot
#: (.stversions, .Trash-1000, .snapshot) are ignored anyway.
LEFT_ALONE = frozenset(
    ("@eaDir", "#recycle", "#snapshot", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found")
)

#: Appended to the whole name of a recording: marker file for completeness (see `Folder.done_marker`).
DONE_SUFFIX = ".done"


class Kind(Enum):
    """Kind of a file by its name alone."""

    RECORDING = "recording"
    TEMPORARY = "temporary"  #: incomplete; considered again under its final name
    SIDECAR = "sidecar"
    FOREIGN = "foreign"  #: reported as skipped


class Names:
    """Name rules of one folder. Names are as from `os.fsdecode`; extensions in upper or lower case."""

    def __init__(self, folder: Folder) -> None:
        self._recordings = folder.recordings
        patterns = [fnmatch.translate(pattern) for pattern in folder.exclude]
        self._exclude = re.compile("|".join(patterns)) if patterns else None

    def kind(self, name: str) -> Kind:
        """Kind of a file by its name, without directories."""
        dot = name.rfind(".")
        extension = name[dot:].lower() if dot > 0 else ""
        if name.startswith(TEMPORARY_PREFIXES):
            return Kind.TEMPORARY
        if extension in self._recordings:
            return Kind.RECORDING
        if extension in SIDECAR_EXTENSIONS:
            return Kind.SIDECAR
        if name.lower().endswith(TEMPORARY_SUFFIXES):
            return Kind.TEMPORARY
        return Kind.FOREIGN

    def excludes(self, relative: str) -> bool:
        """True if the file at this path relative to the folder is excluded."""
        return self._exclude is not None and self._exclude.match(relative) is not None

    def prunes(self, name: str, relative: str) -> bool:
        """True if the directory `name` at this path relative to the folder is ignored with all its content.

        The patterns `archive`, `archive/` and `archive/*` all match the directory.
        """
        if name.startswith(".") or name in LEFT_ALONE:
            return True
        return self.excludes(relative) or self.excludes(f"{relative}/")


def why_foreign(name: str) -> str:
    """Reason for skipping a file whose extension is not in the folder's list."""
    dot = name.rfind(".")
    if dot <= 0:
        return "it has no extension, so it is not taken as a recording; rename it if it is one"
    return f"{name[dot:]} is not a recording extension; add it to extensions_also of the folder if it is one"
