"""`dropscribe diff`: differences of two transcripts of a recording, word by word."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dropscribe.cli.arguments import options
from dropscribe.cli.arguments.jobs import no_such_job

if TYPE_CHECKING:
    from dropscribe.scoring.differences import Change, Difference
    from dropscribe.transcript.types import EngineFacts, Segment

#: Words before and after a change that are shown with it.
CONTEXT = 8
#: Changes with fewer equal words between them are shown together.
TOGETHER = 6


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two transcripts."""

    name: str  #: for people: job 7, or a path
    job: int | None
    recording: str
    engine: EngineFacts
    segments: Sequence[Segment]

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "job": self.job,
            "recording": self.recording,
            "model": self.engine.model,
            "device": self.engine.device,
        }


def command(
    first: Annotated[str, typer.Argument(metavar="JOB", help="Number of a job, or a transcript NAME.json.")],
    other: Annotated[str, typer.Argument(metavar="JOB", help="The one that is compared with it.")],
    numbers: Annotated[bool, typer.Option("--numbers", help="Spoken and written numbers are equal.")] = False,
    config: options.Config = None,
    database: options.Database = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print dropscribe/diff/1 as JSON.")] = False,
) -> None:
    """Show how two transcripts differ: words, times, errors.

    A transcript is a job of the history or a file NAME.json. Case, width and marks do not count. [-…-] is only in the first, {+…+}
    only in the second; the time before each place is that of the first changed word. CER: edits that make the second of the
    first, per character of the first.

    JSON, dropscribe/diff/1: first and other {name, job, recording, model, device}, characters {rate, substitutions, deletions,
    insertions, length}, words {first, other, changed}, times {compared, shifted, median_ms, largest_ms, largest_at_ms}, changes
    [{start_ms, first, other, first_words [first, end), other_words}].
    """
    from dropscribe.cli.output import print_json
    from dropscribe.scoring.differences import compare
    from dropscribe.scoring.normalisation import Normalisation
    from dropscribe.views.comparison import diff_document

    one, two = (_side(name, config, database) for name in (first, other))
    found = compare(one.segments, two.segments, Normalisation(numbers=numbers))
    if as_json:
        print_json(diff_document(one.document(), two.document(), found))
    else:
        _print(one, two, found)


def _side(name: str, config: Path | None, database: Path | None) -> _Side:
    """The transcript of a job, or of a file. Raises UsageError."""
    return _of_job(int(name), config, database) if name.isdecimal() else _of_file(Path(name))


def _of_job(number: int, config: Path | None, database: Path | None) -> _Side:
    from dropscribe.cli.arguments.settings import database_location
    from dropscribe.errors import UsageError
    from dropscribe.escapes import readable
    from dropscribe.ledger.backend import open_read_only

    location = database_location(config, database)
    with closing(open_read_only(location)) as ledger:
        detail = ledger.job(number)
    if detail is None:
        raise no_such_job(number, "compare transcripts", location)
    if detail.result is None:
        raise UsageError(
            f"job {number} is {detail.summary.shown_state} and has no transcript",
            operation="compare transcripts",
            path=location.shown,
            remedy="name a job that is done",
        )
    recording = readable(detail.summary.recording)
    return _Side(f"job {number}", number, recording, detail.result.engine, detail.result.segments)


def _of_file(path: Path) -> _Side:
    from dropscribe.errors import UsageError
    from dropscribe.escapes import readable
    from dropscribe.scoring.references import MOST_BYTES
    from dropscribe.transcript.placing.standing import contents
    from dropscribe.transcript.reading import NotATranscriptError, read_transcript

    data = contents(path, MOST_BYTES)
    if data is None:
        raise UsageError(
            "no such file",
            operation="compare transcripts",
            path=path,
            remedy="name a job by its number, or a transcript NAME.json",
        )
    try:
        transcript = read_transcript(data).transcript
    except NotATranscriptError as e:
        raise UsageError(
            str(e), operation="compare transcripts", path=path, remedy="name the NAME.json of a recording"
        ) from e
    job = transcript.job_id or None
    return _Side(readable(path), job, transcript.recording_name, transcript.engine, transcript.segments)


def _print(one: _Side, two: _Side, found: Difference) -> None:
    from dropscribe.cli.output import print_facts, say

    print_facts([
        ("first", f"{one.name}: {one.recording}, {one.engine.model} on {one.engine.device}"),
        ("second", f"{two.name}: {two.recording}, {two.engine.model} on {two.engine.device}"),
        ("CER", _characters(found)),
        ("words", _words(found)),
        ("times", _times(found)),
    ])  # fmt: skip
    for group in _groups(found.changes):
        say()
        _print_group(found, group)


def _characters(found: Difference) -> str:
    counts = found.characters
    if counts.rate is None:
        return "the first has no text"
    if not counts.edits:
        return f"0 % of {counts.length:,} characters"
    return (
        f"{counts.rate * 100:.2f} % of {counts.length:,} characters: {counts.substitutions:,} replaced, "
        f"{counts.deletions:,} missing, {counts.insertions:,} added"
    )


def _words(found: Difference) -> str:
    if not found.changes:
        return f"the same {len(found.words):,}"
    places = f"{len(found.changes):,} place{'s' * (len(found.changes) != 1)}"
    return f"{len(found.words):,} and {len(found.other_words):,}, different at {places}"


def _times(found: Difference) -> str:
    from dropscribe.durations import length
    from dropscribe.scoring.differences import SHIFTED_MS

    times = found.shifts
    if not times.compared:
        return "no word in common"
    if not times.shifted:
        return f"no word shifted by {SHIFTED_MS} ms or more"
    return (
        f"{times.shifted:,} of {times.compared:,} common words shifted by {SHIFTED_MS} ms or more, the most by "
        f"{times.largest_ms:+,} ms at {length(times.largest_at_ms / 1000)}; median of all {times.median_ms:+,.0f} ms"
    )


def _groups(changes: Sequence[Change]) -> list[list[Change]]:
    """Changes that are so near to each other that they are shown in one piece of text."""
    groups: list[list[Change]] = []
    for change in changes:
        if groups and change.first - groups[-1][-1].end < TOGETHER:
            groups[-1].append(change)
        else:
            groups.append([change])
    return groups


def _print_group(found: Difference, group: Sequence[Change]) -> None:
    from dropscribe.cli.output import print_marked
    from dropscribe.durations import length
    from dropscribe.scoring.differences import joined

    cursor = max(0, group[0].first - CONTEXT)
    end = min(len(found.words), group[-1].end + CONTEXT)
    parts = ["…"] if cursor else []
    changed: list[int] = []  # indices of `parts`
    for change in group:
        parts.append(joined(found.words[cursor : change.first]))
        for words, form in (
            (found.words[change.first : change.end], "[-{}-]"),
            (found.other_words[change.other_first : change.other_end], "{{+{}+}}"),
        ):
            if words:
                changed.append(len(parts))
                parts.append(form.format(joined(words)))
        cursor = change.end
    parts += [joined(found.words[cursor:end]), "…" if end < len(found.words) else ""]
    text, marks = "", []
    for i, part in enumerate(parts):
        if i in changed:
            marks.append((len(text), len(text) + len(part)))
        text += part
    print_marked(f"{length(found.start_ms(group[0]) / 1000):>7}  ", text, marks)
