"""Plan the output files of a claimed job: what is to be rendered, paths, and the own files they replace."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dropscribe.config import Profile, Settings
from dropscribe.errors import RecordingGoneError
from dropscribe.escapes import readable
from dropscribe.files import OWNER_ONLY, Readers
from dropscribe.ledger.columns import SegmentRows
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import Claim, OutputIntent, OwnedOutput
from dropscribe.output_places import OutputPlace
from dropscribe.pipeline.assembly import Result
from dropscribe.service.publishing.directory_cache import DirectoryCache
from dropscribe.service.publishing.group_facts import GroupFacts, Placed, Places
from dropscribe.service.publishing.making.file_maker import (
    Made,
    MadeFile,
    Order,
    Placing,
    Target,
    with_seconds,
    with_stage,
)
from dropscribe.transcript import naming, render
from dropscribe.transcript.known_voices import named, needs_name
from dropscribe.transcript.placing.publish import PendingFile
from dropscribe.transcript.placing.standing import FOREIGN, standing_at
from dropscribe.transcript.roles import SPEAKERS
from dropscribe.transcript.timing import TIMING
from dropscribe.transcript.types import EngineFacts, Speaker, Timings, Transcript


@dataclass(frozen=True, slots=True)
class Ordered:
    """A job whose files are to be made."""

    claim: Claim
    profile: Profile
    order: Order
    started: float  #: start of the attempt, epoch seconds
    reference: int | None


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """Output files of one job, rendered and named but not written."""

    claim: Claim
    profile: Profile
    transcript: Transcript
    timings: Timings  #: until its files are made
    paths: dict[str, Path]  #: by format, including the timing log
    root: Path  #: directory below which no symbolic link is followed on the way to `paths`
    replaces: dict[Path, OwnedOutput]  #: own files at `paths` that will be replaced
    files: dict[str, MadeFile]  #: by format, without the timing log
    started: float  #: start of the attempt, epoch seconds
    reference: int | None
    segment_rows: SegmentRows | None = None  #: as in `Finish`
    readers: Readers = OWNER_ONLY  #: of the recording


def ordered(
    claim: Claim,
    result: Result,
    engine: EngineFacts,
    *,
    settings: Settings,
    ledger: Ledger,
    reference: int | None,
) -> Ordered:
    """What is to be made for a job: every format of the folder's profile."""
    profile = settings.profiles.get(claim.profile) or settings.profiles["default"]
    seconds = (("settling", claim.settle_s), ("waiting", claim.waited_s), *result.timings.seconds)
    transcript = Transcript(
        recording_name=readable(claim.path.name),
        sha256=claim.sha256,
        job_id=claim.job_id,
        created_at=claim.admitted_at,
        media=result.media,
        engine=engine,
        segments=result.segments,
        timings=with_seconds(result.timings, seconds),
        incomplete=result.remarks,
        speakers=_with_names(result.speakers, engine, ledger),
        recipe=claim.recipe,
    )
    order = Order(
        transcript,
        tuple(profile.formats),
        render.Options.of(profile),
        profile.subtitle_language_suffix,
        rows=claim.reference is None,
    )
    return Ordered(claim, profile, order, time.time() - result.timings.wall_s, reference)


def plan_outputs(job: Ordered, made: Made, *, facts: GroupFacts, index: DirectoryCache) -> OutputPlan:
    """Plan the paths of rendered files, and of the timing log.

    Raises RecordingGoneError if the recording is gone, since nothing is written beside a deleted file, and OSError.
    """
    claim, profile = job.claim, job.profile
    readers = facts.readers_of(claim.path, claim.folder)
    if readers is None:
        raise RecordingGoneError("the recording was removed", operation="publish", path=claim.path)
    formats: list[str] = [*profile.formats]
    if profile.timing_log:
        formats.append(TIMING)
    state = directory_state(
        claim,
        formats,
        profile,
        facts=facts,
        index=index,
        version=claim.named_version,
        language=made.language,
    )
    paths = dict(naming.plan_names(claim.path, formats, state).paths)
    index.add(state.directory, (path.name for path in paths.values()))
    _, root = facts.place(claim, profile)
    return OutputPlan(
        claim,
        profile,
        job.order.transcript,
        with_stage(job.order.transcript.timings, "rendering", made.seconds),
        paths,
        root,
        _replaced(claim, list(paths.values()), root, facts),
        made.files,
        job.started,
        job.reference,
        made.segment_rows,
        readers,
    )


def _with_names(speakers: tuple[Speaker, ...], engine: EngineFacts, ledger: Ledger) -> tuple[Speaker, ...]:
    """The speakers of a recording, with the names of known voices."""
    model = dict(engine.models).get(SPEAKERS)
    if model is None or not any(map(needs_name, speakers)):
        return speakers
    return named(speakers, ledger.known_voices(model))


def root_over(path: Path, settings: Settings) -> Path:
    """Directory below which no symbolic link is followed to a file on record; `/` if no setting covers it."""
    for folder in settings.folders:
        target = settings.profile(folder.profile).output_dir or folder.path
        if path.is_relative_to(folder.path / target):
            return folder.path / target
    return next((f.path for f in settings.folders if path.is_relative_to(f.path)), Path(path.anchor))


