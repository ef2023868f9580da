"""File system of a folder, and the kernel's inotify limits."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_MOUNTINFO = Path("/proc/self/mountinfo")
_LIMITS = Path("/proc/sys/fs/inotify")
#: Limits of the user namespace (a container has its own), in addition to the others.
_NAMESPACE_LIMITS = Path("/proc/sys/user")

#: File systems on which other machines (or the host of this guest) write without an event for this kernel.
NETWORK_TYPES = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "lustre", "glusterfs", "beegfs"),
        *(
            "gfs2",
            "ocfs2",
            "gpfs",
            "orangefs",
            "coda",
            "davfs",
            "9p",
            "virtiofs",
            "vboxsf",
            "vmhgfs",
            "prl_fs",
        ),
    )
)
#: FUSE file systems on local disks; any other FUSE file system counts as a network one.
LOCAL_FUSE_TYPES = frozenset(
    f"fuse.{name}"
    for name in (
        *("bindfs", "encfs", "exfat", "fuse-overlayfs", "gocryptfs", "mergerfs", "ntfs-3g", "unionfs"),
        *("unionfs-fuse", "squashfuse"),
    )
)


@dataclass(frozen=True, slots=True)
class FileSystem:
    """Mounted file system of a path. `type`: the kernel's name, or "unknown"."""

    type: str
    mount_point: str

    @property
    def network(self) -> bool:
        """True if other machines may write to it without an event."""
        fuse = self.type == "fuse" or self.type.startswith("fuse.")
        return self.type in NETWORK_TYPES or (fuse and self.type not in LOCAL_FUSE_TYPES)


@dataclass(frozen=True, slots=True)
class InotifyLimits:
    """Limits per user; None if the kernel does not report one."""

    watches: int | None  #: fs.inotify.max_user_watches
    instances: int | None  #: fs.inotify.max_user_instances
    queued_events: int | None  #: fs.inotify.max_queued_events


def filesystem_of(path: Path, mountinfo: str | None = None) -> FileSystem:
    """File system of `path`, which need not exist; `mountinfo` is read from /proc unless given."""
    real = os.path.realpath(path)
    best = FileSystem("unknown", "/")
    for mount in _mounts(_read_mountinfo() if mountinfo is None else mountinfo):
        prefix = mount.mount_point.rstrip("/") + "/"
        # `>=`: of two mounts on one point the later one covers the earlier.
        if f"{real}/".startswith(prefix) and len(mount.mount_point) >= len(best.mount_point):
            best = mount
    return best


def mounts_below(root: str, mountinfo: str | None = None) -> frozenset[str]:
    """Mount points below `root` (a path without links), excluding `root` itself."""
    prefix = root.rstrip("/") + "/"
    mounts = _mounts(_read_mountinfo() if mountinfo is None else mountinfo)
    return frozenset(m.mount_point for m in mounts if m.mount_point.startswith(prefix))


def inotify_limits(limits: Path = _LIMITS, namespace: Path = _NAMESPACE_LIMITS) -> InotifyLimits:
    """Current limits."""
    return InotifyLimits(
        _lowest(limits / "max_user_watches", namespace / "max_inotify_watches"),
        _lowest(limits / "max_user_instances", namespace / "max_inotify_instances"),
        _lowest(limits / "max_queued_events"),
    )


def _mounts(mountinfo: str) -> list[FileSystem]:
    found = []
    for line in mountinfo.splitlines():
        # proc(5): id parent major:minor root MOUNT-POINT options [tags…] - TYPE source options
        before, dash, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if dash and len(fields) > 4:
            found.append(FileSystem(kinds[0], _unescape(fields[4])))
    return found


def _unescape(text: str) -> str:
    """Decode the octal escapes of mountinfo (blanks, line ends, backslashes)."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _read_mountinfo() -> str:
    try:
        return _MOUNTINFO.read_bytes().decode("utf-8", "surrogateescape")
    except OSError:
        # Without /proc every file system is "unknown".
        return ""


def _lowest(*paths: Path) -> int | None:
    numbers = [number for path in paths if (number := _read_number(path)) is not None]
    return min(numbers, default=None)


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
