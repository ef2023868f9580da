"""`dropscribe bench`: measure the speed of this machine, compared with stock FunASR."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from dropscribe import escapes
from dropscribe.cli.arguments import options
from dropscribe.cli.output import say
from dropscribe.escapes import readable

if TYPE_CHECKING:
    from dropscribe.bench.records import Report, Run

#: Minutes of generated recordings if neither recordings nor --generate are given.
MINUTES = 10.0
#: Most recordings listed on the terminal; bench.json has all.
LISTED = 20


def command(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE", readable=False, help="Recordings to measure with. Default: generated ones."
        ),
    ] = None,
    generate: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=6000,
            metavar="MINUTES",
            help="Minutes of generated recordings, 0.1 to 6000. Default: 10 without FILE, else none.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", readable=False, help="Folder for bench.json and bench.png.")
    ] = Path("bench"),
    as_json: Annotated[bool, typer.Option("--json", help="Print dropscribe/bench/1 as JSON.")] = False,
    config: options.Config = None,
    model: options.Model = None,
    vad_model: options.VadModel = None,
    device: options.Device = None,
) -> None:
    """Measure the speed of this machine beside stock FunASR.

    Transcribes the same recordings three times. Stock FunASR: AutoModel(model, vad_model).generate(file), one file after
    another. Calibrated FunASR: the same with the options that help (fixed silence, batch_size_s, threads, warming up, no progress
    bars). dropscribe: all files at once. Loading is not counted. Stop a running daemon first: it would share the device. Exit
    status 1 if a recording failed in one of them.

    JSON, dropscribe/bench/1: created, machine, versions, settings, audio_s, speedup {stock, calibrated}, same_text
    {recordings, compared}, runs [{name, options, device, load_s, wall_s, wall_per_recording_s, rtfx, first_text_s,
    gpu_percent, gpu_bytes, host_bytes, problem, recordings [{file, audio_s, began_s, finished_s, wall_s, characters,
    problem}]}]; null is not known. Seconds of a run count from its first recording.
    """
    from dropscribe import logs
    from dropscribe.bench.chart import draw
    from dropscribe.bench.comparison import compare
    from dropscribe.cli.arguments.settings import in_force
    from dropscribe.cli.output import print_error, print_json
    from dropscribe.errors import DropscribeError

    given = _checked(files or [])
    logs.setup(json_lines=False)
    settings = in_force(config=config, model=model, vad_model=vad_model, device=device).settings
    _prepare(out)
    with _recordings(given, generate) as recordings:
        report = compare(settings, recordings, generated=not given, note=_note)
    document = out / "bench.json"
    _write(document, escapes.dumps(report.document(), indent=2) + "\n")
    written = [document]
    try:
        draw(report, out / "bench.png")
        written.append(out / "bench.png")
    except DropscribeError as e:
        # Not fatal: bench.json with the figures is written already.
        print_error(e, as_json=False)
    if as_json:
        print_json(report.document())
    else:
        _print(report)
        for path in written:
            say(readable(path))
    if not all(run.whole for run in report.runs):
        raise typer.Exit(1)


def _checked(files: list[Path]) -> list[Path]:
    """Absolute paths of the recordings without duplicates. Raises UsageError for one that is no file."""
    from dropscribe.cli.arguments.recordings import demand_files

    demand_files(files, "bench")
    return list(dict.fromkeys(f.absolute() for f in files))


@contextmanager
def _recordings(given: list[Path], minutes: float | None) -> Iterator[list[Path]]:
    """Given recordings, and generated ones if `minutes` is set or none are given; the latter are removed at the end."""
    from dropscribe.bench.material import generate

    if given and minutes is None:
        yield given
        return
    with TemporaryDirectory(prefix="dropscribe-bench-") as folder:
        yield [*given, *generate(Path(folder), minutes or MINUTES)]


def _prepare(out: Path) -> None:
    """Create the output folder before measuring, which takes minutes. Raises StorageError."""
    from dropscribe.errors import StorageError

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StorageError.from_system(
            e, operation="make folder", path=out, remedy="name another one with --out"
        ) from e


def _write(path: Path, text: str) -> None:
    from dropscribe.errors import StorageError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as e:
        raise StorageError.from_system(
            e, operation="write figures", path=path, remedy="name another one with --out"
        ) from e


def _note(text: str) -> None:
    """Show progress on standard error, on a terminal in one line that is overwritten."""
    if sys.stderr.isatty():
        typer.echo(f"\r\x1b[K{escapes.one_line(text)}", nl=False, err=True)
    elif text.endswith("loading"):
        say(text, err=True)


def _print(report: Report) -> None:
    from dropscribe.cli.output import duration, print_table

    if sys.stderr.isatty():
        typer.echo("\r\x1b[K", nl=False, err=True)
    titles = (
        "",
        "wall",
        "per recording",
        "RTFx",
        "first text",
        "GPU busy",
        "GPU memory",
        "host memory",
        "loading",
    )
    print_table(titles, (_row(report, run) for run in report.runs), right=range(1, 9))
    say()
    longest = max(report.runs, key=lambda r: len(r.recordings), default=None)
    shown = list(longest.recordings[:LISTED]) if longest else []
    names = [run.name for run in report.runs]
    rows = []
    for recording in sorted(shown, key=lambda r: r.path):
        ends = [next((r for r in run.recordings if r.path == recording.path), None) for run in report.runs]
        cells = ["-" if e is None else "failed" if e.problem else duration(e.wall_s) for e in ends]
        rows.append((readable(recording.path.name), duration(report.lengths.get(recording.path)), *cells))
    print_table(("recording", "length", *names), rows, right=range(1, 5))
    hidden = (len(longest.recordings) if longest else 0) - len(shown)
    if hidden:
        say(f"… and {hidden} more in bench.json")
    say()
    _print_findings(report)


def _row(report: Report, run: Run) -> tuple[str, ...]:
    from dropscribe.cli.output import duration

    rtfx, busy = run.rtfx(report.lengths), run.usage.gpu_percent
    return (
        run.name,
        duration(run.wall_s) if run.done else "-",
        duration(run.per_recording_s()),
        "-" if rtfx is None else f"{rtfx:,.1f}",
        duration(run.first_text_s),
        "n/a" if busy is None else f"{busy:.0f} %",
        _mib(run.usage.gpu_bytes),
        _mib(run.usage.host_bytes),
        duration(run.load_s),
    )


def _mib(value: int | None) -> str:
    return "n/a" if value is None else f"{value / 2**20:,.0f} MiB"


def _print_findings(report: Report) -> None:
    for name in ("stock", "calibrated"):
        times = report.speedup(name)
        if times is not None:
            say(f"dropscribe is {times:,.1f} times as fast as {name} FunASR here.")
    same, compared = report.same_text()
    if compared:
        say(f"The same text as calibrated FunASR, letter for letter: {same} of {compared} recordings.")
    for run in report.runs:
        if run.problem:
            say(f"{run.name}: {run.problem}", err=True)
        for recording in run.recordings:
            if recording.problem:
                say(f"{run.name}: {readable(recording.path.name)}: {recording.problem}", err=True)
