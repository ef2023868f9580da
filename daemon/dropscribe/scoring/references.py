"""Read references: what was said in a recording, and who talked when, as people or other programs wrote it down.

| ending | format | text | turns |
|---|---|---|---|
| `.txt` | plain text; lines in brackets, as dropscribe writes remarks, do not count | yes | no |
| `.tsv` | header `start`, `end` (ms), `text`, and perhaps `speaker` | yes | with `speaker` |
| `.labels.txt` | label track of Audacity: start and end in seconds, text | yes | no |
| `.srt`, `.vtt` | subtitles; `<v NAME>` names a speaker | yes | with `<v NAME>` |
| `.TextGrid` | Praat, long or short form; a tier per speaker | yes | with several tiers |
| `.rttm` | NIST's speaker turns | no | yes |
| `.json` | transcript of dropscribe | yes | with speakers |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from dropscribe.scoring.diarization import Turn
from dropscribe.scoring.turns import turns_of
from dropscribe.transcript.reading import NotATranscriptError, read_transcript

#: Largest reference that is read, bytes.
MOST_BYTES = 64 * 1024**2
_REMARK = re.compile(r"^\[[^\]]*\]$")
_CUE = re.compile(r"(?:(\d+):)?(\d+):(\d+)[.,](\d+)\s+-->\s+(?:(\d+):)?(\d+):(\d+)[.,](\d+)")
_VOICE = re.compile(r"<v(?:\.\S*)?\s+([^>]*)>")
_TAG = re.compile(r"<[^>]*>")
#: Tiers of forced aligners that hold sounds, not words.
_SOUNDS = frozenset({"phones", "phonemes", "phone", "segments"})
_GRID_TOKEN = re.compile(r'"(?:[^"]|"")*"|<exists>|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?')


class BadReferenceError(ValueError):
    """A reference cannot be read; the message has the reason, with the line where it is known."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What is known of a recording. None: the reference does not say."""

    text: str | None = None
    turns: tuple[Turn, ...] | None = None

    def completed(self, other: Reference) -> Reference:
        """With what is missing taken from another reference of the same recording."""
        return Reference(
            other.text if self.text is None else self.text,
            other.turns if self.turns is None else self.turns,
        )


def read_reference(data: bytes, ending: str) -> Reference:
    """Parse a reference of a format in `READERS`. Raises BadReferenceError."""
    return READERS[ending](_decoded(data))


def read_table(data: bytes) -> dict[str, Reference] | None:
    """Parse references of many recordings: an RTTM file, or a table: tab-separated, header with `file`, and `text` or `reference`.

    Rows without a text are left out. Returns references by file; None if it has no such header, or turns of one recording
    only. Raises BadReferenceError.
    """
    text = _decoded(data)
    turns = read_rttm(text) if text.startswith(("SPEAKER", ";;", "SPKR-INFO")) else {}
    if len(turns) > 1:
        return {name: Reference(turns=of_one) for name, of_one in turns.items()}
    header = text.partition("\n")[0].rstrip("\r").lower().split("\t")
    column = next((name for name in ("reference", "text") if name in header), None)
    if "file" not in header or column is None:
        return None
    found = {}
    for number, row in _rows(text, header):
        if row["file"] in found:
            raise BadReferenceError(f"line {number}: '{row['file']}' is there twice")
        if row[column]:
            found[row["file"]] = Reference(row[column])
    return found


def read_rttm(text: str) -> dict[str, tuple[Turn, ...]]:
    """Speaker turns by recording, from the lines SPEAKER of an RTTM file. Raises BadReferenceError."""
    found: dict[str, list[Turn]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0] != "SPEAKER":
            continue
        if len(fields) < 8:
            raise BadReferenceError(f"line {number}: {len(fields)} fields, where RTTM has at least 8")
        start = _milliseconds(fields[3], number)
        end = start + _milliseconds(fields[4], number)
        found.setdefault(fields[1], []).append(Turn(start, end, fields[7]))
    return {name: tuple(turns) for name, turns in found.items()}


def _rttm(text: str) -> Reference:
    by_recording = read_rttm(text)
    if len(by_recording) > 1:
        raise BadReferenceError(f"it has turns of {len(by_recording)} recordings")
    if not by_recording:
        raise BadReferenceError("it has no line SPEAKER")
    return Reference(turns=next(iter(by_recording.values())))


def _txt(text: str) -> Reference:
    return Reference("\n".join(line for line in text.splitlines() if not _REMARK.match(line.strip())))


def _tsv(text: str) -> Reference:
    header = text.partition("\n")[0].rstrip("\r").lower().split("\t")
    missing = [name for name in ("start", "end", "text") if name not in header]
    if missing:
        raise BadReferenceError(f"its header has no column '{missing[0]}'")
    rows = [row for _, row in _rows(text, header) if not _REMARK.match(row["text"])]
    turns = None
    if "speaker" in header:
        turns = tuple(
            Turn(_whole(row["start"], n), _whole(row["end"], n), row["speaker"])
            for n, row in enumerate(rows, start=2)
            if row["speaker"]
        )
    return Reference("\n".join(row["text"] for row in rows), turns)


def _labels(text: str) -> Reference:
    texts = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line or line.startswith("\\"):  # a line with frequencies belongs to the label before it
            continue
        fields = line.split("\t")
        if len(fields) < 3:
            raise BadReferenceError(f"line {number}: not start, end and text")
        _milliseconds(fields[0], number)
        if not _REMARK.match(fields[2]):
            texts.append(fields[2])
    return Reference("\n".join(texts))


