"""Check the watch backend of each folder, and the machine's inotify limits."""

from __future__ import annotations

import os
from collections.abc import Iterator

from dropscribe.config import Folder, Settings
from dropscribe.doctor.checks.record import Check, fail, ok, warning
from dropscribe.escapes import readable
from dropscribe.intake.filesystem import FileSystem, filesystem_of, inotify_limits

#: Share of a limit above which the check warns: other programs of the same user count against it, too.
CLOSE_SHARE = 0.5


def look_watching(settings: Settings) -> Iterator[Check]:
    """One check per folder, then one per inotify limit."""
    watched = []
    for folder in settings.folders:
        where = filesystem_of(folder.path)
        yield check_backend(folder, where)
        if not polled(folder, where):
            watched.append(folder)
    wanted = sum(directories(folder) for folder in watched)
    limits = inotify_limits()
    yield check_limit("inotify:watches", "fs.inotify.max_user_watches", wanted, limits.watches)
    yield check_limit("inotify:instances", "fs.inotify.max_user_instances", len(watched), limits.instances)


def polled(folder: Folder, where: FileSystem) -> bool:
    """True if the folder is polled and not watched by events."""
    return folder.backend == "poll" or (folder.backend == "auto" and where.network)


def check_backend(folder: Folder, where: FileSystem) -> Check:
    """Check that the folder's backend suits its file system."""
    name = f"watching:{readable(folder.path)}"
    if folder.backend == "inotify" and where.network:
        return warning(
            name,
            f"inotify on {where.type}, where no events arrive for what other machines write",
            "set backend = 'auto' or 'poll'; until then only the regular rescan finds such files",
        )
    if polled(folder, where):
        return ok(name, f"polled every {folder.poll_s:g} s ({where.type})")
    return ok(name, f"inotify ({where.type})")


def check_limit(name: str, sysctl: str, wanted: int, limit: int | None) -> Check:
    """Check that `wanted` watches or instances are within the limit of `sysctl`."""
    if limit is None:
        return warning(name, f"{sysctl} cannot be read", "set backend = 'poll' where events do not arrive")
    text = f"{wanted} of {limit} ({sysctl})"
    remedy = f"set {sysctl} = {max(4 * wanted, 2 * limit)} in /etc/sysctl.d/60-dropscribe.conf, then: sysctl --system"
    if wanted > limit:
        return fail(name, text, remedy)
    if wanted > CLOSE_SHARE * limit:
        return warning(name, text, remedy)
    return ok(name, text)


def directories(folder: Folder) -> int:
    """Number of directories in `folder`, including itself. Links are not followed."""
    if not folder.recursive:
        return 1
    return sum(1 for _ in os.walk(folder.path))
