"""Walk a watched folder, and examine single files in it. Paths are strings: fast with 50,000 known files."""

# ruff: noqa: PTH112, PTH114, PTH119 - a Path for each of 50,000 files would cost more than examining them

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dropscribe.files import FileSignature, link_target, open_beneath, opened, status_beneath
from dropscribe.intake.names import Kind, Names, marker, why_foreign
from dropscribe.intake.settling import Refuse

SPECIAL = Refuse("special_file", "it is a socket, a pipe or a device, not a file")
BROKEN_LINK = Refuse("link_broken", "it is a link, and what it points to is not there")
LINKED_FOLDER = Refuse(
    "linked_folder",
    "it is a link to a folder, which is not followed; watch that folder itself if it is meant",
)
LINK_OUTSIDE = Refuse(
    "link_outside",
    "it is a link to something outside the watched folder; copy or move the recording in instead",
)

TOO_DEEP = Refuse(
    "too_deep",
    "the path to this folder is too long for the system (4,095 bytes); move it further up, or exclude it",
)


@dataclass(slots=True)
class Scan:
    """Result of one walk. Written only by the walk."""

    #: Recordings by path that are new or changed; to be settled.
    found: dict[str, FileSignature] = field(default_factory=dict)
    #: Refused files and directories, with the reason.
    refused: list[tuple[str, Refuse]] = field(default_factory=list)
    #: Known files that exist, changed or not.
    seen: set[str] = field(default_factory=set)
    #: Files that mark another as incomplete (`names.marker`).
    markers: set[str] = field(default_factory=set)
    #: Every directory walked.
    directories: set[str] = field(default_factory=set)


def walk(
    start: str,
    root: str,
    names: Names,
    known: Mapping[str, FileSignature],
    enter: Callable[[str, int], Refuse | None],
    *,
    recursive: bool,
) -> Scan:
    """Walk the directory `start`, which is `root` or below it; links to directories are not followed.

    `enter` is called with each directory and its descriptor before the directory is read, so that a watch set by it
    misses no later change; it may refuse the directory. Files and directories that vanish meanwhile are left out.
    """
    result = Scan()
    stack = [start]
    try:
        with opened(Path(root)) as folder:
            while stack:
                below = _walk_one(stack.pop(), root, folder, result, names=names, known=known, enter=enter)
                if recursive:
                    stack += below
    except OSError as e:
        _refuse_directory(result, root, e)
    return result


def _walk_one(
    directory: str,
    root: str,
    folder: int,
    result: Scan,
    *,
    names: Names,
    known: Mapping[str, FileSignature],
    enter: Callable[[str, int], Refuse | None],
) -> list[str]:
    """Read one directory into `result`; returns the directories to walk next. OSError if `root` cannot be read."""
    relative = Path(below_root(directory, root))
    try:
        at = open_beneath(folder, relative, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as e:
        _refuse_directory(result, directory, e)
        return []
    try:
        refusal = enter(directory, at)
        if refusal is not None:
            result.refused.append((directory, refusal))
            return []
        with os.scandir(at) as entries:
            result.directories.add(directory)
            return _read(entries, directory, root, folder, result, names=names, known=known)
    except OSError as e:
        _refuse_directory(result, directory, e)
        return []
    finally:
        os.close(at)


def _refuse_directory(result: Scan, directory: str, error: OSError) -> None:
    """Report a directory that cannot be read, unless it vanished during the walk."""
    if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
        return
    if error.errno == errno.ENAMETOOLONG:
        result.refused.append((directory, TOO_DEEP))
        return
    match error.errno:
        case errno.EACCES | errno.EPERM:
            remedy = "let the daemon's user read it, or exclude it"
        case errno.EMFILE | errno.ENFILE:
            remedy = "raise the limit on open files (LimitNOFILE=, ulimit -n)"
        case _:
            remedy = "check its disk or network share, or exclude it"
    reason = f"this folder cannot be read: {error.strerror}; {remedy}"
    result.refused.append((directory, Refuse("unreadable", reason)))


def _read(
    entries: os._ScandirIterator[str],
    directory: str,
    root: str,
    folder: int,
    result: Scan,
    *,
    names: Names,
    known: Mapping[str, FileSignature],
) -> list[str]:
    """Classify the entries of one directory into `result`; returns the directories to walk next."""
    prefix = directory if directory.endswith("/") else f"{directory}/"
    cut = len(root.rstrip("/")) + 1
    below = []
    for entry in entries:
        path = prefix + entry.name
        signature = known.get(path)
        if signature is not None and _unchanged(entry, signature):
            result.seen.add(path)
            continue
        if entry.is_dir(follow_symlinks=False):
            if not names.prunes(entry.name, path[cut:]):
                below.append(path)
            continue
        kind = names.kind(entry.name)
        if kind is Kind.TEMPORARY and marker(entry.name) is not None:
            result.markers.add(path)
        if kind.ignored or names.excludes(path[cut:]):
            continue
        looked = foreign(path) if kind is Kind.FOREIGN else _examine_entry(entry, folder, root, path[cut:])
        if isinstance(looked, Refuse):
            result.refused.append((path, looked))
        elif looked is not None:
            result.found[path] = looked
            if signature is not None:
                result.seen.add(path)
    return below


def _unchanged(entry: os.DirEntry[str], signature: FileSignature) -> bool:
    """False for a link, too, whose target has to be examined."""
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return False
    return FileSignature.of(status) == signature


def below_root(path: str, root: str) -> str:
    """`path`, which is `root` or below it, relative to `root`."""
    return path[len(root.rstrip("/")) + 1 :]


def foreign(path: str) -> Refuse:
    """Refusal of a file whose name is not that of a recording."""
    if os.path.islink(path) and os.path.isdir(path):
        return LINKED_FOLDER
    return Refuse("extension", why_foreign(os.path.basename(path)))


def examine(path: str, root: str) -> FileSignature | Refuse | None:
    """Signature of a file named like a recording, its refusal, or None if it does not exist.

    A link counts as its target if that is below `root`; a target outside was not dropped into this folder. Links to
    directories are not followed.
    """
    relative = below_root(path, root)
    try:
        with opened(root) as folder:
            return judge(status_beneath(folder, relative), folder, root, relative)
    except OSError:
        # Gone, or in a directory without permission, which the walk reports.
        return None


def _examine_entry(
    entry: os.DirEntry[str], folder: int, root: str, relative: str
) -> FileSignature | Refuse | None:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    return judge(status, folder, root, relative)


def judge(status: os.stat_result, folder: int, root: str, relative: str) -> FileSignature | Refuse:
    """As `examine`, of a file whose status is known; `folder`: descriptor of `root`."""
    if stat.S_ISLNK(status.st_mode):
        try:
            status = status_beneath(folder, link_target(folder, Path(root), relative))
        except OSError as e:
            return LINK_OUTSIDE if e.errno == errno.EXDEV else BROKEN_LINK
    if stat.S_ISDIR(status.st_mode):
        return LINKED_FOLDER
    if stat.S_ISLNK(status.st_mode):
        return BROKEN_LINK
    return FileSignature.of(status) if stat.S_ISREG(status.st_mode) else SPECIAL
