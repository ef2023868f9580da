"""From a claimed job and its result to the files to be written: what they say and how they are named."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from daemon.config import Profile, Settings
from daemon.errors import RecordingGoneError
from daemon.ledger.ledger import Ledger
from daemon.ledger.records import Claim, OutputIntent, OwnedOutput
from daemon.service.assembly import Result
from daemon.service.directory_index import DirectoryIndex
from daemon.transcript import naming, render
from daemon.transcript.publish import PendingFile
from daemon.transcript.types import EngineFacts, Timings, Transcript

TIMING = "timing"


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything about one job's files, decided and rendered but not on disk."""

    claim: Claim
    profile: Profile
    transcript: Transcript
    paths: dict[str, Path]  #: by format, the timing log among them
    files: dict[str, bytes]  #: by format, without the timing log
    started: float  #: epoch seconds, claimed
    reference: int | None


def draft(
    claim: Claim,
    result: Result,
    engine: EngineFacts,
    *,
    settings: Settings,
    ledger: Ledger,
    index: DirectoryIndex,
    reference: int | None,
) -> Draft:
    """Render every format of the folder's profile and decide where each goes.

    Raises RecordingGoneError when the recording is no longer there: nothing is written beside a deleted file.
    """
    if not os.path.lexists(claim.path):
        raise RecordingGoneError("the recording was removed", operation="publish", path=claim.path)
    profile = settings.profiles.get(claim.profile) or settings.profiles["default"]
    began = time.perf_counter()
    seconds = (("settling", claim.settle_s), ("waiting", claim.waited_s), *result.timings.seconds)
    transcript = Transcript(
        recording_name=os.fsencode(claim.path.name).decode("utf-8", "backslashreplace"),
        sha256=claim.sha256,
        job_id=claim.job_id,
        created_at=claim.admitted_at,
        media=result.media,
        engine=engine,
        segments=result.segments,
        timings=replace(result.timings, seconds=seconds),
    )
    options = render.Options(profile.subtitle_max_chars, profile.subtitle_max_s, profile.subtitle_pause_ms)
    formats: list[str] = [*profile.formats]
    files = render.render_all(transcript, formats, options)
    if profile.timing_log:
        formats.append(TIMING)
    paths = plan_names(claim, formats, profile, settings=settings, ledger=ledger, index=index).paths
    for path in paths.values():
        index.add(path)
    return Draft(
        claim,
        profile,
        with_stage(transcript, "rendering", time.perf_counter() - began),
        dict(paths),
        files,
        time.time() - result.timings.wall_s,
        reference,
    )


def with_stage(transcript: Transcript, stage: str, seconds: float) -> Transcript:
    """The transcript with one stage more in its timings."""
    timings: Timings = replace(transcript.timings, seconds=(*transcript.timings.seconds, (stage, seconds)))
    return replace(transcript, timings=timings)


def intents(files: dict[str, bytes], paths: dict[str, Path]) -> list[OutputIntent]:
    """What is about to be written, and what stands there now, for the record."""
    return [
        OutputIntent(
            f,
            paths[f],
            hashlib.sha256(data).hexdigest(),
            _hash(paths[f]) if os.path.lexists(paths[f]) else "",
        )
        for f, data in files.items()
    ]


def pending(one: Draft, files: dict[str, bytes], ledger: Ledger) -> list[PendingFile]:
    """The files to publish, each with the hash of this recording's own file that may stand there now."""
    there = [one.paths[f] for f in files if os.path.lexists(one.paths[f])]
    owned = ledger.owned(there) if there else {}

    def mine(path: Path) -> list[OwnedOutput]:
        return [o for o in owned.get(path, ()) if o.recording == one.claim.path]

    return [
        PendingFile(one.paths[f], data, standing(one.paths[f], mine(one.paths[f])))
        for f, data in files.items()
    ]


def standing(path: Path, owned: Collection[OwnedOutput]) -> str | None:
    """Hash of what stands at `path`, if it is what we wrote (or meant to write) there."""
    if not owned or not os.path.lexists(path):
        return None
    there = _hash(path)
    return there if any(o.sha256 == there for o in owned) else None


def plan_names(
    claim: Claim,
    formats: Sequence[str],
    profile: Profile,
    *,
    settings: Settings,
    ledger: Ledger,
    index: DirectoryIndex,
) -> naming.NamePlan:
    """How the files of a claimed job are to be called; nothing is reserved. Raises OSError."""
    before = ledger.outputs_of(claim.path)
    kept = next((form for o in before if (form := naming.form_of(claim.path, o.format, o.path.name))), None)

    def ours(path: Path) -> bool:
        mine = [o for o in before if o.path == path]
        # A listing may be older than the removal of what was listed.
        return bool(mine) and (not os.path.lexists(path) or standing(path, mine) is not None)

    directory = naming.target_directory(claim.path, folder=claim.folder, output_dir=profile.output_dir)
    watched = next((f for f in settings.folders if f.path == claim.folder), None)
    extensions = set(watched.extensions) if watched else set()
    beside = index.like(claim.path.parent, claim.path.name)
    return naming.plan(
        claim.path,
        formats,
        folder=claim.folder,
        output_dir=profile.output_dir,
        listing=index.like(directory, claim.path.name),
        ours=ours,
        siblings=[claim.path.with_name(n) for n in beside if Path(n).suffix.lower() in extensions],
        kept=kept,
    )


def _hash(path: Path) -> str | None:
    """SHA-256 of a file of ours; None for what cannot be read, which then is not taken for ours."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
