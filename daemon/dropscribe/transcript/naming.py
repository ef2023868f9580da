"""How transcript files are named. Pure policy: nothing here looks at a disk.

1. `meeting.m4a` → `meeting.txt`, `meeting.srt`, … (form "short").
2. If any of those names belongs to somebody else, or another recording in the folder has the same stem:
   `meeting.m4a.txt`, … for all of them (form "full").
3. If any of those is taken too: `meeting.m4a.2.txt`, … ("full.2"), and so on.

What was decided once is kept as long as those names are still free or ours. Names that differ only in case (or in
how an accent is composed) count as the same: the folder may be on a share that thinks so.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

#: Longest file name Linux file systems take, bytes.
NAME_BYTES = 255
#: Endings that are not the format's name with a dot. "partial" is the text of a recording still being worked on.
_ENDINGS = MappingProxyType({"timing": ".timing.json", "partial": ".partial.txt"})
#: The longest ending we give; every name leaves room for it, so that all files of a recording share one base.
_LONGEST_ENDING = max(_ENDINGS.values(), key=len)
_SHORT = "short"
_FULL = "full"
_NUMBERED = re.compile(r"full\.(\d+)")


@dataclass(frozen=True, slots=True)
class DirectoryState:
    """What the names of a recording's transcripts depend on besides the name of the recording."""

    directory: Path  #: where the transcripts go, as of `target_directory`
    #: File names in it; at least those that start as the recording's name does up to its first dot.
    names: frozenset[str]
    #: Of these, the files that we wrote for this very recording and that nobody has changed since.
    ours: frozenset[str] = frozenset()
    #: Names of the recordings in the recording's own directory; at least those with the same stem.
    siblings: frozenset[str] = frozenset()
    #: `NamePlan.form` as it was decided before; None for a recording that has no transcript yet.
    kept: str | None = None


@dataclass(frozen=True, slots=True)
class NamePlan:
    """Where each format goes. `form`: "short", "full", "full.2", …, to be kept in `DirectoryState` next time."""

    form: str
    paths: Mapping[str, Path]


def plan_names(recording: Path, formats: Sequence[str], state: DirectoryState) -> NamePlan:
    """Decide the names of a recording's transcript files; `formats` may hold "timing"."""
    present = {_key(name) for name in state.names}
    for form in _forms(recording, state):
        names = {f: name_of(recording, f, form) for f in formats}
        if all(_key(name) not in present or name in state.ours for name in names.values()):
            return NamePlan(form, {f: state.directory / name for f, name in names.items()})
    raise AssertionError("the forms never end")


def target_directory(recording: Path, *, folder: Path, output_dir: Path | None) -> Path:
    """Where transcripts of `recording` go: beside it, or at the same place below `output_dir`.

    A relative `output_dir` is meant from `folder`. A recording outside `folder` is taken as if directly in it.
    """
    if output_dir is None:
        return recording.parent
    inside = recording.parent.is_relative_to(folder)
    return folder / output_dir / (recording.parent.relative_to(folder) if inside else Path())


def output_root(directory: Path, *, folder: Path, output_dir: Path | None, watched: Iterable[Path]) -> Path:
    """The directory beneath which no link is followed on the way to `directory`, as of `target_directory`.

    That is the watched folder it lies in, where people who drop recordings may plant links; else `output_dir`.
    """
    plain = Path(os.path.normpath(directory))
    for root in (folder, *watched):
        if plain.is_relative_to(os.path.normpath(root)):
            return root
    return directory if output_dir is None else folder / output_dir


def name_of(recording: Path, format_name: str, form: str) -> str:
    """The file name of one format in a form; cut to what file systems take, the cut part told by its hash."""
    number = ""
    if form not in {_SHORT, _FULL}:
        numbered = _NUMBERED.fullmatch(form)
        if numbered is None:
            raise ValueError(f"there is no form of names '{form}'")
        number = f".{numbered[1]}"
    base = recording.stem if form == _SHORT else recording.name
    return _fitting(base, len(number)) + number + ending(format_name)


def ending(format_name: str) -> str:
    """What a file of this format ends with, with its dot."""
    return _ENDINGS.get(format_name, f".{format_name}")


def form_of(recording: Path, format_name: str, name: str) -> str | None:
    """Which form a file name on record has, to be passed as `kept`; None if it is none of ours."""
    for form in (_SHORT, _FULL):
        if name_of(recording, format_name, form) == name:
            return form
    number = re.search(r"\.(\d+)" + re.escape(ending(format_name)) + "$", name)
    form = f"{_FULL}.{number[1]}" if number else ""
    return form if form and name_of(recording, format_name, form) == name else None


def _forms(recording: Path, state: DirectoryState) -> Iterator[str]:
    if state.kept is not None:
        yield state.kept
    stem = _key(recording.stem)
    if not any(name != recording.name and _key(Path(name).stem) == stem for name in state.siblings):
        yield _SHORT
    yield _FULL
    yield from (f"{_FULL}.{n}" for n in itertools.count(2))


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _fitting(base: str, reserved: int) -> str:
    room = NAME_BYTES - len(_LONGEST_ENDING) - reserved
    raw = os.fsencode(base)
    if len(raw) <= room:
        return base
    mark = "~" + hashlib.sha256(raw).hexdigest()[:8]
    while len(os.fsencode(base)) > room - len(mark):
        base = base[:-1]
    return base + mark
