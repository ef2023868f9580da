"""`dropscribe stats`: how much was transcribed, how fast, how long it waited, and what failed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dropscribe.cli.arguments import filters, options
from dropscribe.errors import StorageError, UsageError

if TYPE_CHECKING:
    from dropscribe.ledger.interface import DatabaseLocation
    from dropscribe.ledger.questions import JobTotals, Part

#: Without other options these days are shown, as for --since.
USUAL_SINCE = "30d"
#: Shortest and longest bar, columns.
_LEAST_BAR, _MOST_BAR = 6, 40


def command(
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART",
            help="Divide by day, week, month, folder, profile, model, device or reason (default: day). May be repeated.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Jobs that ended on this day (UTC) or later: 7d, 2w ago, or 2026-03-01. Default: 30d with days, else all.",
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Jobs that ended on this day (UTC) or earlier.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", readable=False, help="Only this watched folder.")
    ] = None,
    profile: filters.Profile = None,
    recognised_by: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Only jobs recognised by this model.")
    ] = None,
    chart: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.svg", readable=False, help="Draw audio, speed, waiting and failures (SVG)."
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Only compare the totals with the jobs; exit status 1 if they differ."),
    ] = False,
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Only make totals anew that differ from the jobs. Others wait meanwhile."),
    ] = False,
    config: options.Config = None,
    database: options.Database = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print dropscribe/stats/1 as JSON.")] = False,
) -> None:
    """Show how much was transcribed, how fast, what failed.

    From totals that are kept when a job ends. Days are UTC. RTFx: audio recognised per second between claim and end of a job;
    results taken from another recording of the same content do not count. Quantiles (p50, p95) are read from
    histograms and are right within a factor of two.

    JSON, dropscribe/stats/1: database, by, since, until, groups [{key, done, failed, cancelled, failed_share, audio_s, speech_s,
    characters, recognised_s, processing_s, rtfx, stages {stage: {jobs, mean_s, p50_s, p95_s}}}], total.
    """
    from dropscribe.cli.arguments.settings import database_location
    from dropscribe.cli.output import print_json, say
    from dropscribe.ledger.backend import open_read_only
    from dropscribe.ledger.questions import Part, TotalsFilter, named_folder
    from dropscribe.views.stats import DAY_S, WAITING, stats_document

    location = database_location(config, database)
    if check or fix:
        _check(location, fix=fix)
        return
    parts = [_part(name) for name in by or [Part.DAY]]
    if since is None and Part.DAY in parts:
        since = USUAL_SINCE
    now = time.time()
    first, last = (
        None if t is None else int(filters.instant(t, now, "show statistics") // DAY_S)
        for t in (since, until)
    )
    root = None if folder is None else named_folder(folder, Path.cwd())
    wanted = TotalsFilter(first, last, root, profile, recognised_by)
    with closing(open_read_only(location)) as ledger:
        # The stages of each row are in JSON only.
        groups = ledger.totals(parts, wanted, stage=None if as_json else WAITING)
        whole = next(iter(ledger.totals((), wanted)), None)
    if chart is not None:
        _draw(chart, groups, parts)
    if as_json:
        print_json(stats_document(location, parts, wanted, groups, whole))
    elif whole is None:
        say("no job has ended in this time")
    else:
        _print(groups, parts, whole)


def _part(name: str) -> Part:
    from dropscribe.ledger.questions import Part

    try:
        return Part(name.lower())
    except ValueError as e:
        raise UsageError(
            f"there is no division by '{name}'",
            operation="show statistics",
            remedy=f"there are: {', '.join(Part)}",
        ) from e


def _check(location: DatabaseLocation, *, fix: bool) -> None:
    """Compare the totals with the jobs and print the result. Raises typer.Exit with status 1 if they differ still."""
    from dropscribe.cli.output import say
    from dropscribe.ledger.backend import open_beside, open_read_only

    with closing(open_beside(location) if fix else open_read_only(location)) as ledger:
        wrong = ledger.wrong_totals()
        if wrong and fix:
            ledger.renew_totals()
    if not wrong:
        say("the totals are those of the jobs")
        return
    what = ", ".join(f"{count} rows of {table}" for table, count in wrong.items())
    if fix:
        say(f"made anew: {what} were wrong")
        return
    say(f"wrong: {what}; 'dropscribe stats --fix' makes them anew")
    raise typer.Exit(1)


def _draw(path: Path, groups: Sequence[JobTotals], parts: Sequence[Part]) -> None:
    """Write the chart. Raises UsageError, StorageError."""
    from dropscribe.views.stats_chart import draw

    if path.suffix.lower() != ".svg":
        raise UsageError(
            "charts are SVG pictures", operation="write chart", path=path, remedy="name it FILE.svg"
        )
    try:
        path.write_bytes(draw(groups, parts, f"Transcription by {' and '.join(parts)}"))
    except OSError as e:
        raise StorageError.from_system(
            e, operation="write chart", path=path, remedy="name another file with --chart"
        ) from e


def _print(groups: Sequence[JobTotals], parts: Sequence[Part], whole: JobTotals) -> None:
    """Print a row with a bar for each group, the sums, and the stages of all."""
    from dropscribe.cli.output import say, shows_blocks, terminal_width
    from dropscribe.columns import GAP, columns, padded, shortened
    from dropscribe.views.stats import brief, in_order, row_of
    from dropscribe.views.stats_chart import bars

    titles = (", ".join(parts), "done", "failed", "audio h", "RTFx", "wait p50", "p95")
    rows = [row_of(totals, parts) for totals in groups]
    total = ("all", *row_of(whole, ())[1:])
    widths = [max(columns(row[i]) for row in (titles, total, *rows)) for i in range(len(titles))]
    others = sum(widths[1:]) + len(GAP) * len(titles)
    width = min(terminal_width(), others + widths[0] + _MOST_BAR)
    widths[0] = max(len(titles[0]), min(widths[0], width - others - _LEAST_BAR))
    drawn = bars([t.audio_s for t in groups], width - others - widths[0], blocks=shows_blocks())

    def line(cells: Sequence[str], bar: str = "") -> None:
        right = (" " * (w - columns(cell)) + cell for cell, w in zip(cells[1:], widths[1:], strict=True))
        say(GAP.join([padded(shortened(cells[0], widths[0]), widths[0]), *right, bar]).rstrip())

    line(titles)
    for row, bar in zip(rows, drawn, strict=True):
        line(row, bar)
    if len(rows) > 1:
        line(total)
    if whole.stages:
        say()
        stages = [
            (stage, str(d.count), brief(d.mean_s), brief(d.quantile_s(0.5)), brief(d.quantile_s(0.95)))
            for stage, d in in_order(whole.stages.items())
        ]
        heads = ("stage", "jobs", "mean", "p50", "p95")
        stage_widths = [max(len(row[i]) for row in (heads, *stages)) for i in range(len(heads))]
        for cells in (heads, *stages):
            say(GAP.join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, stage_widths, strict=True))))  # fmt: skip
