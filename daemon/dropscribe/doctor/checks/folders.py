"""The watched folders: can recordings be read there, and transcripts written?"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from dropscribe.config import Folder, Settings
from dropscribe.doctor.checks.answering import answered
from dropscribe.doctor.checks.record import Check, fail, ok, readable


def check_folders(settings: Settings) -> list[Check]:
    """One check per watched folder."""
    if not settings.folders:
        return [
            fail(
                "folders", "no folder is watched", "add a [[folder]] to the configuration, or use --watch DIR"
            )
        ]
    return [check for folder in settings.folders for check in _asked(folder, settings)]


def _asked(folder: Folder, settings: Settings) -> list[Check]:
    output_dir = settings.profiles[folder.profile].output_dir
    return answered(f"folder:{readable(folder.path)}", lambda: [check_folder(folder, output_dir)])


def check_folder(folder: Folder, output_dir: Path | None) -> Check:
    """Whether `folder` can be listed, and a file made where its transcripts go."""
    name = f"folder:{readable(folder.path)}"
    who = _user()
    if not folder.path.is_dir():
        state = "is not a folder" if folder.path.exists() else "does not exist"
        return fail(name, state, "create it, mount it, or correct [[folder]] path")
    try:
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
    """Why no file can be made in `folder`; None when one was made (without a name, and is gone again)."""
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".dropscribe-doctor-") as probe:
            probe.write(b"x")
            probe.flush()
    except OSError as e:
        return e.strerror or str(e)
    return None


def _nearest(path: Path) -> Path:
    """`path`, or the lowest of its parents that exists: the rest is made when it is needed."""
    return next((p for p in (path, *path.parents) if p.exists()), Path("/"))


def _user() -> str:
    return f"the user with id {os.geteuid()}"
