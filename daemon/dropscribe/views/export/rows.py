"""Rows of an export, and its text formats. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Protocol

from dropscribe import escapes
from dropscribe.views.jobs import job_document

if TYPE_CHECKING:
    from dropscribe.ledger.records import JobSummary

#: Fields of a job that an export has, by the type of their values: those of dropscribe/jobs/1 without `progress`.
FIELDS: Mapping[str, type] = {
    "id": int, "state": str, "held": bool, "recording": str, "folder": str, "profile": str, "admitted": str, "claimed": str,
    "finished": str, "attempts": int, "max_attempts": int, "audio_s": float, "speech_s": float, "characters": int,
    "total_s": float, "rtfx": float, "model": str, "device": str, "truncated": str, "remarks": list, "reason_code": str,
    "reason": str, "remedy": str, "reference": int, "version": int, "supersedes": int, "host": str,
}  # fmt: skip
#: Fields that hold an instant.
INSTANTS = frozenset({"admitted", "claimed", "finished"})
#: Spreadsheets take a cell that begins with one of these for a formula, which can run programs and send data.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Writer(Protocol):
    """Writes an export to a stream."""

    def write(self, jobs: Sequence[JobSummary]) -> None:
        """Write these jobs; called several times."""

    def close(self) -> None:
        """Write what is left. The stream stays open."""


class CsvWriter:
    """CSV by RFC 4180 in UTF-8, with a line of titles. Text that a spreadsheet would take for a formula begins with `'`."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._rows([list(FIELDS)])

    def write(self, jobs: Sequence[JobSummary]) -> None:
        """See `Writer`."""
        self._rows([_cell(value) for value in row_of(job).values()] for job in jobs)

    def close(self) -> None:
        """See `Writer`."""

    def _rows(self, rows: Iterable[Sequence[object]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        self._out.write(text.getvalue().encode())


class JsonLinesWriter:
    """JSON Lines: an object for each job, with the fields of dropscribe/jobs/1."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out

    def write(self, jobs: Sequence[JobSummary]) -> None:
        """See `Writer`."""
        self._out.write("".join(f"{escapes.dumps(row_of(job))}\n" for job in jobs).encode())

    def close(self) -> None:
        """See `Writer`."""


def row_of(job: JobSummary) -> dict[str, Any]:
    """The fields of `FIELDS`, in order."""
    document = job_document(job)
    return {name: document[name] for name in FIELDS}


def guarded(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        value = "; ".join(value)
    return guarded(value) if isinstance(value, str) else value
