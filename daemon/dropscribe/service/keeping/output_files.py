"""Verify, remove and move the transcripts of finished recordings; only files that are ours by their hash."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from dropscribe.config import Settings
from dropscribe.files import close, open_directory, sync_directory
from dropscribe.ledger.keeping import Following
from dropscribe.ledger.records import OwnedOutput
from dropscribe.service.publishing.output_plan import root_over, sizes_of
from dropscribe.transcript import naming
from dropscribe.transcript.placing.publish import PendingFile, publish, withdraw
from dropscribe.transcript.placing.rename import rename_new
from dropscribe.transcript.placing.standing import (
    FOREIGN,
    MOST_UNRECORDED_BYTES,
    contents,
    standing,
    standing_at,
)
from dropscribe.transcript.timing import TIMING


def are_verified(job: int, outputs: Collection[OwnedOutput], settings: Settings) -> bool:
    """True if a job has transcripts, and all of them are at their paths with the recorded content. Raises OSError."""
    mine = [o for o in outputs if o.job_id == job and o.published and o.format != TIMING]
    return bool(mine) and all(
        standing_at(o.path, root_over(o.path, settings), {o.sha256: o.size}) == o.sha256 for o in mine
    )


def are_removed(job: int, outputs: Collection[OwnedOutput], settings: Settings) -> bool:
    """True if none of the transcripts of a job is at its path any more, as one that somebody changed is. Raises OSError."""
    mine = [o for o in outputs if o.job_id == job and o.format != TIMING]
    return all(standing_at(o.path, root_over(o.path, settings), {o.sha256: o.size}) is None for o in mine)


def remove(outputs: Collection[OwnedOutput], settings: Settings) -> bool:
    """Remove files; False if it is unknown whether they are there, as on a disk that is not mounted.

    A file with other content than recorded stays. Raises StorageError.
    """
    known = True
    for path in {o.path: None for o in outputs}:
        mine = [o for o in outputs if o.path == path]
        known = (
            _is_inhabited(path.parent) and withdraw(path, sizes_of(mine), root_over(path, settings)) and known
        )
    return known


def _is_inhabited(directory: Path) -> bool:
    """False for a directory that is missing or empty: perhaps its disk is not mounted."""
    try:
        with os.scandir(directory) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def new_path(old: Path, recording: Path, path: Path, directory: Path) -> Path | None:
    """Path of a transcript after its recording `old` became `recording`; None if its name is not made from the recording's."""
    for before, after in ((old.name, recording.name), (old.stem, recording.stem)):
        if path.name.startswith(f"{before}."):
            name = after + path.name[len(before) :]
            return directory / name if len(os.fsencode(name)) <= naming.NAME_BYTES else None
    return None


def follow(one: Following, directory: Path, settings: Settings) -> list[tuple[int, Path]]:
    """Move the files of a recording that was renamed to their new names; returns the rows with a new path.

    Files that somebody changed, and files whose new name is taken, stay where they are. Goes on where a killed process has stopped.
    Raises OSError, StorageError.
    """
    moved: list[tuple[int, Path]] = []
    for path in {o.file.path: None for o in one.outputs}:
        rows = [o for o in one.outputs if o.file.path == path]
        to = new_path(one.old, one.recording, path, directory)
        if to is None or to == path:
            continue
        if _moved(
            path, to, sizes_of([o.file for o in rows]), settings, root=directory if one.departed else None
        ):
            moved += [(o.row, to) for o in rows]
    return moved


def _moved(
    path: Path, to: Path, ours: dict[str, int | None], settings: Settings, *, root: Path | None
) -> bool:
    """Move one file; True if it is at its new path, ours. `root`: of the new path, default: that of the settings."""
    above, target_root = root_over(path, settings), root or root_over(to, settings)
    found = standing_at(path, above, ours)
    if found == FOREIGN:
        return False
    if found is None:
        # Moved before a kill, or along with its folder.
        return standing_at(to, target_root, ours) in ours
    source = open_directory(above, path.parent)
    try:
        target = open_directory(target_root, to.parent, make=True)
        try:
            rename_new(source, path.name, to.name, target)
            sync_directory(target)
            sync_directory(source)
        except FileExistsError:
            return False
        except OSError as e:
            if e.errno != errno.EXDEV:
                raise
        else:
            return standing(target, to.name, ours) in ours
        finally:
            close(target)
    finally:
        close(source)
    # Between two file systems.
    data = contents(path, MOST_UNRECORDED_BYTES)
    if data is None or standing_at(to, target_root, ours) is not None:
        return False
    publish([PendingFile(to, data, root=target_root)])
    return withdraw(path, {found: ours[found]}, above)


def target_directory(one: Following, settings: Settings) -> Path:
    """Where the files of a renamed recording belong."""
    if one.departed:
        return one.recording.parent
    output_dir = settings.profile(one.profile).output_dir
    return naming.target_directory(one.recording, folder=one.folder, output_dir=output_dir)


def are_away(one: Following, settings: Settings) -> bool:
    """True if the transcripts have a folder of their own and that is missing or empty: perhaps its disk is not mounted."""
    output_dir = settings.profile(one.profile).output_dir
    return output_dir is not None and not one.departed and not _is_inhabited(one.folder / output_dir)


def transcripts(outputs: Sequence[OwnedOutput]) -> list[OwnedOutput]:
    """Files without the timing logs."""
    return [o for o in outputs if o.format != TIMING]
