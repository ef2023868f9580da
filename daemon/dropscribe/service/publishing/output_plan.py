"""Plan the output files of a claimed job: what is to be rendered, paths, and the own files they replace."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping
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
    directory: Path
    names: Mapping[str, str]  #: in `directory`, by format, including the timing log
    root: Path  #: directory below which no symbolic link is followed on the way to `directory`
    replaces: dict[str, OwnedOutput]  #: own files with these names that will be replaced, by format
    files: dict[str, MadeFile]  #: by format, without the timing log
    started: float  #: start of the attempt, epoch seconds
    reference: int | None
    segment_rows: SegmentRows | None = None  #: as in `Finish`
    readers: Readers = OWNER_ONLY  #: of the recording


class Orders:
    """Orders of the jobs of a group. What those of a profile share is read from it once: asking it takes long."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger
        #: By name: the profile, its formats and options.
        self._profiles: dict[str, tuple[Profile, tuple[str, ...], render.Options]] = {}

    def of(self, claim: Claim, result: Result, engine: EngineFacts, reference: int | None) -> Ordered:
        """What is to be made for a job: every format of the folder's profile."""
        profile, formats, options = self._profiles.get(claim.profile) or self._profile(claim.profile)
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
            speakers=_with_names(result.speakers, engine, self._ledger),
            recipe=claim.recipe,
        )
        language, rows = profile.subtitle_language_suffix, claim.reference is None
        order = Order(transcript, formats, options, language, rows=rows)
        return Ordered(claim, profile, order, time.time() - result.timings.wall_s, reference)

    def _profile(self, name: str) -> tuple[Profile, tuple[str, ...], render.Options]:
        profile = self._settings.profiles.get(name) or self._settings.profiles["default"]
        found = profile, tuple(profile.formats), render.Options.of(profile)
        self._profiles[name] = found
        return found


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
    place = facts.place(claim, profile)
    state = directory_state(
        claim,
        formats,
        place,
        facts=facts,
        index=index,
        version=claim.named_version,
        language=made.language,
    )
    names = naming.plan_names(claim.path, formats, state).names
    index.add(state.directory, names.values())
    _, root = place
    return OutputPlan(
        claim,
        profile,
        job.order.transcript,
        with_stage(job.order.transcript.timings, "rendering", made.seconds),
        state.directory,
        names,
        root,
        _replaced(claim, state.directory, names, root, facts),
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
    return OutputPlace(
        root, directory, naming.name_of(claim.path, places.longest(claim.profile), naming.SHORT)
    )


def intents(one: OutputPlan, files: Mapping[str, MadeFile]) -> list[OutputIntent]:
    """Intents for these files, to be recorded before they are written, with the hashes of the files they replace."""
    # Text: paths take ten times as long.
    above = f"{one.directory}/" if one.directory.name else one.directory.anchor
    standing = {f: replaced.sha256 for f, replaced in one.replaces.items()}
    return [
        OutputIntent(f, above + one.names[f], made.sha256, standing.get(f, ""), made.size)
        for f, made in files.items()
    ]


def placing(one: OutputPlan, files: Mapping[str, MadeFile]) -> Placing:
    """Where these files go, each with the own file that it may replace, and readable as the recording is."""
    names = {f: one.names[f] for f in files}
    replaces = {f: (replaced.sha256, replaced.size) for f, replaced in one.replaces.items() if f in files}
    log_from = one.started if TIMING in one.names and TIMING not in files else None
    return Placing(one.claim.job_id, one.directory, names, replaces, one.root, one.readers, log_from)


def pending(
    path: Path, data: bytes, replaces: OwnedOutput | None, root: Path, readers: Readers
) -> PendingFile:
    """File to publish; it may replace only `replaces`, if given."""
    if replaces is None:
        return PendingFile(path, data, root=root, readers=readers)
    return PendingFile(path, data, replaces.sha256, replaces.size, root, readers)


def _replaced(
    claim: Claim, directory: Path, names: Mapping[str, str], root: Path, facts: GroupFacts
) -> dict[str, OwnedOutput]:
    if not facts.outputs_of(claim.path):
        # Nothing of this recording can be there.
        return {}
    paths = {f: directory / name for f, name in names.items()}
    there = {f: path for f, path in paths.items() if facts.occupied(path, root)}
    owned = facts.ledger.owned(list(there.values())) if there else {}
    found = {
        f: standing(path, root, [o for o in owned.get(path, ()) if o.recording == claim.path])
        for f, path in there.items()
    }
    return {f: one for f, one in found.items() if one is not None}


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
    place: tuple[Path, Path],
    *,
    facts: GroupFacts,
    index: DirectoryCache,
    version: int = 1,
    language: str = "",
) -> naming.DirectoryState:
    """Read the inputs of output naming from disk and ledger. Raises OSError.

    `place`: as of `Places.of`. `version`: of files that stand beside those of earlier versions (`Claim.named_version`).
    `language`: in the names of subtitles.
    """
    directory, root = place
    before = facts.outputs_of(claim.path)
    written: dict[Path, list[OwnedOutput]] = {}
    for output in before:
        if output.path.parent == directory and output.format in formats:
            written.setdefault(output.path, []).append(output)
    extensions = facts.extensions(claim.folder)
    parent, _, name = str(claim.path).rpartition("/")
    above = directory if parent == str(directory) else claim.path.parent
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
