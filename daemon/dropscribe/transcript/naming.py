"""Name transcript files. Pure policy: no disk access.

1. `meeting.m4a` → `meeting.txt`, `meeting.srt`, … (form "short").
2. If any of those names is taken by a foreign file, or another recording in the folder has the same stem:
   `meeting.m4a.txt`, … for all of them (form "full").
3. If any of those is taken too: `meeting.m4a.2.txt`, … ("full.2"), and so on.

Subtitles may have a language before their ending, as media servers want it: `meeting.zh.srt`.

A version that stands beside earlier ones has its number before the ending (`meeting.v2.txt`; forms "v2.short", …).

A form once chosen is kept as long as its names are free or ours. Names that differ only in case or in Unicode
composition count as equal, because a network share may treat them as equal.
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

from dropscribe.escapes import readable

#: The output formats; the setting `formats` takes these names. Apart from `render.RENDERERS`, the import of which takes as
#: long as that of all settings.
FORMATS = ("txt", "srt", "vtt", "json", "md", "html", "docx", "tsv", "lrc", "labels", "rttm")
#: Those that are written unless a profile names its own.
DEFAULT_FORMATS = ("txt", "srt", "vtt", "json")
#: Those that are no text.
BINARY_FORMATS = frozenset({"docx"})
#: The language of the text, as the setting `subtitle_language_suffix` has it.
AUTO_LANGUAGE = "auto"
#: Begin and end of the name under which a file is written before it gets its own.
TEMPORARY_BEGIN, TEMPORARY_END = ".", ".dropscribe.tmp"
#: Longest file name of Linux file systems, bytes.
NAME_BYTES = 255
_ENDINGS = MappingProxyType(
    {
        "timing": ".timing.json",
        "partial": ".partial.txt",
        "failed": ".failed.txt",
        "labels": ".labels.txt",
    }
)
#: Formats whose names may have a language.
SUBTITLES = frozenset({"srt", "vtt"})
#: A language before the ending, such as `zh` or `zh-Hant`: at most as long as keeps the ending below the longest one.
LANGUAGE = r"[A-Za-z]{2}(?:-[A-Za-z0-9]{2,4})?|[A-Za-z]{3}(?:-[A-Za-z0-9]{2,3})?"
_LONGEST_ENDING = max(_ENDINGS.values(), key=len)
#: The form of names without the extension of the recording.
SHORT = "short"
_FULL = "full"
_WITH_LANGUAGE = re.compile(rf"\.({LANGUAGE})(?=\.(?:{'|'.join(sorted(SUBTITLES))})$)")
_NUMBERED = re.compile(r"full\.(\d+)")
_VERSIONED = re.compile(r"v(\d+)\.(.+)")


@dataclass(frozen=True, slots=True)
class DirectoryState:
    """What the names of a recording's transcripts depend on besides the name of the recording."""

    directory: Path  #: where the transcripts go, as of `target_directory`
    #: File names in it; at least those that start as the recording's name does up to its first dot.
    names: frozenset[str]
    #: Those of `names` that we wrote for this recording and that are unchanged since.
    ours: frozenset[str] = frozenset()
    #: Names of the recordings in the recording's own directory; at least those with the same stem.
    siblings: frozenset[str] = frozenset()
    #: `NamePlan.form` as it was decided before; None for a recording that has no transcript yet.
    kept: str | None = None
    #: Language in the names of subtitles; "": none.
    language: str = ""
    #: Number in the names of a version that stands beside earlier ones; 1: none.
    version: int = 1


@dataclass(frozen=True, slots=True)
class NamePlan:
    """Where each format goes. `form`: "short", "full", "full.2", …, to be kept in `DirectoryState` next time."""

    form: str
    directory: Path
    names: Mapping[str, str]

    @property
    def paths(self) -> dict[str, Path]:
        """The same as paths, which take ten times as long as names."""
        return {f: self.directory / name for f, name in self.names.items()}


def plan_names(recording: Path, formats: Sequence[str], state: DirectoryState) -> NamePlan:
    """Decide the names of a recording's transcript files; `formats` may hold "timing"."""
    present = {_key(name) for name in state.names}
    for form in _forms(recording, state):
        base = _base(recording, form)
        names = {f: base + ending(f, state.language) for f in formats}
        if all(_key(name) not in present or name in state.ours for name in names.values()):
            return NamePlan(form, state.directory, names)
    raise AssertionError("the forms never end")


def recording_name(recording: Path) -> str:
    """File name as valid Unicode text; bytes that are not UTF-8 become backslash escapes."""
    return readable(recording.name)