def _subtitles(text: str) -> Reference:
    texts: list[str] = []
    turns: list[Turn] = []
    span: tuple[int, int] | None = None
    for line in text.splitlines():
        cue = _CUE.search(line)
        if cue:
            span = _cue_time(cue.groups()[:4]), _cue_time(cue.groups()[4:])
        elif not line.strip():
            span = None
        elif span is not None:
            voice = _VOICE.search(line)
            if voice:
                turns.append(Turn(*span, voice[1].strip()))
            said = _TAG.sub("", line).strip()
            if not _REMARK.match(said):
                texts.append(said)
    if not texts and not turns:
        raise BadReferenceError("it has no subtitle")
    return Reference("\n".join(texts), tuple(turns) or None)


def _cue_time(parts: Sequence[str | None]) -> int:
    hours, minutes, seconds, fraction = parts
    return ((int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)) * 1000 + int(
        (fraction or "0").ljust(3, "0")[:3]
    )


@dataclass(frozen=True, slots=True)
class _Tier:
    name: str
    intervals: tuple[tuple[int, int, str], ...]


def _text_grid(text: str) -> Reference:
    tiers = [t for t in _tiers(_grid_values(text)) if t.name.casefold() not in _SOUNDS]
    if not tiers:
        raise BadReferenceError("it has no tier with text")
    said = sorted((start, end, tier.name, mark) for tier in tiers for start, end, mark in tier.intervals)
    turns = tuple(Turn(start, end, name) for start, end, name, _ in said) if len(tiers) > 1 else None
    return Reference("\n".join(mark for *_, mark in said), turns)


def _grid_values(text: str) -> Iterator[str]:
    """Texts (in quotes), numbers and flags of a TextGrid, without the names that the long form gives them."""
    if "ooTextFile" not in text.partition("\n")[0]:
        raise BadReferenceError("its first line is not that of a TextGrid")
    for found in _GRID_TOKEN.finditer(re.sub(r"\[\d+\]|^\s*!.*$", "", text, flags=re.MULTILINE)):
        yield found.group()


def _tiers(values: Iterator[str]) -> Iterator[_Tier]:
    """Interval tiers; empty intervals and tiers of points are left out."""
    try:
        kinds = [_quoted(next(values)) for _ in range(2)]
        if kinds[1] != "TextGrid":
            raise BadReferenceError("it is no TextGrid")
        _number(values), _number(values)
        if next(values) != "<exists>":
            return
        for _ in range(int(_number(values))):
            kind, name = _quoted(next(values)), _quoted(next(values))
            _number(values), _number(values)
            count, intervals = int(_number(values)), []
            for _ in range(count):
                start = end = _number(values)
                if kind == "IntervalTier":
                    end = _number(values)
                mark = _quoted(next(values)).strip()
                if mark and kind == "IntervalTier":
                    intervals.append((round(start * 1000), round(end * 1000), mark))
            if kind == "IntervalTier":
                yield _Tier(name, tuple(intervals))
    except StopIteration:
        raise BadReferenceError("it ends in the middle of a tier") from None


def _number(values: Iterator[str]) -> float:
    value = next(values)
    try:
        return float(value)
    except ValueError:
        raise BadReferenceError(f"{value[:40]} stands where a number should be") from None


def _quoted(value: str) -> str:
    if not value.startswith('"'):
        raise BadReferenceError(f"{value[:40]} stands where a text should be")
    return value[1:-1].replace('""', '"')


def _json(text: str) -> Reference:
    try:
        transcript = read_transcript(text.encode()).transcript
    except NotATranscriptError as e:
        raise BadReferenceError(str(e)) from e
    return Reference(transcript.text, turns_of(transcript.segments))


#: Readers by ending of the file name, lower case, in order of preference where a recording has several references.
READERS: Mapping[str, Callable[[str], Reference]] = MappingProxyType(
    {
        ".labels.txt": _labels,
        ".txt": _txt,
        ".textgrid": _text_grid,
        ".tsv": _tsv,
        ".rttm": _rttm,
        ".vtt": _subtitles,
        ".srt": _subtitles,
        ".json": _json,
    }
)


def ending_of(name: str) -> str | None:
    """Ending of a file name that has a reader; None if there is none."""
    return next((ending for ending in READERS if name.lower().endswith(ending)), None)


def _decoded(data: bytes) -> str:
    """Text of UTF-8, of UTF-16 with a byte order mark, or of GB 18030."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings: tuple[str, ...] = ("utf-16",)
    else:
        encodings = ("utf-8-sig", "gb18030")
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise BadReferenceError("it is neither UTF-8 nor UTF-16 nor GB 18030; save it as UTF-8")


def _rows(text: str, header: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(text.splitlines()[1:], start=2):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) < len(header):
            raise BadReferenceError(
                f"line {number}: {len(cells)} columns, where the header has {len(header)}"
            )
        yield number, dict(zip(header, (c.strip() for c in cells), strict=False))


def _milliseconds(text: str, line: int) -> int:
    try:
        seconds = float(text)
    except ValueError:
        raise BadReferenceError(f"line {line}: '{text[:40]}' is no time in seconds") from None
    # The comparison also rejects NaN.
    if not 0 <= seconds <= 10**9:
        raise BadReferenceError(f"line {line}: '{text[:40]}' is no time in seconds")
    return round(seconds * 1000)


def _whole(text: str, line: int) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadReferenceError(f"line {line}: '{text[:40]}' is no time in milliseconds") from None
