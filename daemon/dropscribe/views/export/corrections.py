"""Corrected transcripts as references for `dropscribe eval`: a recording and what was said in it, side by side."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from dropscribe.config import Settings
from dropscribe.errors import StorageError
from dropscribe.escapes import readable
from dropscribe.files import close
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import JobDetail
from dropscribe.service.publishing.stored_transcript import transcript_of
from dropscribe.transcript.renderers.content import Content, Options, encode
from dropscribe.views.recordings import open_transcribed


@dataclass(frozen=True, slots=True)
class Exported:
    """A corrected transcript, and the name of its recording in the folder; `reason`: why it is not there."""

    job: int
    recording: Path
    name: str = ""
    reason: str = ""


def export_corrections(ledger: Ledger, directory: Path, settings: Settings | None) -> Iterator[Exported]:
    """Write `JOB-NAME.EXT`, a hard link or copy, and `JOB-NAME.ref.txt` of each recording. What is there stays as it is.

    `settings`: where recordings were moved to; None if there are none. Raises StorageError.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for job in ledger.corrected_jobs():
            detail = ledger.job(job)
            if detail is not None:
                yield _export(detail, directory, settings)
    except OSError as e:
        raise StorageError.from_system(
            e,
            operation="export corrections",
            path=directory,
            remedy="free space there, or name another folder",
        ) from e


def _export(detail: JobDetail, directory: Path, settings: Settings | None) -> Exported:
    recording, job = detail.summary.recording, detail.summary.id
    transcript = transcript_of(detail)
    descriptor = open_transcribed(detail, settings)
    if descriptor is None or transcript is None:
        if descriptor is not None:
            close(descriptor)
        return Exported(job, recording, reason="the recording is no longer where it was, or has changed")
    name = f"{job}-{recording.name}"
    try:
        _place(descriptor, directory / name)
    finally:
        close(descriptor)
    reference = directory / f"{job}-{recording.stem}.ref.txt"
    if not reference.exists():
        unfinished = reference.with_name(f".{reference.name}.tmp")
        unfinished.write_bytes(encode(f"{Content(transcript, Options()).text}\n"))
        unfinished.replace(reference)
    return Exported(job, recording, readable(name))


def _place(descriptor: int, target: Path) -> None:
    """Link the file to `target`, or copy it where that is not possible, unless `target` exists."""
    if target.exists():
        return
    with suppress(OSError):
        os.link(f"/proc/self/fd/{descriptor}", target, follow_symlinks=True)
        return
    unfinished = target.with_name(f".{target.name}.tmp")
    with closing(os.fdopen(os.dup(descriptor), "rb")) as source, unfinished.open("wb") as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
    unfinished.replace(target)
