"""Find transcript files beside a recording that an earlier `transcribe --write` wrote, so that a later one may replace them.

There is no ledger that recorded them. A file counts as written by an earlier run if its bytes are those that dropscribe
writes: the NAME.json of a transcript without a job, made from a recording of the same content, equals its own rendering,
and the other files of that name equal what it renders to. Files that equal what is to be written now count, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dropscribe.transcript import naming, render
from dropscribe.transcript.placing.standing import contents
from dropscribe.transcript.reading import NotATranscriptError, read_timing, read_transcript, with_timing
from dropscribe.transcript.timing import timing_log

#: Largest file that is read, bytes; the NAME.json of a 48-hour recording has about 100 MB.
MOST_BYTES = 256 * 1024**2
_JSON = ".json"


@dataclass(frozen=True, slots=True)
class EarlierFile:
    """A file of an earlier run: SHA-256 (hex) and size in bytes."""

    sha256: str
    size: int

    @classmethod
    def of(cls, data: bytes) -> EarlierFile:
        return cls(hashlib.sha256(data).hexdigest(), len(data))


def earlier_files(
    recording: Path, sha256: str, names: Sequence[str], new: Mapping[str, bytes], options: render.Options
) -> dict[str, EarlierFile]:
    """Files of earlier runs among `names`, the names in the recording's directory.

    `sha256`: of the recording's content. `new`: content to be written, by format. Raises OSError.
    """
    found: dict[str, EarlierFile] = {}
    for name in names:
        for format_name, data in new.items():
            if (
                naming.form_of(recording, format_name, name)
                and contents(recording.parent / name, len(data)) == data
            ):
                found[name] = EarlierFile.of(data)
        if name.endswith(_JSON) and naming.form_of(recording, "json", name):
            found |= _with(recording.parent, name.removesuffix(_JSON), sha256, options)
    return found


def _with(
    directory: Path, base: str, sha256: str, options: render.Options
) -> Iterator[tuple[str, EarlierFile]]:
    """The NAME.json of this base and the files that equal its rendering, if it is of an earlier run."""
    data = contents(directory / (base + _JSON), MOST_BYTES)
    try:
        written = read_transcript(data or b"")
    except NotATranscriptError:
        return
    transcript = written.transcript
    if transcript.job_id != 0 or transcript.sha256 != sha256:
        return
    rendered = render.render_all(transcript, render.RENDERERS, options, written.version)
    if rendered["json"] != data:
        return
    for format_name, expected in rendered.items():
        name = base + naming.ending(format_name)
        if contents(directory / name, len(expected)) == expected:
            yield name, EarlierFile.of(expected)
    name = base + naming.ending("timing")
    timing = contents(directory / name, MOST_BYTES)
    try:
        log = read_timing(timing or b"", transcript)
    except NotATranscriptError:
        return
    again = timing_log(
        with_timing(transcript, log), started=log.started, ended=log.ended, version=log.version
    )
    if again == timing:
        yield name, EarlierFile.of(again)
