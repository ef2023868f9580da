"""`dropscribe export`: the job history for other programs."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, cast

import typer

from dropscribe.cli.arguments import filters, options
from dropscribe.errors import StorageError, UsageError

if TYPE_CHECKING:
    from dropscribe.config import Settings
    from dropscribe.ledger.interface import DatabaseLocation
    from dropscribe.views.export.rows import Writer

FORMATS = ("csv", "jsonl", "parquet")
#: Jobs in memory at a time.
AT_ONCE = 2_000


def command(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", readable=False, help="File to write; without it, or with -, standard output."
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="Write csv, jsonl or parquet. Default: by the name of the file, else csv.",
        ),
    ] = None,
    corrections: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write corrected transcripts and their recordings into this folder, as references for dropscribe eval.",
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a file that exists.")] = False,
    state: filters.State = None,
    folder: filters.Folder = None,
    profile: filters.Profile = None,
    since: filters.Since = None,
    until: filters.Until = None,
    path: filters.PathPart = None,
    text: filters.Words = None,
    speaker: filters.Speaker = None,
    at_least: filters.AtLeast = None,
    at_most: filters.AtMost = None,
    reason: filters.Reason = None,
    host: filters.Host = None,
    config: options.Config = None,
    database: options.Database = None,
) -> None:
    """Export jobs as CSV, JSON Lines or Parquet.

    The oldest come first. The fields are those of a job in dropscribe/jobs/1. A file is whole or absent. Jobs that come meanwhile
    may be in it or not. In CSV a text that a spreadsheet would take for a formula begins with an apostrophe. Parquet needs the
    extra `parquet`. With --corrections nothing else is written, and the filters have no effect.
    """
    from dropscribe.cli.arguments.settings import database_location, in_force
    from dropscribe.cli.output import say
    from dropscribe.config import find
    from dropscribe.escapes import readable
    from dropscribe.ledger.backend import open_read_only

    wanted = filters.job_filter(
        "export jobs", time.time(), state=state, folder=folder, profile=profile, since=since, until=until, path=path,
        text=text, speaker=speaker, at_least=at_least, at_most=at_most, reason=reason, host=host,
    )  # fmt: skip
    location = database_location(config, database)
    if corrections is not None:
        found = None if find(config) is None else in_force(config=config, lists=False).settings
        _corrections(location, corrections, found)
        return
    target = None if file is None or str(file) == "-" else file
    chosen = _format(kind, target)
    count, position = 0, None
    with (
        closing(open_read_only(location)) as ledger,
        _stream(target, replace=replace) as out,
        closing(_writer(chosen, out)) as writer,
    ):
        while True:
            page = ledger.find_jobs(wanted, limit=AT_ONCE, after=position, oldest_first=True)
            writer.write(page.jobs)
            count += len(page.jobs)
            position = page.next
            if position is None:
                break
    if target is not None:
        say(f"wrote {readable(target)}: {count} job{'s' * (count != 1)}", err=True)


def _corrections(location: DatabaseLocation, directory: Path, settings: Settings | None) -> None:
    from dropscribe.cli.output import say
    from dropscribe.escapes import readable
    from dropscribe.ledger.backend import open_read_only
    from dropscribe.views.export.corrections import export_corrections

    count = 0
    with closing(open_read_only(location)) as ledger:
        for one in export_corrections(ledger, directory, settings):
            count += not one.reason
            say(f"job {one.job}: {readable(one.recording)}: {one.reason or one.name}", err=bool(one.reason))
    say(f"wrote {readable(directory)}: {count} recording{'s' * (count != 1)} with references", err=True)


def _format(kind: str | None, target: Path | None) -> str:
    ending = "" if target is None else target.suffix.lower().lstrip(".")
    chosen = (kind or (ending if ending in FORMATS else "csv")).lower()
    if chosen not in FORMATS:
        raise UsageError(
            f"there is no format '{kind}'", operation="export jobs", remedy=f"there are: {', '.join(FORMATS)}"
        )
    return chosen


def _writer(kind: str, out: IO[bytes]) -> Writer:
    from dropscribe.views.export.parquet import ParquetWriter
    from dropscribe.views.export.rows import CsvWriter, JsonLinesWriter

    if kind == "parquet":
        return ParquetWriter(out)
    return CsvWriter(out) if kind == "csv" else JsonLinesWriter(out)


@contextmanager
def _stream(target: Path | None, *, replace: bool) -> Iterator[IO[bytes]]:
    """Standard output, or a file that gets its name at the end. Raises UsageError if it exists, StorageError."""
    if target is None:
        out = cast("IO[bytes]", typer.get_binary_stream("stdout"))
        yield out
        out.flush()
        return
    if target.exists() and not replace:
        raise UsageError(
            "it exists", operation="export jobs", path=target, remedy="name another file, or add --replace"
        )
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
        unfinished = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), 0o666 & ~_umask())
            if replace:
                unfinished.replace(target)
            else:
                # Unlike a rename it never replaces a file that appeared meanwhile.
                os.link(unfinished, target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                unfinished.unlink()
    except OSError as e:
        raise StorageError.from_system(
            e,
            operation="export jobs",
            path=target,
            remedy="name a file in a folder with room that may be written",
        ) from e


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