def outputs_place(claim: Placed, places: Places) -> OutputPlace:
    """Where the outputs of a claimed job go."""
    profile = places.settings.profile(claim.profile)
    directory, root = places.of(claim, profile)
    formats = [*profile.formats, TIMING] if profile.timing_log else profile.formats
    longest = max(formats, key=lambda f: len(naming.ending(f)))
    return OutputPlace(root, directory, naming.name_of(claim.path, longest, naming.SHORT))


def intents(one: OutputPlan, files: Mapping[str, MadeFile]) -> list[OutputIntent]:
    """Intents for these files, to be recorded before they are written, with the hashes of the files they replace."""
    found = []
    for f, made in files.items():
        path = one.paths[f]
        replaced = one.replaces.get(path) if one.replaces else None
        found.append(
            OutputIntent(f, path, made.sha256, "" if replaced is None else replaced.sha256, made.size)
        )
    return found


def placing(one: OutputPlan, files: Mapping[str, MadeFile]) -> Placing:
    """Where these files go, each with the own file that it may replace, and readable as the recording is."""
    targets = {}
    for f in files:
        path = one.paths[f]
        replaced = one.replaces.get(path) if one.replaces else None
        old = (None, None) if replaced is None else (replaced.sha256, replaced.size)
        targets[f] = Target(path, *old)
    log_from = one.started if TIMING in one.paths and TIMING not in files else None
    return Placing(one.claim.job_id, targets, one.root, one.readers, log_from)


def pending(
    path: Path, data: bytes, replaces: OwnedOutput | None, root: Path, readers: Readers
) -> PendingFile:
    """File to publish; it may replace only `replaces`, if given."""
    if replaces is None:
        return PendingFile(path, data, root=root, readers=readers)
    return PendingFile(path, data, replaces.sha256, replaces.size, root, readers)


def _replaced(claim: Claim, paths: Sequence[Path], root: Path, facts: GroupFacts) -> dict[Path, OwnedOutput]:
    if not facts.outputs_of(claim.path):
        # Nothing of this recording can be there.
        return {}
    there = [path for path in paths if facts.occupied(path, root)]
    owned = facts.ledger.owned(there) if there else {}
    found = {
        path: standing(path, root, [o for o in owned.get(path, ()) if o.recording == claim.path])
        for path in there
    }
    return {path: one for path, one in found.items() if one is not None}


def standing(path: Path, root: Path, owned: Collection[OwnedOutput]) -> OwnedOutput | None:
    """Find which of the own files recorded for `path` is there now; None if none is. Raises OSError."""
    if not owned:
        return None
    found = standing_at(path, root, sizes_of(owned))
    return next((o for o in owned if o.sha256 == found), None)


def intended_by(ledger: Ledger) -> Callable[[Path], Collection[str]]:
    """SHA-256 of the files recorded for a path that were not published, for `transcript.publish.sweep`."""

    def intended(path: Path) -> Collection[str]:
        return {o.sha256 for o in ledger.owned([path]).get(path, ()) if not o.published}

    return intended


def sizes_of(owned: Collection[OwnedOutput]) -> dict[str, int | None]:
    """Sizes of own files by SHA-256, for `transcript.standing`; None only if no record has the size."""
    sizes: dict[str, int | None] = {}
    for one in owned:
        if sizes.get(one.sha256) is None:
            sizes[one.sha256] = one.size
    return sizes


def directory_state(
    claim: Placed,
    formats: Collection[str],
    profile: Profile,
    *,
    facts: GroupFacts,
    index: DirectoryCache,
    version: int = 1,
    language: str = "",
) -> naming.DirectoryState:
    """Read the inputs of output naming from disk and ledger. Raises OSError.

    `version`: of files that stand beside those of earlier versions (`Claim.named_version`). `language`: in the names of
    subtitles.
    """
    directory, root = facts.place(claim, profile)
    before = facts.outputs_of(claim.path)
    written: dict[Path, list[OwnedOutput]] = {}
    for output in before:
        if output.path.parent == directory and output.format in formats:
            written.setdefault(output.path, []).append(output)
    extensions = facts.extensions(claim.folder)
    above, name = claim.path.parent, claim.path.name
    beside = index.like(claim.folder, above, name)
    there = beside if directory == above and root == claim.folder else index.like(root, directory, name)
    forms = (naming.form_of(claim.path, o.format, o.path.name) for o in before)
    return naming.DirectoryState(
        directory=directory,
        names=frozenset(there),
        # The cached listing may contain a file that was removed since: its path is free, not foreign.
        ours=frozenset(
            path.name for path, mine in written.items() if standing_at(path, root, sizes_of(mine)) != FOREIGN
        ),
        # Without paths: most are transcripts.
        siblings=frozenset(n for n in beside if os.path.splitext(n)[1].lower() in extensions),  # noqa: PTH122
        kept=next((form for form in forms if form is not None and naming.version_of(form) == version), None),
        language=language,
        version=version,
    )
