"""Check that transcripts can be written where they would go, before a recording is decoded in vain."""

from __future__ import annotations

import contextlib
import os
import pwd
from pathlib import Path
from typing import NamedTuple

from dropscribe.errors import OutputNameError, StorageError, UnwritableError
from dropscribe.files import STEP, close, open_beneath, open_folder, relative_to

#: Longest path that a program can open, bytes.
PATH_BYTES = 4095


class OutputPlace(NamedTuple):
    """Where the files of a recording go: `directory`, created if missing, which is `root` or below it."""

    root: Path
    directory: Path
    name: str  #: longest of their names


def require_outputs(place: OutputPlace, recording: Path) -> None:
    """Check before decoding that the outputs of a recording can be written, as far as that cannot take long.

    The directory is checked only if it is that of the recording, which has just been read: another one may be on a disk that
    does not answer, which must not block a decoder. Raises as `require_writable` does.
    """
    _require_short(place)
    if place.directory == recording.parent:
        require_writable(place)


def _require_short(place: OutputPlace) -> None:
    length = len(os.fsencode(place.directory / place.name))
    if length > PATH_BYTES:
        raise OutputNameError(
            f"the path of its transcript would have {length} bytes, and {PATH_BYTES} are possible",
            operation="publish",
            path=place.directory,
            remedy="shorten the names of its folders, or set output_dir in the folder's profile",
        )


def require_writable(place: OutputPlace) -> None:
    """Check that files can be created in the directory of `place`, or it can be created, without changing anything.

    Raises UnwritableError if this process may not, OutputNameError if the paths would be too long, StorageError if something
    else is in the way.
    """
    _require_short(place)
    try:
        there = _nearest(place.root, place.directory)
    except OSError as e:
        raise StorageError(
            f"{place.directory}: {e.strerror or e}", operation="publish", path=place.directory,
            remedy="see that nothing but folders is on that path, and that its disk is mounted",
        ) from e  # fmt: skip
    try:
        if os.access(".", os.W_OK | os.X_OK, dir_fd=there, effective_ids=True):
            return
        directory = Path(f"/proc/self/fd/{there}").readlink()
        read_only, group = bool(os.fstatvfs(there).f_flag & os.ST_RDONLY), os.fstat(there).st_gid
    finally:
        close(there)
    if read_only:
        raise UnwritableError(
            f"{directory}: its file system is read-only", operation="publish", path=place.directory,
            remedy="mount it writable, or set output_dir in the folder's profile",
        )  # fmt: skip
    ours = group in {os.getegid(), *os.getgroups()}
    raise UnwritableError(
        f"{directory}: user {_user()} may not write there", operation="publish", path=place.directory,
        remedy=("chmod g+w" if ours else f"setfacl -m u:{_user()}:rwx") + f" '{directory}', or as root 'dropscribe doctor --fix', "
        "or set output_dir in the folder's profile",
    )  # fmt: skip


def _nearest(root: Path, directory: Path) -> int:
    """Descriptor of `directory`, or of the nearest existing one above it, in which it would be created. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        folder = open_folder(root)
        try:
            relative = Path(relative_to(directory, root))
            for step in (relative, *relative.parents):
                with contextlib.suppress(FileNotFoundError):
                    return open_beneath(folder, step, STEP)
        finally:
            close(folder)
    return open_folder(next(p for p in root.parents if p.is_dir()))


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
