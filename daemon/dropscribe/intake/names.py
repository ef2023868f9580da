"""Classify files and folders by name: recordings, incomplete files, companions of recordings, files of systems.

All lists of names of other programs are here, each with its source.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from enum import Enum

from dropscribe.config import Folder

#: Suffixes of incomplete files, lower case; considered again under their final name.
# fmt: off
TEMPORARY_SUFFIXES: tuple[str, ...] = (
    # Browsers: Firefox, Chrome and Edge, Safari, old Edge and Internet Explorer, Opera.
    ".part", ".crdownload", ".download", ".partial", ".opdownload",
    # Download managers: Free Download Manager, DownThemAll, JDownloader, Orbit, GetRight, FlashGet, IDM's parts;
    # Xunlei (Thunder) with its state beside it; Baidu Netdisk.
    ".fdmdownload", ".dtapart", ".jdtemp", ".ob!", ".getright", ".jc!", ".dltemp", ".unfinished",
    ".td", ".td.cfg", ".xltd", ".xltd.cfg", ".downloading",
    # Peer to peer: qBittorrent, µTorrent, BitComet, Azureus, BitTorrent and Resilio Sync, eMule.
    ".!qb", ".!ut", ".!bt", ".bc!", ".az!", ".!sync", ".bts", ".part.met", ".part.met.bak",
    # Transfer: WinSCP (".filepart"), Cyberduck, Google Cloud ("_.gstmp"), ASCP's checkpoints, rclone (".partial").
    ".filepart", ".cyberducksegment", "_.gstmp", ".aspera-ckpt",
    # Placeholders of iCloud Drive; Syncthing, editors and most programs.
    ".icloud", ".tmp", ".temp", "~",
)
#: Suffixes of state files of downloads: NAME.SUFFIX beside NAME says that NAME, a file or folder, is incomplete though
#: it has its final name (and, where it was preallocated, its final size). Lower case.
MARKER_SUFFIXES: tuple[str, ...] = (
    ".aria2",  # aria2c(1), "Control File"; for a torrent of several files beside their folder
    ".st",  # axel(1), state file
    ".lftp-pget-status",  # lftp(1), pget -c
    ".ytdl",  # yt-dlp: state of a download in fragments
    ".mg!",  # mwget, state file
    ".part.meta",
    ".td.cfg", ".xltd.cfg",  # Xunlei
)
# fmt: on
#: Parts of a download in fragments (yt-dlp), a suffix with a number.
_FRAGMENT = re.compile(r"\.part-frag\d+(\.part)?$", re.IGNORECASE)
#: Prefixes of incomplete files. A leading dot covers rsync, Syncthing, NFS (.nfs*), FUSE (.fuse_hidden*), macOS (._*),
#: Android (.pending-*, .trashed-*), AzCopy and MEGA.
TEMPORARY_PREFIXES = (".", "~$", "~syncthing~")

#: Files that usually accompany recordings, from dropscribe and other programs; ignored without a report. Lower case.
# fmt: off
SIDECAR_EXTENSIONS = frozenset((
    ".txt", ".srt", ".vtt", ".json", ".done", ".md", ".log", ".lrc", ".ass", ".tsv", ".csv", ".docx", ".html", ".rttm",
    ".xml", ".nfo", ".cue", ".md5", ".sha256", ".asd", ".pkf", ".reapeaks",
))
# fmt: on

#: Folders of storage systems and desktops, ignored with all their content: trash, snapshots, thumbnails, versions. As
#: they are spelt. Folders with a leading dot are ignored anyway: .zfs (OpenZFS, zfsprops(7) "snapdir"), .snapshot
#: (NetApp ONTAP, Dell PowerScale), .snapshots (Snapper), .@__thumb and .@upload_cache (QNAP), .@plugins (Asustor),
#: .recycle (Samba vfs_recycle(8)), .Recycle.Bin (Unraid), .wdmc (WD My Cloud), .Trash-1000 (freedesktop.org Trash
#: specification), .Trashes and .Spotlight-V100 (macOS), .dropbox.cache (Dropbox), .stversions (Syncthing), .sync
#: (Resilio), .tmp.drivedownload (Google Drive).
# fmt: off
SYSTEM_FOLDERS: frozenset[str] = frozenset((
    # Synology: DSM help, "Recycle Bin", "Snapshot Replication"; @eaDir holds thumbnails and indexes.
    "@eaDir", "#recycle", "#snapshot", "@tmp", "@sharesnap", "@sharebin",
    # QNAP: QTS user guide, "Network Recycle Bin", "Snapshots" (folder in shared folders), "Transcode Management".
    "@Recycle", "@Recently-Snapshot", "@Transcode",
    # NetApp ONTAP, "Snapshot copy directory" as SMB clients see it.
    "~snapshot",
    # Buffalo LinkStation and TeraStation, "Recycle Bin".
    "trashbox",
    # macOS: archives of the Finder; Time Machine; file sharing (Netatalk and AFP).
    "__MACOSX", "Backups.backupdb", "Network Trash Folder", "Temporary Items", "TheVolumeSettingsFolder",
    # Linux and Android: fragments that a repair of the file system found.
    "lost+found", "LOST.DIR",
    # Nextcloud and ownCloud, administration manual, "Deleted Items" and "Versions": beside "files" of each user.
    "files_trashbin", "files_versions",
))
#: The same where names differ in case from system to system (NTFS, FAT, exFAT, SMB). Lower case.
SYSTEM_FOLDERS_ANY_CASE: frozenset[str] = frozenset((
    # Windows: recycle bins of NTFS and FAT, restore points, fragments found by chkdsk.
    "$recycle.bin", "recycler", "recycled", "system volume information", "found.000",
))
#: Files that systems put beside others, ignored without a report. Lower case: they come from Windows and macOS, whose
#: file systems ignore case. ".DS_Store" and "._NAME" are ignored because of the dot.
SYSTEM_FILES: frozenset[str] = frozenset((
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "autorun.inf",  # Windows Explorer, Media Center
    "icon\r",  # macOS: the icon of a folder
))
#: Suffixes of attributes that were stored as files: alternate streams of NTFS (from Windows or WSL) and of Synology.
_ATTRIBUTES = (":zone.identifier", "@synoresource", "@synoeastream")
# fmt: on

#: Appended to the whole name of a recording: marker file for completeness (see `Folder.done_marker`).
DONE_SUFFIX = ".done"

_INCOMPLETE = (*TEMPORARY_SUFFIXES, *MARKER_SUFFIXES)


class Kind(Enum):
    """Kind of a file by its name alone."""

    RECORDING = "recording"
    TEMPORARY = "temporary"  #: incomplete; considered again under its final name
    SIDECAR = "sidecar"
    SYSTEM = "system"  #: written by an operating system or storage appliance
    FOREIGN = "foreign"  #: reported as skipped

    @property
    def ignored(self) -> bool:
        """True for files that are left alone without a report."""
        return self is not Kind.RECORDING and self is not Kind.FOREIGN


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
        lower = name.lower()
        if lower in SYSTEM_FILES or lower.endswith(_ATTRIBUTES):
            return Kind.SYSTEM
        if lower.endswith(_INCOMPLETE) or _FRAGMENT.search(lower):
            return Kind.TEMPORARY
        return Kind.FOREIGN

    def excludes(self, relative: str) -> bool:
        """True if the file at this path relative to the folder is excluded."""
        return self._exclude is not None and self._exclude.match(relative) is not None

    def prunes(self, name: str, relative: str) -> bool:
        """True if the directory `name` at this path relative to the folder is ignored with all its content.

        The patterns `archive`, `archive/` and `archive/*` all match the directory. A directory with the name of an
        incomplete recording (Safari's bundle NAME.download) holds the part that has arrived.
        """
        lower = name.lower()
        if name.startswith(".") or name in SYSTEM_FOLDERS or lower in SYSTEM_FOLDERS_ANY_CASE:
            return True
        if lower.endswith(TEMPORARY_SUFFIXES) and self.kind(_stem(name)) is Kind.RECORDING:
            return True
        return self.excludes(relative) or self.excludes(f"{relative}/")


@dataclass(frozen=True, slots=True)
class Marker:
    """Meaning of a file that says that another is incomplete."""

    name: str  #: of the file or folder that is incomplete
    #: True if `name` is incomplete whatever its size; False if only an empty one is (a placeholder: Firefox writes the
    #: content to NAME.part). Else a leftover of an old download would hold back a complete recording for ever.
    any_size: bool


def marker(name: str) -> Marker | None:
    """What the file `name` says about the file beside it whose name it extends; None for other files."""
    lower = name.lower()
    for suffix in MARKER_SUFFIXES:
        if lower.endswith(suffix) and len(name) > len(suffix):
            return Marker(name[: -len(suffix)], any_size=True)
    if fragment := _FRAGMENT.search(name):
        return Marker(name[: fragment.start()], any_size=True)
    if lower.endswith((".part", ".crdownload", ".partial", ".opdownload")) and _stem(name):
        return Marker(_stem(name), any_size=False)
    return None


def _stem(name: str) -> str:
    """`name` without its last suffix of incomplete files."""
    suffix = max((s for s in TEMPORARY_SUFFIXES if name.lower().endswith(s)), key=len)
    return name[: -len(suffix)]


def why_foreign(name: str) -> str:
    """Reason for skipping a file whose extension is not in the folder's list."""
    dot = name.rfind(".")
    if dot <= 0:
        return "it has no extension, so it is not taken as a recording; rename it if it is one"
    return f"{name[dot:]} is not a recording extension; add it to extensions_also of the folder if it is one"
