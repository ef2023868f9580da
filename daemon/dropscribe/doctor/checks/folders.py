"""Check the watched folders: recordings can be read, and transcripts written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from dropscribe.config import Folder, Settings
from dropscribe.doctor.checks.answering import answered
from dropscribe.doctor.checks.record import Check, fail, ok
from dropscribe.escapes import readable
from dropscribe.service.storage.disk_space import nearest_existing


def check_folders(settings: Settings) -> list[Check]:
    """One check per watched folder."""
    if not settings.folders:
        return [
            fail(
                "folders", "no folder is watched", "add a [[folder]] to the configuration, or use --watch DIR"
            )
        ]
    return [check for folder in settings.folders for check in _within_limit(folder, settings)]


def _within_limit(folder: Folder, settings: Settings) -> list[Check]:
    output_dir = settings.profiles[folder.profile].output_dir
    return answered(f"folder:{readable(folder.path)}", lambda: [check_folder(folder, output_dir)])


def check_folder(folder: Folder, output_dir: Path | None) -> Check:
    """Check that `folder` can be listed and that a file can be created where its transcripts go."""
    name = f"folder:{readable(folder.path)}"
    who = _user()
    try:
        if not folder.path.is_dir():
            state = "is not a folder" if folder.path.exists() else "does not exist"
            return fail(name, state, "create it, mount it, or correct [[folder]] path")
        with os.scandir(folder.path) as entries:
            next(entries, None)
    except OSError as e:
        return fail(name, f"cannot be listed: {e.strerror}", f"let {who} read it: chmod or setfacl, r and x")
    target = folder.path if output_dir is None else _nearest(output_dir)
    problem = writing_problem(target)
    if problem is not None:
        return fail(
            name,
            f"transcripts cannot be written to {target}: {problem}",
            f"let {who} write there, or name an output_dir in the profile '{folder.profile}'",
        )
    where = "beside the recordings" if output_dir is None else f"to {output_dir}"
    return ok(name, f"readable, transcripts are written {where}")


def writing_problem(folder: Path) -> str | None:
    """Reason why no file can be created in `folder`; None if an unnamed temporary one could."""
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".dropscribe-doctor-") as probe:
            probe.write(b"x")
            probe.flush()
    except OSError as e:
        return e.strerror or str(e)
    return None


def _nearest(path: Path) -> Path:
    """`path` or its nearest existing parent: missing directories are created when they are needed."""
    return nearest_existing(path)


def _user() -> str:
    return f"the user with id {os.geteuid()}"