def target_directory(recording: Path, *, folder: Path, output_dir: Path | None) -> Path:
    """Directory for the transcripts of `recording`: its own, or the same relative one below `output_dir`.

    A relative `output_dir` is relative to `folder`. A recording outside `folder` counts as directly inside it.
    """
    if output_dir is None:
        return recording.parent
    inside = recording.parent.is_relative_to(folder)
    return folder / output_dir / (recording.parent.relative_to(folder) if inside else Path())


def output_root(directory: Path, *, folder: Path, output_dir: Path | None, watched: Iterable[Path]) -> Path:
    """Directory below which no symbolic link is followed on the way to `directory` (from `target_directory`).

    The watched folder that contains it, since users of that folder may create links in it; else `output_dir`.
    """
    plain = Path(os.path.normpath(directory))
    for root in (folder, *watched):
        if plain.is_relative_to(os.path.normpath(root)):
            return root
    return directory if output_dir is None else folder / output_dir


def name_of(recording: Path, format_name: str, form: str, language: str = "") -> str:
    """File name of one format in a form. A base that is too long is cut and marked with a hash of the whole.

    `language`: of the subtitles, for their names; "": none.
    """
    return _base(recording, form) + ending(format_name, language)


def _base(recording: Path, form: str) -> str:
    """What the names of all formats in a form begin with."""
    marked = _VERSIONED.fullmatch(form)
    version, form = ("", form) if marked is None else (f".v{marked[1]}", marked[2])
    number = ""
    if form not in {SHORT, _FULL}:
        numbered = _NUMBERED.fullmatch(form)
        if numbered is None:
            raise ValueError(f"unknown form of names '{form}'")
        number = f".{numbered[1]}"
    base = recording.stem if form == SHORT else recording.name
    number += version
    return _fitting(base, len(number)) + number


def ending(format_name: str, language: str = "") -> str:
    """File name ending of a format, with its dot; for subtitles, with the language before it."""
    if language and format_name in SUBTITLES:
        return f".{language}.{format_name}"
    return _ENDINGS.get(format_name, f".{format_name}")


def form_of(recording: Path, format_name: str, name: str) -> str | None:
    """Form of a recorded file name, to be passed as `kept`; None if `plan` would not produce that name.

    A name of subtitles may have any language.
    """
    found = _form_of(recording, format_name, name, "")
    if found is None and format_name in SUBTITLES and (language := _WITH_LANGUAGE.search(name)):
        return _form_of(recording, format_name, name, language[1])
    return found


def _form_of(recording: Path, format_name: str, name: str, language: str) -> str | None:
    found: re.Match[str] | None = re.search(
        r"(?:\.(\d+))?(?:\.v(\d+))?" + re.escape(ending(format_name, language)) + "$", name
    )
    number, version = (found[1], found[2]) if found else (None, None)
    forms: list[str] = [SHORT, _FULL, *([f"{_FULL}.{number}"] if number else ())]
    for form in [*forms, *(versioned(form, int(version)) for form in forms if version)]:
        if name_of(recording, format_name, form, language) == name:
            return form
    return None


def versioned(form: str, version: int) -> str:
    """Form of the names of a version that stands beside earlier ones; `form` itself for version 1."""
    return form if version == 1 else f"v{version}.{form}"


def version_of(form: str) -> int:
    """Version that a form of names stands for."""
    found = _VERSIONED.fullmatch(form)
    return 1 if found is None else int(found[1])


def _forms(recording: Path, state: DirectoryState) -> Iterator[str]:
    if state.kept is not None:
        yield state.kept
    stem = _key(recording.stem)
    if not any(name != recording.name and _key(Path(name).stem) == stem for name in state.siblings):
        yield versioned(SHORT, state.version)
    yield versioned(_FULL, state.version)
    yield from (versioned(f"{_FULL}.{n}", state.version) for n in itertools.count(2))


def _key(name: str) -> str:
    """Name for comparison regardless of case and Unicode composition."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _fitting(base: str, reserved: int) -> str:
    """`base`, cut if it would not fit with `reserved` more bytes and the longest ending."""
    room = NAME_BYTES - len(_LONGEST_ENDING) - reserved
    # A character has at most four bytes.
    if 4 * len(base) <= room or len(raw := os.fsencode(base)) <= room:
        return base
    mark = "~" + hashlib.sha256(raw).hexdigest()[:8]
    while len(os.fsencode(base)) > room - len(mark):
        base = base[:-1]
    return base + mark
