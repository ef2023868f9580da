"""What the kernel says of a path's file system, and of its limits on inotify."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

#: File-system types whose writers may sit on another machine: no events arrive for them, and locks may not hold.
NETWORK_TYPES = frozenset(
    "9p afs beegfs ceph cifs davfs glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 smb2 smb3 smbfs virtiofs".split()
)
INOTIFY = Path("/proc/sys/fs/inotify")


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What a path lies on."""

    type: str  #: as in /proc/self/mountinfo, e.g. "ext4"; "unknown" where that says nothing
    network: bool


def filesystem_of(path: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> FileSystem:
    """The file system that holds `path` (proc(5), mountinfo): the longest mount point above it, the last one wins."""
    try:
        lines = mountinfo.read_bytes().splitlines()
    except OSError:
        return FileSystem("unknown", network=False)
    real = os.path.realpath(os.fsencode(path))
    best, found = -1, "unknown"
    for line in lines:
        before, _, after = line.partition(b" - ")
        point = _unescaped(before.split()[4])
        inside = real == point or real.startswith(point.rstrip(b"/") + b"/")
        if inside and len(point) >= best:
            best, found = len(point), after.split()[0].decode("ascii", "replace")
    # FUSE may be anything; what goes over ssh, http and the like calls itself fuse.NAME.
    return FileSystem(found, network=found in NETWORK_TYPES or found.startswith("fuse."))


def inotify_limit(name: str, folder: Path = INOTIFY) -> int | None:
    """`max_user_watches` or `max_user_instances`; None where it cannot be read."""
    try:
        return int((folder / name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _unescaped(text: bytes) -> bytes:
    """Blank, tab, newline and backslash stand in mountinfo as three octal digits after a backslash."""
    for octal in (b"040", b"011", b"012", b"134"):
        text = text.replace(b"\\" + octal, bytes([int(octal, 8)]))
    return text
