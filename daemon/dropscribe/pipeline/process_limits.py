"""Limits of this process that make work impossible: raise them where that is allowed, else say which one and how."""

from __future__ import annotations

import resource
from pathlib import Path

from dropscribe.errors import DropscribeError

#: Fewest open files with which everything works: pipes of children, the arena, the database, watches, files at work.
LEAST_FILES = 64
#: Soft limit on open files that is set where it is lower, if that is allowed.
WANTED_FILES = 1024
#: Smallest limit on the size of a file for the daemon, bytes: the log of a busy database alone reaches 64 MiB.
LEAST_FILE_BYTES = 256 << 20
#: A file of this system, without which neither the memory of a decoder can be limited nor a watch be set exactly.
_PROC = Path("/proc/self/statm")


def prepare_limits(*, operation: str, least_file_bytes: int = 0) -> None:
    """Raise the soft limits as far as the hard ones allow. Raises DropscribeError if one is too low, or /proc is missing."""
    files = _raised(resource.RLIMIT_NOFILE, WANTED_FILES)
    if files is not None and files < LEAST_FILES:
        raise DropscribeError(
            f"this process may open only {files} files, and needs {LEAST_FILES}",
            operation=operation,
            remedy="raise the limit: ulimit -n in a shell, LimitNOFILE= in a systemd unit",
        )
    size = _raised(resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)
    if size is not None and size < least_file_bytes:
        raise DropscribeError(
            f"this process may write files of at most {size:,} bytes, and needs {least_file_bytes:,}",
            operation=operation,
            remedy="raise the limit: ulimit -f in a shell, LimitFSIZE= in a systemd unit",
        )
    if not _PROC.exists():
        raise DropscribeError(
            "/proc is not mounted",
            operation=operation,
            remedy="mount it, in a container or chroot as well: mount -t proc proc /proc",
        )


def file_size_limit() -> int | None:
    """Largest file that this process may write, bytes; None without a limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if soft == resource.RLIM_INFINITY else soft


def _raised(kind: int, wanted: int) -> int | None:
    """Raise the soft limit to `wanted` if it is lower and the hard one allows it; returns it, None without a limit."""
    soft, hard = resource.getrlimit(kind)
    if _lower(soft, wanted):
        soft = hard if _lower(hard, wanted) else wanted
        resource.setrlimit(kind, (soft, hard))
    return None if soft == resource.RLIM_INFINITY else soft


def _lower(limit: int, other: int) -> bool:
    return limit != resource.RLIM_INFINITY and (other == resource.RLIM_INFINITY or limit < other)
