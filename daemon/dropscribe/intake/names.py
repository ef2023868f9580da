"""What a name says of a file: a recording, something still on its way, something of ours, or neither."""

from __future__ import annotations

import fnmatch
import re
from enum import Enum

from dropscribe.config import Folder

#: Appended while a file is on its way, by browsers, FTP and SFTP clients, synchronisers and editors. Lower case.
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
#: The same, put in front. A leading dot covers rsync, Syncthing, NFS (.nfs*), FUSE (.fuse_hidden*) and macOS (._*).
TEMPORARY_PREFIXES = (".", "~$", "~syncthing~")

#: Stand beside recordings as a matter of course, ours and other programs'; nobody wants to read why each of
#: them is no recording. Lower case.
SIDECAR_EXTENSIONS = frozenset(
    (
        *(".txt", ".srt", ".vtt", ".json", ".done", ".md", ".log", ".lrc", ".ass", ".tsv", ".csv", ".docx"),
        *(".xml", ".nfo", ".cue", ".md5", ".sha256", ".asd", ".pkf", ".reapeaks"),
    )
)

#: Folders nobody drops recordings into: versions, thumbnails and bins kept by storage boxes and desktops.
#: Those with a leading dot (.stversions, .Trash-1000, .snapshot) are left alone anyway.
LEFT_ALONE = frozenset(
    ("@eaDir", "#recycle", "#snapshot", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found")
)

#: Put after the whole name of a recording, says that it is complete (see `Folder.done_marker`).
DONE_SUFFIX = ".done"


class Kind(Enum):
    """What a file is, by its name alone."""

    RECORDING = "recording"
    TEMPORARY = "temporary"  #: looked at again under its final name
    SIDECAR = "sidecar"
    FOREIGN = "foreign"  #: worth saying why it is not taken


class Names:
    """The rules of one folder. Works on names as `os.fsdecode` gives them; extensions in any case."""

    def __init__(self, folder: Folder) -> None:
        self._recordings = frozenset(folder.extensions)
        patterns = [fnmatch.translate(pattern) for pattern in folder.exclude]
        self._exclude = re.compile("|".join(patterns)) if patterns else None

    def kind(self, name: str) -> Kind:
        """What a file of this name (no folders in it) is."""
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
        """Whether the file at this path below the folder is to be left alone."""
        return self._exclude is not None and self._exclude.match(relative) is not None

    def prunes(self, name: str, relative: str) -> bool:
        """Whether the directory `name` at this path below the folder is left alone with all that is in it.

        `archive`, `archive/` and `archive/*` all name the directory.
        """
        if name.startswith(".") or name in LEFT_ALONE:
            return True
        return self.excludes(relative) or self.excludes(f"{relative}/")


def why_foreign(name: str) -> str:
    """The reason given for a file whose extension is not on the folder's list."""
    dot = name.rfind(".")
    if dot <= 0:
        return "it has no extension, so it is not taken as a recording; rename it if it is one"
    return f"{name[dot:]} is not a recording extension; add it to extensions of the folder if it is one"
