"""`dropscribe eval`: error rates of transcripts against references."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dropscribe.cli.arguments import options

if TYPE_CHECKING:
    from dropscribe.config import Settings
    from dropscribe.scoring.normalisation import Normalisation
    from dropscribe.scoring.pairs import Pair, Pairing
    from dropscribe.scoring.scores import FileScore, Rules, Total

#: Name in place of a profile for transcripts that are there already.
OUTPUTS = "outputs"
#: Most confusions that are listed, and the columns of a line of them.
CONFUSIONS, CONFUSION_COLUMNS = 12, 78


def command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", readable=False, help="Folder with recordings, searched with all below it."
        ),
    ],
    references: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", readable=False, help="Folder with the references. Default: the same as DIR."
        ),
    ] = None,
    from_outputs: Annotated[
        bool,
        typer.Option(
            "--from-outputs",
            help="Score the transcripts beside the recordings (NAME.json); transcribe nothing.",
        ),
    ] = False,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Profile of the configuration; may be repeated, to compare. Default: default.",
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT",
            help="Count differences of this, too: case, width, punctuation or spaces. May be repeated.",
        ),
    ] = None,
    numbers: Annotated[
        bool,
        typer.Option("--numbers", help="Spoken and written numbers are equal: 二十 and 20, 百分之五 and 5%."),
    ] = False,
    collar: Annotated[
        int,
        typer.Option(
            min=0,
            max=10_000,
            metavar="MS",
            help="Time to ignore before and after each border of a speaker turn, ms.",
        ),
    ] = 0,
    skip_overlap: Annotated[
        bool, typer.Option("--skip-overlap", help="Ignore times in which several speakers talk at once.")
    ] = False,
    limit: Annotated[
        int, typer.Option(min=0, metavar="NUMBER", help="Number of recordings to list, worst first.")
    ] = 20,
    chart: Annotated[
        Path | None,
        typer.Option(metavar="FILE", readable=False, help="Write a chart of the error rates (SVG)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print dropscribe/eval/1 as JSON.")] = False,
    config: options.Config = None,
    model: options.Model = None,
    vad_model: options.VadModel = None,
    device: options.Device = None,
) -> None:
    """Measure error rates: transcripts against references.

    The reference of NAME.wav is NAME.ref.ENDING or NAME.ENDING: txt, tsv, TextGrid, srt, vtt, labels.txt or json for the words, rttm,
    TextGrid or tsv for who talks when; or a row of a table refs.tsv (columns file and text). Rates: characters (CER), words (WER; a
    Chinese character is a word), speakers (DER). Case, width, punctuation and spaces do not count.

    JSON, dropscribe/eval/1: folder, rules, totals [{profile, models, files, failed, audio_s, characters, words, speakers,
    confusions [{expected, recognised, times}]}], recordings [{file, profile, model, audio_s, characters, words, speakers, problem}],
    without_reference, without_recording, bad_references [{path, reason}]. characters and words: {rate, substitutions,
    deletions, insertions, length}; speakers: {rate, total_ms, missed_ms, false_alarm_ms, confusion_ms, words, wrong_words, expected,
    found}.
    """  # fmt: skip
    from dropscribe.cli.output import print_json
    from dropscribe.errors import UsageError
    from dropscribe.scoring.chart import draw
    from dropscribe.scoring.pairs import pair_up
    from dropscribe.scoring.scores import Rules, total
    from dropscribe.views.comparison import eval_document

    rules = Rules(_normalisation(keep or [], numbers=numbers), collar, not skip_overlap)
    for given in (folder, references):
        if given is not None and not given.is_dir():
            raise UsageError("it is no folder", operation="evaluate", path=given, remedy="check the name")
    pairing = pair_up(folder, references)
    _report(pairing)
    if not pairing.pairs:
        raise UsageError(
            "no recording in it has a reference",
            operation="evaluate",
            path=folder,
            remedy="put NAME.ref.txt beside NAME.wav, or name a folder with --references",
        )
    if from_outputs:
        names = [OUTPUTS]
        scored = list(_of_outputs(pairing.pairs, rules))
    else:
        names = list(dict.fromkeys(profile or ["default"]))
        settings = _settings(names, config=config, model=model, vad_model=vad_model, device=device)
        scored = list(_transcribed(pairing.pairs, settings, names, rules))
    totals = [total(name, (one for one in scored if one.profile == name)) for name in names]
    if chart is not None:
        _write(chart, draw(totals, scored))
    if as_json:
        print_json(eval_document(folder, rules, pairing, totals, scored))
    else:
        _print(totals, scored, limit)
    if pairing.bad or any(one.score is None for one in scored):
        raise typer.Exit(1)


def _normalisation(keep: Sequence[str], *, numbers: bool) -> Normalisation:
    from dropscribe.errors import UsageError
    from dropscribe.scoring.normalisation import Normalisation

    known = ("case", "width", "punctuation", "spaces")
    for name in keep:
        if name not in known:
            raise UsageError(
                f"there is no '{name}' to keep", operation="evaluate", remedy=f"there are: {', '.join(known)}"
            )
    return Normalisation(**{name: name not in keep for name in known}, numbers=numbers)


def _settings(
    profiles: Sequence[str],
    *,
    config: Path | None,
    model: str | None,
    vad_model: str | None,
    device: str | None,
) -> Settings:
    from dropscribe.cli.arguments.settings import in_force
    from dropscribe.errors import UsageError

    settings = in_force(config=config, model=model, vad_model=vad_model, device=device).settings
    for name in profiles:
        if name not in settings.profiles:
            raise UsageError(
                f"there is no profile '{name}'",
                operation="evaluate",
                remedy=f"there are: {', '.join(settings.profiles)}",
            )
    return settings


def _transcribed(
    pairs: Sequence[Pair], settings: Settings, profiles: Sequence[str], rules: Rules
) -> Iterator[FileScore]:
    """Transcribe the recordings under each profile and score them."""
    from dropscribe import logs
    from dropscribe.cli.output import say
    from dropscribe.cli.progress_bars import Bars
    from dropscribe.pipeline.oneshot import OneShot
    from dropscribe.pipeline.problem import Problem
    from dropscribe.scoring.scores import FileScore, score
    from dropscribe.scoring.turns import turns_of, words_of

    logs.setup(json_lines=False)
    if sys.stderr.isatty():
        models = dict.fromkeys(settings.model_set(settings.profile(name)).asr for name in profiles)
        say(f"loading {', '.join(models)} …", err=True)
    by_path = {pair.path.absolute(): pair for pair in pairs}
    with OneShot(settings, profiles) as engine, Bars() as bars:
        for profile in profiles:
            for finished in engine.transcribe(list(by_path), bars.show, profile):
                bars.remove(finished.path)
                pair, end = by_path[finished.path], finished.end
                if isinstance(end, Problem):
                    yield FileScore(pair.name, profile, problem=end.reason)
                    continue
                text = "\n".join(s.text for s in end.segments)
                found = score(pair.reference, text, turns_of(end.segments), rules, words_of(end.segments))
                audio_s = end.media.duration_ms / 1000
                yield FileScore(pair.name, profile, audio_s, found, model=engine.facts.using(end.used).model)


def _of_outputs(pairs: Sequence[Pair], rules: Rules) -> Iterator[FileScore]:
    """Score the transcripts of dropscribe beside the recordings."""
    from dropscribe.scoring.pairs import own_transcript
    from dropscribe.scoring.scores import FileScore, score
    from dropscribe.scoring.turns import turns_of, words_of

    for pair in pairs:
        transcript = own_transcript(pair.path)
        if transcript is None:
            yield FileScore(pair.name, OUTPUTS, problem="no transcript of dropscribe (json) is beside it")
            continue
        segments = transcript.segments
        found = score(pair.reference, transcript.text, turns_of(segments), rules, words_of(segments))
        yield FileScore(
            pair.name, OUTPUTS, transcript.media.duration_ms / 1000, found, model=transcript.engine.model
        )


def _report(pairing: Pairing) -> None:
    """Name what cannot be compared, on standard error."""
    from dropscribe.cli.output import say
    from dropscribe.escapes import readable

    for bad in pairing.bad:
        say(f"dropscribe: read reference {readable(bad.path)}: {bad.reason}", err=True)
    for paths, what in (
        (pairing.alone, "no reference"),
        (pairing.without_recording, "a reference without a recording"),
    ):
        for path in paths:
            say(f"{readable(path)}: {what}", err=True)


def _write(path: Path, data: bytes) -> None:
    from dropscribe.errors import StorageError

    try:
        path.write_bytes(data)
    except OSError as e:
        raise StorageError.from_system(
            e, operation="write chart", path=path, remedy="name another file with --chart"
        ) from e


def _print(totals: Sequence[Total], scored: Sequence[FileScore], limit: int) -> None:
    from dropscribe.cli.output import duration, print_list, print_table, say
    from dropscribe.scoring.scores import worst_first

    titles = ("profile", "files", "audio", "CER", "WER", "DER", "replaced", "missing", "added")
    rows = [
        (t.profile, str(t.files), duration(t.audio_s), _percent(t.characters.rate), _percent(t.words.rate),
         _percent(t.speakers.rate), str(t.characters.substitutions), str(t.characters.deletions),
         str(t.characters.insertions))
        for t in totals
    ]  # fmt: skip
    print_table(titles, rows, right=range(1, len(titles)))
    shown = worst_first(scored)[:limit]
    if shown:
        say()
        several = len(totals) > 1
        edits = "repl, miss, add"
        titles = (
            "worst first",
            *(("profile",) if several else ()),
            "audio",
            *map(_right, ("CER", "WER", "DER")),
            edits,
        )
        print_list(titles, [_row(one, several=several) for one in shown])
    if len(scored) > len(shown):
        say(f"… and {len(scored) - len(shown)} more; --limit lists them, --json has all")
    for t in totals:
        _print_speakers(t, several=len(totals) > 1)
        _print_confusions(t, several=len(totals) > 1)


def _row(one: FileScore, *, several: bool) -> tuple[str, ...]:
    """Cells of a recording. `several`: with the name of the profile."""
    from dropscribe.cli.output import duration

    name = (one.name, one.profile) if several else (one.name,)
    found = one.score
    if found is None:
        return (*name, "-", *map(_right, "---"), one.problem)
    counts = found.characters
    edits = (
        "-"
        if counts is None
        else f"{counts.substitutions}, {counts.deletions}, {counts.insertions} of {counts.length}"
    )
    rates = [None if part is None else part.rate for part in (counts, found.words, found.speakers)]
    return (*name, duration(one.audio_s), *(_right(_percent(rate)) for rate in rates), edits)


def _right(cell: str) -> str:
    """Cell of a rate, right-aligned."""
    return f"{cell:>8}"


def _print_speakers(found: Total, *, several: bool) -> None:
    from dropscribe.cli.output import say

    said = found.attribution
    if said.files:
        of = f" of {found.profile}" if several else ""
        say()
        say(
            f"speakers{of}: {_percent(said.rate)} of {said.words} words have the wrong one; "
            f"the number is right in {said.files_right} of {said.files}"
        )


def _print_confusions(found: Total, *, several: bool) -> None:
    from dropscribe.cli.output import say
    from dropscribe.columns import folded
    from dropscribe.views.comparison import most_frequent

    counted = most_frequent(found.confusions, CONFUSIONS)
    if not counted:
        return
    say()
    say(f"most frequent confusions{f' of {found.profile}' if several else ''} (reference → recognised)")
    # A no-break space keeps each of them together.
    pairs = [f"{one.expected or '∅'}\xa0→\xa0{one.recognised or '∅'}\xa0{times}×" for one, times in counted]
    for line in folded("  ".join(pairs), CONFUSION_COLUMNS):
        say(line.strip().replace("\xa0", " "))


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{rate * 100:.2f} %"
