"""Rebuild records of finished jobs after the loss of a database, from the transcripts beside the recordings.

A NAME.json is accepted if its `recording.sha256` is the hash of a recording in its directory, which may have been
renamed. Files beside it that are byte for byte equal to its rendering are ours again; one that differs was edited or
made under other settings, and stays foreign. Other people can change the folders, so everything is opened below the
folder without following links, and read up to a limit.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dropscribe.config import Folder, Profile, Settings
from dropscribe.errors import DropscribeError, RecordingChangedError, UsageError
from dropscribe.files import FileSignature, content_hash, open_beneath, open_folder
from dropscribe.intake.names import Names
from dropscribe.intake.scan import walk
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import Admission, OutputIntent, PastJob
from dropscribe.transcript import naming, render
from dropscribe.transcript.reading import (
    NotATranscriptError,
    Written,
    read_timing,
    read_transcript,
    with_timing,
)
from dropscribe.transcript.roles import recipe_of
from dropscribe.transcript.timing import timing_log
from dropscribe.transcript.types import Transcript

#: Largest NAME.json that is read, bytes; that of a 48-hour recording has about 100 MB.
MOST_JSON_BYTES = 256 * 1024**2
#: Largest timing log that is read, bytes.
MOST_TIMING_BYTES = 16 * 1024**2
#: Jobs per transaction.
BATCH = 32
#: Bytes per read.
_CHUNK_BYTES = 1 << 20
_JSON, _TIMING = ".json", ".timing.json"
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW


@dataclass(slots=True)
class Report:
    """Result of a run. `skipped`: files with the reason."""

    recordings: int = 0
    adopted: int = 0
    on_record: int = 0
    #: Recordings that have transcripts in other formats only.
    without_json: int = 0
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    #: Files beside an adopted NAME.json that differ from its rendering: never overwritten.
    differing: list[Path] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Place:
    """A directory of recordings, and the directory of their transcripts."""

    folder: Folder
    profile: Profile
    recipe: str
    target: Path
    #: Recordings by path, with the signature found by the walk.
    recordings: dict[Path, FileSignature]


class Adopter:
    """One run over one directory."""

    def __init__(self, settings: Settings, ledger: Ledger | None, *, dry_run: bool) -> None:
        """`ledger`: None if there is no database yet. `dry_run`: write nothing."""
        self._settings = settings
        self._ledger = ledger
        self._dry_run = dry_run
        self._past: list[PastJob] = []
        self.report = Report()

    def run(self, starts: Iterable[tuple[Folder, Path]], progress: Callable[[int], None]) -> Report:
        """Adopt transcripts below `starts`; `progress` is called with the number of recordings examined.

        Raises StorageError and LedgerError of the ledger.
        """
        for folder, start in starts:
            for place in self._places(folder, start):
                self._take(place, progress)
        self._put_on_record()
        return self.report

    def _places(self, folder: Folder, start: Path) -> Iterator[_Place]:
        found = walk(
            str(start), str(folder.path), Names(folder), {}, lambda *_: None, recursive=folder.recursive
        ).found
        by_directory: dict[Path, dict[Path, FileSignature]] = {}
        for name, signature in sorted(found.items()):
            path = Path(name)
            by_directory.setdefault(path.parent, {})[path] = signature
        profile = self._settings.profile(folder.profile)
        for recordings in by_directory.values():
            some = next(iter(recordings))
            target = naming.target_directory(some, folder=folder.path, output_dir=profile.output_dir)
            yield _Place(folder, profile, self._settings.recipe(folder.profile), target, recordings)

    def _take(self, place: _Place, progress: Callable[[int], None]) -> None:
        root = place.folder.path / (place.profile.output_dir or "")
        with ExitStack() as stack:
            try:
                target = stack.enter_context(_opened(root, place.target.relative_to(root)))
                names = set(os.listdir(target))  # noqa: PTH208 - a descriptor has no Path
            except OSError as e:
                if e.errno != errno.ENOENT:
                    self.report.skipped.append((place.target, f"this folder cannot be read: {e.strerror}"))
                names, target = set(), -1
            refused: dict[str, str] = {}
            by_hash = _transcripts(target, names, refused)
            for path, signature in place.recordings.items():
                self.report.recordings += 1
                progress(self.report.recordings)
                fitting = next((n for n in sorted(names) if _is_json(n) and _form(path, n)), None)
                if by_hash:
                    sha256 = self._hash(place.folder.path, path, signature)
                    if sha256 is None:
                        continue
                    name = _choose(path, by_hash.get(sha256, []))
                    if name is not None:
                        self._adopt(place, target, path, signature, name)
                        continue
                if fitting is not None:
                    why = refused.get(fitting, "it was made from a recording of other content")
                    self.report.skipped.append((place.target / fitting, why))
                elif any(
                    naming.name_of(path, f, form) in names
                    for f in render.RENDERERS
                    for form in ("short", "full")
                ):
                    self.report.without_json += 1

    def _hash(self, folder: Path, path: Path, signature: FileSignature) -> str | None:
        """SHA-256 of a recording; None where it cannot be read, which is reported."""
        try:
            return content_hash(path, folder, signature)
        except RecordingChangedError:
            self.report.skipped.append((path, "it changed while it was read"))
        except DropscribeError as e:
            self.report.skipped.append((path, f"it cannot be read: {e.reason}"))
        return None

    def _adopt(self, place: _Place, target: int, path: Path, signature: FileSignature, name: str) -> None:
        try:
            written = read_transcript(_read(target, name, MOST_JSON_BYTES))
        except (OSError, NotATranscriptError) as e:
            self.report.skipped.append((place.target / name, _why(e)))
            return
        size, mtime_ns, inode = signature
        profile = place.profile
        admission = Admission(
            path=path, folder=place.folder.path, size=size, mtime_ns=mtime_ns, inode=inode,
            sha256=written.transcript.sha256, profile=place.folder.profile, recipe=place.recipe,
            share_result=profile.duplicates == "reference", settle_s=0.0, max_attempts=profile.max_attempts,
        )  # fmt: skip
        if self._ledger is not None and self._ledger.on_record(admission):
            self.report.on_record += 1
            return
        self.report.adopted += 1
        self._past.append(self._past_job(place, target, name, written, admission))
        if len(self._past) >= BATCH:
            self._put_on_record()

    def _past_job(
        self, place: _Place, target: int, name: str, written: Written, admission: Admission
    ) -> PastJob:
        transcript = written.transcript
        profile, base = place.profile, name.removesuffix(_JSON)
        options = render.Options.of(profile)
        rendered = render.render_all(transcript, render.RENDERERS, options, written.version)
        language = render.subtitle_language(transcript, profile.subtitle_language_suffix)
        files = list(self._ours(place.target, target, base, rendered, language))
        is_ours = any(f.format == "json" for f in files)
        transcript, started, ended, timing = self._timing(place.target, target, base, transcript)
        if started is None:
            started = ended = os.stat(name, dir_fd=target, follow_symlinks=False).st_mtime
        heard = transcript.recipe or recipe_of(transcript.engine.models)
        return PastJob(
            admission,
            transcript,
            shared=is_ours and place.recipe == heard,
            files=(*files, *timing),
            started=started,
            ended=ended,
        )

    def _ours(
        self, where: Path, target: int, base: str, rendered: dict[str, bytes], language: str
    ) -> Iterator[OutputIntent]:
        """Files that are equal to the rendering of the transcript; others of these names are reported."""
        # The setting of the language may have changed since the subtitles were written.
        names = {
            base + naming.ending(format_name, suffix): format_name
            for format_name in rendered
            for suffix in ("", language)
        }
        for name, format_name in names.items():
            data = rendered[format_name]
            try:
                same = _read(target, name, len(data)) == data
            except FileNotFoundError:
                continue
            except (OSError, NotATranscriptError):
                same = False
            if same:
                yield OutputIntent(format_name, where / name, hashlib.sha256(data).hexdigest())
            else:
                self.report.differing.append(where / name)

    def _timing(
        self, where: Path, target: int, base: str, transcript: Transcript
    ) -> tuple[Transcript, float | None, float, tuple[OutputIntent, ...]]:
        """Transcript with its timings, start and end (epoch seconds), and the timing log if it is ours."""
        name = base + _TIMING
        try:
            data = _read(target, name, MOST_TIMING_BYTES)
            log = read_timing(data, transcript)
        except FileNotFoundError:
            return transcript, None, 0.0, ()
        except (OSError, NotATranscriptError):
            self.report.differing.append(where / name)
            return transcript, None, 0.0, ()
        timed = with_timing(transcript, log)
        again = timing_log(timed, started=log.started, ended=log.ended, version=log.version)
        if again != data:
            self.report.differing.append(where / name)
            return timed, log.started, log.ended, ()
        ours = OutputIntent("timing", where / name, hashlib.sha256(data).hexdigest())
        return timed, log.started, log.ended, (ours,)

    def _put_on_record(self) -> None:
        past, self._past = self._past, []
        if past and self._ledger is not None and not self._dry_run:
            self._ledger.adopt_finished(past, time.time())


def starts(settings: Settings, directory: Path) -> list[tuple[Folder, Path]]:
    """Watched folders that contain `directory` or are in it, each with the directory to start at. Raises UsageError."""
    wanted = Path(os.path.normpath(directory.absolute()))
    found = [(f, wanted if wanted.is_relative_to(f.path) else f.path) for f in settings.folders
             if wanted.is_relative_to(f.path) or f.path.is_relative_to(wanted)]  # fmt: skip
    if not wanted.is_dir():
        raise UsageError(
            "there is no such folder", operation="adopt", path=directory, remedy="check the name"
        )
    if not found:
        folders = ", ".join(str(f.path) for f in settings.folders)
        raise UsageError(
            "it is in no watched folder", operation="adopt", path=directory, remedy=f"watched are: {folders}"
        )
    return found


@contextmanager
def _opened(root: Path, relative: Path) -> Iterator[int]:
    """Descriptor of a directory below `root`. Raises OSError."""
    top = open_folder(root)
    try:
        directory = open_beneath(top, relative, os.O_RDONLY | os.O_DIRECTORY)
    finally:
        os.close(top)
    try:
        yield directory
    finally:
        os.close(directory)


def _transcripts(target: int, names: Iterable[str], refused: dict[str, str]) -> dict[str, list[str]]:
    """Names of transcripts in a directory by the hash of their recording; others into `refused` with the reason."""
    found: dict[str, list[str]] = {}
    for name in sorted(filter(_is_json, names)):
        try:
            written = read_transcript(_read(target, name, MOST_JSON_BYTES))
        except (OSError, NotATranscriptError) as e:
            refused[name] = _why(e)
        else:
            found.setdefault(written.transcript.sha256, []).append(name)
    return found


def _read(directory: int, name: str, most: int) -> bytes:
    """Read a regular file of at most `most` bytes. Raises OSError, or NotATranscriptError for any other file."""
    descriptor = open_beneath(directory, name, _READ)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotATranscriptError("it is not a regular file")
        if status.st_size > most:
            raise NotATranscriptError(f"it has more than {most} bytes")
        parts, left = [], most + 1
        while left and (part := os.read(descriptor, min(left, _CHUNK_BYTES))):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(descriptor)
    if not left:
        raise NotATranscriptError(f"it has more than {most} bytes")
    return b"".join(parts)


def _choose(recording: Path, names: list[str]) -> str | None:
    """Choose from the transcripts of this content the one named after the recording, else the first."""
    return next((n for n in names if _form(recording, n)), names[0] if names else None)


def _form(recording: Path, name: str) -> str | None:
    return naming.form_of(recording, "json", name)


def _is_json(name: str) -> bool:
    return name.endswith(_JSON) and not name.endswith(_TIMING)


def _why(error: OSError | NotATranscriptError) -> str:
    return str(error) if isinstance(error, NotATranscriptError) else error.strerror or str(error)
