"""Find the recordings of a folder and their references.

The reference of `NAME.wav` is `NAME.ref.ENDING` or `NAME.ENDING`, in the same place of the folder of references, or a row
of a table (`file`, and `text` or `reference`) there. Where a transcript of dropscribe, `NAME.json`, stands beside the
recording, files with the names of its formats are transcripts as well; then a reference needs `.ref`, or a folder of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dropscribe.formats import RECORDING_EXTENSIONS
from dropscribe.scoring.references import (
    MOST_BYTES,
    READERS,
    BadReferenceError,
    Reference,
    ending_of,
    read_reference,
    read_table,
)
from dropscribe.transcript.placing.standing import contents
from dropscribe.transcript.reading import NotATranscriptError, read_transcript
from dropscribe.transcript.types import Transcript

_MARK = ".ref"
#: Endings that dropscribe does not write.
_NEVER_OURS = frozenset({".textgrid"})


@dataclass(frozen=True, slots=True)
class Pair:
    """A recording and its reference; `name` is its path relative to the folder."""

    path: Path
    name: str
    reference: Reference
    sources: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class BadReference:
    """A reference that cannot be used."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Pairing:
    """What was found."""

    pairs: tuple[Pair, ...]
    #: Recordings without a reference, and references without a recording.
    alone: tuple[Path, ...]
    without_recording: tuple[Path, ...]
    bad: tuple[BadReference, ...]


def pair_up(folder: Path, references: Path | None = None) -> Pairing:
    """Pair the recordings below `folder` with the references below `references` (None: the same folder). Raises OSError."""
    other = folder if references is None else references
    listed = list(_files(folder))
    recordings = [p for p in listed if p.suffix.lower() in RECORDING_EXTENSIONS]
    own = {p.with_suffix("") for p in listed if p.suffix == ".json" and _is_transcript(p)}
    found = _Found(bad=[], by_key={}, tables={})
    for path in listed if references is None else _files(other):
        if path not in recordings and ending_of(path.name) is not None:
            found.take(path, other, ours=references is None and _base(path) in own)
    pairs: list[Pair] = []
    alone: list[Path] = []
    used: set[Path] = set()
    names = _names(recordings, folder)
    for recording in recordings:
        inside = recording.relative_to(folder)
        sources = found.sources(inside, names)
        if not sources:
            alone.append(recording)
            continue
        reference = Reference()
        for _, one in sources:
            reference = reference.completed(one)
        used.update(path for path, _ in sources)
        pairs.append(
            Pair(recording, inside.as_posix(), reference, tuple(dict.fromkeys(path for path, _ in sources)))
        )
    unused = [path for path in found.paths() if path not in used]
    return Pairing(tuple(pairs), tuple(alone), tuple(unused), tuple(found.bad))


@dataclass(slots=True)
class _Found:
    """References by their path without ending, relative to their folder, and rows of tables."""

    bad: list[BadReference]
    by_key: dict[Path, list[tuple[Path, Reference]]]
    tables: dict[Path, dict[str, Reference]]

    def take(self, path: Path, folder: Path, *, ours: bool) -> None:
        """Read one file. `ours`: a transcript of dropscribe may have its name."""
        ending = ending_of(path.name)
        base = _base(path)
        if ending is None or (ours and ending not in _NEVER_OURS):
            return
        if ending == ".json" and not base.name.endswith(_MARK) and not _is_transcript(path):
            return  # not everything with this ending is a transcript
        data = contents(path, MOST_BYTES)
        if data is None:
            reason = f"it is not a regular file, or larger than {MOST_BYTES >> 20} MiB"
            self.bad.append(BadReference(path, reason))
            return
        try:
            table = read_table(data) if ending in {".tsv", ".rttm"} else None
            if table is not None:
                self.tables[path] = table
                return
            reference = read_reference(data, ending)
        except BadReferenceError as e:
            self.bad.append(BadReference(path, str(e)))
            return
        key = base.relative_to(folder)
        if key.name.endswith(_MARK):
            key = key.with_name(key.name.removesuffix(_MARK))
        self.by_key.setdefault(key, []).append((path, reference))

    def sources(self, inside: Path, names: frozenset[str]) -> list[tuple[Path, Reference]]:
        """References of a recording: by its name without extension, by its whole name, by row of a table."""
        found = [*self.by_key.get(inside.with_suffix(""), ()), *self.by_key.get(inside, ())]
        found.sort(key=lambda one: list(READERS).index(ending_of(one[0].name) or ""))
        for path, rows in self.tables.items():
            for key in (inside.as_posix(), inside.name, inside.stem):
                if key in rows and (key == inside.as_posix() or key in names):
                    found.append((path, rows[key]))
                    break
        return found

    def paths(self) -> Iterator[Path]:
        for references in self.by_key.values():
            yield from (path for path, _ in references)
        yield from self.tables


def _names(recordings: Sequence[Path], folder: Path) -> frozenset[str]:
    """Names and stems that only one recording has, so that a table may use them instead of paths."""
    counted: dict[str, int] = {}
    for recording in recordings:
        inside = recording.relative_to(folder)
        for key in {inside.name, inside.stem}:
            counted[key] = counted.get(key, 0) + 1
    return frozenset(key for key, times in counted.items() if times == 1)


def _files(folder: Path) -> Iterator[Path]:
    """Files below a folder in order of their names, without hidden ones; links to folders are not followed."""

    def refuse(error: OSError) -> None:
        raise error

    for directory, inner, names in os.walk(folder, onerror=refuse):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        yield from (Path(directory, name) for name in sorted(names) if not name.startswith("."))


def _base(path: Path) -> Path:
    """Path without the ending of a reference."""
    return path.with_name(path.name[: -len(ending_of(path.name) or "") or None])


def _is_transcript(path: Path) -> bool:
    return _transcript(path) is not None


def own_transcript(recording: Path) -> Transcript | None:
    """The transcript of dropscribe beside a recording (NAME.json); None if there is none. Raises OSError."""
    for path in (recording.with_suffix(".json"), recording.with_name(recording.name + ".json")):
        found = _transcript(path)
        if found is not None:
            return found
    return None


def _transcript(path: Path) -> Transcript | None:
    try:
        return read_transcript(contents(path, MOST_BYTES) or b"").transcript
    except NotATranscriptError:
        return None
