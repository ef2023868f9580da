"""Validate the recordings named on a command line."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path


def demand_files(files: Iterable[Path], operation: str) -> None:
    """Raise UsageError for the first that is no regular file or cannot be examined."""
    from dropscribe.errors import UsageError

    for file in files:
        try:
            mode = file.stat().st_mode
            if not os.access(file, os.R_OK, effective_ids=True):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except FileNotFoundError as e:
            raise UsageError("no such file", operation=operation, path=file, remedy="check the name") from e
        except OSError as e:
            raise UsageError.from_system(
                e,
                operation=operation,
                path=file,
                remedy="check the name, and who may read it",
            ) from e
        if not stat.S_ISREG(mode):
            what = "it is a folder" if stat.S_ISDIR(mode) else "it is no regular file"
            raise UsageError(what, operation=operation, path=file, remedy="name the recordings themselves")
