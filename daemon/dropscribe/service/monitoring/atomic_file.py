"""Replace small files that other programs read at any moment."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from dropscribe.files import close, open_folder

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def replace_file(target: Path, text: str, *, mode: int | None = None) -> None:
    """Write `text` to `target` by rename, so that a reader sees the old or the new file. Raises OSError.

    `mode`: permissions whatever the umask; None: those of the umask.
    """
    temporary = f".{target.name}.tmp"
    directory = open_folder(target.parent)
    try:
        # Created anew each time, so that an existing file or link of that name is never written to.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)
        descriptor = os.open(temporary, _NEW, 0o666, dir_fd=directory)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if mode is not None:
                os.fchmod(descriptor, mode)
            file.write(text)
        os.rename(temporary, target.name, src_dir_fd=directory, dst_dir_fd=directory)
    finally:
        close(directory)
