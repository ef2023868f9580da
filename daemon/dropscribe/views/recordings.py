"""The recording of a job on disk: where it is by now, and whether it is still what was transcribed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from dropscribe.config import Settings
from dropscribe.files import close, open_recording
from dropscribe.ledger.records import JobDetail


def place_of(detail: JobDetail, settings: Settings | None) -> tuple[Path, Path]:
    """Where the recording is, and the folder that links on the way must not leave: also after it was moved there.

    `settings`: None if there are none; a recording that was moved is then not found.
    """
    job, moved = detail.summary, detail.whereabouts.departed
    if detail.whereabouts.departure != "moved" or moved is None or settings is None:
        return job.recording, job.folder
    to = (settings.moved_to(f) for f in settings.folders if f.path == job.folder)
    return moved, next((folder for folder in to if folder is not None), job.folder)


def open_transcribed(detail: JobDetail, settings: Settings | None) -> int | None:
    """Descriptor of the recording; None if it is no longer what was transcribed, or cannot be read."""
    try:
        descriptor = open_recording(*place_of(detail, settings))
    except OSError:
        return None
    status = os.fstat(descriptor)
    known = (detail.size, detail.mtime_ns)
    if stat.S_ISREG(status.st_mode) and (status.st_size, status.st_mtime_ns) == known:
        return descriptor
    close(descriptor)
    return None
