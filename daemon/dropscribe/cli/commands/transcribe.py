"""`dropscribe transcribe`: transcribe files at once, with the same engine as the daemon."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dropscribe.cli.arguments import options

if TYPE_CHECKING:
    from dropscribe.pipeline.oneshot import Finished, OneShot, WrittenFile
    from dropscribe.pipeline.problem import Problem
    from dropscribe.transcript.render import Options
    from dropscribe.transcript.types import Transcript


def command(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", readable=False, help="Recordings to transcribe.")
    ],
    output_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="txt, srt, vtt, json, md, html, docx, tsv, lrc, labels or rttm. Default: txt is printed; with --write txt, "
            "srt, vtt and json are written.",
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
    {"file", "ok": false, "error": {"code", "operation", "path", "reason", "remedy"}}, and with --write "outputs" and
    "replaced": [paths].
    """
    from dropscribe import logs
    from dropscribe.cli.arguments.recordings import demand_files
    from dropscribe.cli.arguments.settings import in_force
    from dropscribe.cli.output import say
    from dropscribe.cli.progress_bars import Bars
    from dropscribe.errors import UsageError
    from dropscribe.pipeline.oneshot import OneShot
    from dropscribe.transcript.naming import BINARY_FORMATS, FORMATS
    from dropscribe.transcript.render import Options

    if output_format is not None and output_format not in FORMATS:
        known = ", ".join(FORMATS)
        raise UsageError(
            f"there is no format '{output_format}'", operation="transcribe", remedy=f"there are: {known}"
        )
    if output_format in BINARY_FORMATS and not write:
        raise UsageError(
            f"{output_format} is no text to print",
            operation="transcribe",
            remedy="add --write to write the file",
        )
    demand_files(files, "transcribe")
    logs.setup(json_lines=False)
    loaded = in_force(config=config, model=model, vad_model=vad_model, device=device)
    if sys.stderr.isatty():
        models = loaded.settings.model_set(loaded.settings.profile("default"))
        say(f"loading the model {models.asr} …", err=True)
    paths = [f.absolute() for f in files]
    failed = 0
    with OneShot(loaded.settings) as engine, Bars() as bars:
        profile_options = Options.of(loaded.settings.profile("default"))
        writer = _Writer(
            engine,
            loaded.settings.recipe("default"),
            output_format,
            profile_options,
            titles=len(files) > 1,
            write=write,
            as_json=as_json,
        )
        for finished in _in_order(paths, engine.transcribe(paths, bars.show), bars.remove):
            with bars.hidden():
                failed += not writer.put(finished)
    if failed:
        raise typer.Exit(1)


def _in_order(
    paths: Sequence[Path], ended: Iterable[Finished], done: Callable[[Path], None]
) -> Iterator[Finished]:
    """Results in the order of `paths`; `done` is called for each when it is there."""
    waiting: dict[Path, list[Finished]] = {}
    following = deque(paths)
    for finished in ended:
        done(finished.path)
        waiting.setdefault(finished.path, []).append(finished)
        while following and waiting.get(following[0]):
            yield waiting[following.popleft()].pop()


class _Writer:
    """Print results, or write transcript files."""

    def __init__(
        self,
        engine: OneShot,
        recipe: str,
        output_format: str | None,
        options: Options,
        *,
        titles: bool,
        write: bool,
        as_json: bool,
    ) -> None:
        """`titles`: print the name of each recording before its text."""
        self._engine = engine
        self._recipe = recipe
        self._format = output_format
        self._options = options
        self._titles = titles
        self._write = write
        self._as_json = as_json
        self._printed = False

    def put(self, finished: Finished) -> bool:
        """Print or write one result; False if the recording failed or its files could not be written."""
        from dropscribe.errors import DropscribeError
        from dropscribe.pipeline import oneshot
        from dropscribe.pipeline.problem import FaultKind, Problem

        if isinstance(finished.end, Problem):
            self._fail(finished.path, finished.end)
            return False
        try:
            transcript = oneshot.transcript_of(finished.path, finished.end, self._engine.facts, self._recipe)
            written = (
                oneshot.write_beside(finished.path, transcript, self._format, self._options)
                if self._write
                else []
            )
        except DropscribeError as e:
            self._fail(finished.path, Problem.of(e))
            return False
        except OSError as e:
            self._fail(
                finished.path,
                Problem("storage", e.strerror or str(e), "check the file and its folder", FaultKind.STORAGE),
            )
            return False
        if self._as_json:
            self._print_line(finished.path, transcript, written)
        elif self._write:
            self._print_files(written)
        else:
            self._print_text(finished.path, transcript)
        return True

    def _fail(self, path: Path, problem: Problem) -> None:
        from dropscribe.cli.output import print_json_line, say
        from dropscribe.escapes import readable

        if self._as_json:
            error = {
                "code": problem.code,
                "operation": "transcribe",
                "path": readable(path),
                "reason": problem.reason,
                "remedy": problem.remedy,
            }
            print_json_line({"file": str(path), "ok": False, "error": error})
        else:
            then = f" ({problem.remedy})" if problem.remedy else ""
            say(f"dropscribe: transcribe {readable(path)}: {problem.reason}{then}", err=True)

    def _print_line(self, path: Path, transcript: Transcript, written: Sequence[WrittenFile]) -> None:
        from dropscribe.cli.output import print_json_line

        line: dict[str, Any] = {
            "file": str(path),
            "ok": True,
            "transcript": json.loads(self._rendered(transcript, "json")),
        }
        if self._write:
            line["outputs"] = [str(w.path) for w in written]
            line["replaced"] = [str(w.path) for w in written if w.replaced]
        print_json_line(line)

    def _print_files(self, written: Sequence[WrittenFile]) -> None:
        from dropscribe.cli.output import say
        from dropscribe.escapes import readable

        for file in written:
            say(readable(file.path))
        replaced = [readable(w.path.name) for w in written if w.replaced]
        if replaced:
            say(f"replaced the files of an earlier run: {', '.join(replaced)}", err=True)

    def _print_text(self, path: Path, transcript: Transcript) -> None:
        from dropscribe.cli.output import brief, print_json_text, print_text, say

        if self._format == "json":
            print_json_text(self._rendered(transcript, "json"))
            return
        if self._titles:
            if self._printed:
                say()
            say(f"==> {brief(path)} <==")
        self._printed = True
        print_text(self._rendered(transcript, self._format or "txt"))

    def _rendered(self, transcript: Transcript, name: str) -> str:
        from dropscribe.transcript.render import render

        return render(transcript, name, self._options).decode("utf-8")
