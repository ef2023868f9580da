"""`dropscribe transcribe`: transcribe files at once, with the same engine as the daemon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from dropscribe.cli.arguments import options

if TYPE_CHECKING:
    from dropscribe.pipeline.attempt import Progress
    from dropscribe.pipeline.oneshot import Finished, OneShot
    from dropscribe.transcript.types import Transcript


def command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Recordings to transcribe.")],
    output_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="txt, srt, vtt or json. Default: txt is printed; with --write all are written.",
        ),
    ] = None,
    write: Annotated[
        bool,
        typer.Option(
            "--write", help="Write transcript files beside the recordings instead of printing the text."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line for each file.")
    ] = False,
    config: options.Config = None,
    model: options.Model = None,
    vad_model: options.VadModel = None,
    device: options.Device = None,
) -> None:
    """Transcribe files once, without daemon and database.

    With --json prints one object a line: {"file", "ok": true, "transcript": {…dropscribe/transcript/1…}} or
    {"file", "ok": false, "error": {"code", "operation", "path", "reason", "remedy"}}, and with --write "outputs": [paths].
    """
    from dropscribe import logs
    from dropscribe.cli.arguments.recordings import demand_files
    from dropscribe.cli.arguments.settings import in_force
    from dropscribe.errors import UsageError
    from dropscribe.pipeline.oneshot import OneShot
    from dropscribe.transcript.render import RENDERERS

    if output_format is not None and output_format not in RENDERERS:
        known = ", ".join(RENDERERS)
        raise UsageError(
            f"there is no format '{output_format}'", operation="transcribe", remedy=f"there are: {known}"
        )
    demand_files(files, "transcribe")
    logs.setup(json_lines=False)
    loaded = in_force(config=config, model=model, vad_model=vad_model, device=device)
    failed = 0
    with _Bars(files) as bars, OneShot(loaded.settings) as engine:
        for finished in engine.transcribe([f.absolute() for f in files], bars.show):
            failed += not _tell(finished, engine, output_format, write=write, as_json=as_json, bars=bars)
    if failed:
        raise typer.Exit(1)


def _tell(
    finished: Finished, engine: OneShot, output_format: str | None, *, write: bool, as_json: bool, bars: _Bars
) -> bool:
    """Print or write one result; False if the recording failed."""
    with bars.aside(finished.path):
        return _print(finished, engine, output_format, write=write, as_json=as_json)


def _print(
    finished: Finished, engine: OneShot, output_format: str | None, *, write: bool, as_json: bool
) -> bool:
    from dropscribe.cli.output import print_json_line, print_json_text, print_text, say
    from dropscribe.pipeline import oneshot
    from dropscribe.pipeline.problem import Problem
    from dropscribe.views.fields import readable

    if isinstance(finished.end, Problem):
        problem = finished.end
        if as_json:
            error = {
                "code": problem.code,
                "operation": "transcribe",
                "path": readable(finished.path),
                "reason": problem.reason,
                "remedy": problem.remedy,
            }
            print_json_line({"file": str(finished.path), "ok": False, "error": error})
        else:
            then = f" ({problem.remedy})" if problem.remedy else ""
            say(f"dropscribe: transcribe {readable(finished.path)}: {problem.reason}{then}", err=True)
        return False
    transcript = oneshot.transcript_of(finished.path, finished.end, engine.facts)
    written = oneshot.write_beside(finished.path, transcript, output_format) if write else []
    if as_json:
        line: dict[str, Any] = {
            "file": str(finished.path),
            "ok": True,
            "transcript": json.loads(_rendered(transcript, "json")),
        }
        print_json_line(line | ({"outputs": [str(p) for p in written]} if write else {}))
    elif write:
        for path in written:
            say(readable(path))
    else:
        show = print_json_text if output_format == "json" else print_text
        show(_rendered(transcript, output_format or "txt"))
    return True


def _rendered(transcript: Transcript, name: str) -> str:
    from dropscribe.transcript.render import Options, render

    return render(transcript, name, Options()).decode("utf-8")


class _Bars:
    """Progress bars on standard error, if that is a terminal: one per file, by audio recognised."""

    def __init__(self, files: list[Path]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        from dropscribe.escapes import one_line
        from dropscribe.views.fields import readable

        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(), console=console, disable=not console.is_terminal, transient=True,
            # Otherwise rich would send standard output to the console of the bars, standard error.
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self._tasks = {
            f.absolute(): self._progress.add_task(one_line(readable(f.name)), total=None) for f in files
        }

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, path: Path, progress: Progress) -> None:
        """Update the bar of a file."""
        total = progress.declared_ms or None
        self._progress.update(self._tasks[path], completed=progress.recognised_ms, total=total)

    @contextmanager
    def aside(self, path: Path) -> Iterator[None]:
        """Remove the bar of a finished file, and hide all bars while its result is printed."""
        self._progress.remove_task(self._tasks[path])
        self._progress.stop()
        yield
        self._progress.start()
