"""Requests of people to the daemon, and how they are read from a document of anybody."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from dropscribe.errors import DropscribeError, UsageError
from dropscribe.ledger.control import Verb
from dropscribe.ledger.interface import DatabaseLocation

_T = TypeVar("_T")
SCHEMA = "dropscribe/control/1"
#: Jobs changed in one transaction: other writers wait for it.
BATCH = 200
#: Most jobs that an answer lists; it counts all.
LISTED = 500
#: State in the words of people that is no `JobState`.
HELD = "held"


@dataclass(frozen=True, slots=True)
class Edit:
    """A sentence of a transcript with another text; "" removes it. `start_ms` and `said` name it as it is now."""

    start_ms: int
    said: str
    text: str


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Of `jobs`, `paths` and the conditions those that are given select jobs; see `Selection`."""

    verb: Verb
    #: Path of the database that is meant, so that the daemon of another one refuses it; "" for the daemon's.
    database: str = ""
    folder: str | None = None
    jobs: tuple[int, ...] = ()
    paths: tuple[str, ...] = ()
    state: str | None = None
    match: str = ""
    profile: str | None = None
    reason_code: str | None = None
    #: All jobs that meet the conditions; without it something must be named.
    everything: bool = False
    priority: int | None = None
    #: Of `redo`, as the options of the command.
    search: str | None = None
    model_changed: bool = False
    keep_old: bool = False
    recognise: bool = False
    dry_run: bool = False
    #: Of `correct`.
    edits: tuple[Edit, ...] = ()
    #: Of `rename-speaker`: a number, and the name, None to remove it.
    speaker: int | None = None
    name: str | None = None
    #: The visitor of the page for whom its process asks; "": the user who sends the request.
    visitor: str = ""

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"schema": SCHEMA} | asdict(self)


def parse(document: object) -> Request:
    """The request in a JSON document of anybody. Raises UsageError."""
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise refused(f"it is no {SCHEMA}", "use the command of this version")
    given = {f.name: document[f.name] for f in fields(Request) if f.name in document}
    unknown = set(document) - set(given) - {"schema"}
    kinds: dict[str, type | tuple[type, ...]] = {
        "jobs": list, "paths": list, "everything": bool, "verb": str, "database": str, "match": str, "visitor": str,
        "priority": (int, type(None)), "model_changed": bool, "keep_old": bool, "recognise": bool, "dry_run": bool,
        "edits": list, "speaker": (int, type(None)),
    }  # fmt: skip
    wrong = [n for n, v in given.items() if not isinstance(v, kinds.get(n, (str, type(None))))]
    wrong += [
        n
        for n, kind in (("jobs", int), ("paths", str))
        if n not in wrong and not all(type(v) is kind for v in given.get(n, ()))
    ]
    if "edits" not in wrong and not all(map(_is_edit, given.get("edits", ()))):
        wrong.append("edits")
    if unknown or wrong or "verb" not in given or given["verb"] not in set(Verb):
        named = ", ".join(sorted({*unknown, *wrong})) or "verb"
        raise refused(f"it is not understood ({named})", "use the command of this version")
    values = (
        given | {"verb": Verb(given["verb"])} | {n: tuple(given[n]) for n in ("jobs", "paths") if n in given}
    )
    if "edits" in values:
        values["edits"] = tuple(Edit(**one) for one in values["edits"])
    if any(not 0 < job < 1 << 62 for job in values.get("jobs", ())):
        raise refused("it names a job that cannot exist", "name jobs by their numbers")
    request = Request(**values)
    if not all(map(_is_path, (*request.paths, request.folder or ""))):
        raise refused("it names a path that cannot exist", "name recordings and folders by their paths")
    return request


def _is_edit(one: object) -> bool:
    kinds = {"start_ms": int, "said": str, "text": str}
    return isinstance(one, dict) and {name: type(value) for name, value in one.items()} == kinds


def _is_path(text: str) -> bool:
    """False for text that no bytes of a path stand for: a lone surrogate that is not one of PEP 383."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def check_database(request: Request, location: DatabaseLocation) -> None:
    """Raise UsageError if a request means the daemon of another database."""
    if request.database and request.database != str(location):
        raise refused(f"this daemon works on {location}", "name its database with --database or --config")


def never() -> bool:
    """`stopped` of a command, which nobody stops between."""
    return False


def batches(items: Sequence[_T], stopped: Callable[[], bool]) -> Iterator[Sequence[_T]]:
    """Parts of at most `BATCH`. Raises DropscribeError before the next one if the daemon is to stop."""
    for first in range(0, len(items), BATCH):
        if stopped():
            raise DropscribeError(
                f"the daemon stops: {first} of {len(items)} jobs were looked at",
                operation="control the queue",
                remedy="see with 'dropscribe jobs' what was done, and repeat it when the daemon runs again",
            )
        yield items[first : first + BATCH]


def refused(reason: str, remedy: str) -> UsageError:
    return UsageError(reason, operation="control the queue", remedy=remedy)
