"""What a folder lies on, and how much the kernel lets us watch."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_MOUNTINFO = Path("/proc/self/mountinfo")
_LIMITS = Path("/proc/sys/fs/inotify")
#: Limits of the user namespace (a container has its own); they hold together with the others.
_NAMESPACE_LIMITS = Path("/proc/sys/user")

#: Other machines (or a host outside this guest) write here without this kernel noticing, so no event arrives.
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
#: FUSE is taken for a network unless it is one of these, which sit on this machine's own disks.
LOCAL_FUSE_TYPES = frozenset(
    f"fuse.{name}"
    for name in (
        *("bindfs", "encfs", "exfat", "fuse-overlayfs", "gocryptfs", "mergerfs", "ntfs-3g", "unionfs"),
        *("unionfs-fuse", "squashfuse"),
    )
)


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What is mounted where a path lies. `type` is the kernel's name of it, "unknown" if it cannot be told."""

    type: str
    mount_point: str

    @property
    def network(self) -> bool:
        """Whether others may write to it unseen."""
        fuse = self.type == "fuse" or self.type.startswith("fuse.")
        return self.type in NETWORK_TYPES or (fuse and self.type not in LOCAL_FUSE_TYPES)


@dataclass(frozen=True, slots=True)
class InotifyLimits:
    """Limits per user; None where the kernel does not say."""

    watches: int | None  #: fs.inotify.max_user_watches
    instances: int | None  #: fs.inotify.max_user_instances
    queued_events: int | None  #: fs.inotify.max_queued_events


def filesystem_of(path: Path, mountinfo: str | None = None) -> FileSystem:
    """What `path` (which need not exist) lies on; `mountinfo` is read from /proc unless given."""
    real = os.path.realpath(path)
    best = FileSystem("unknown", "/")
    for mount in _mounts(_read_mountinfo() if mountinfo is None else mountinfo):
        prefix = mount.mount_point.rstrip("/") + "/"
        # `>=`: of two mounts on one point the later one covers the earlier.
        if f"{real}/".startswith(prefix) and len(mount.mount_point) >= len(best.mount_point):
            best = mount
    return best


def mounts_below(root: str, mountinfo: str | None = None) -> frozenset[str]:
    """Mount points inside `root` (a path without links), itself not included."""
    prefix = root.rstrip("/") + "/"
    mounts = _mounts(_read_mountinfo() if mountinfo is None else mountinfo)
    return frozenset(m.mount_point for m in mounts if m.mount_point.startswith(prefix))


def inotify_limits(limits: Path = _LIMITS, namespace: Path = _NAMESPACE_LIMITS) -> InotifyLimits:
    """The limits in force now."""
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
    """Blanks, line ends and backslashes stand in mountinfo as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _read_mountinfo() -> str:
    try:
        return _MOUNTINFO.read_bytes().decode("utf-8", "surrogateescape")
    except OSError:
        # Without /proc nothing can be said, and "unknown" says that.
        return ""


def _lowest(*paths: Path) -> int | None:
    numbers = [number for path in paths if (number := _read_number(path)) is not None]
    return min(numbers, default=None)


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
