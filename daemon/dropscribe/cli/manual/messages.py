"""Every error message of the program with its remedy, read from the source: for docs/troubleshooting.md."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import dropscribe
from dropscribe import errors

PACKAGE = Path(dropscribe.__file__).parent
#: In the place of a value that is known only when the error happens.
VALUE = "…"
#: In the place of a reason that a system call gives, such as "Permission denied".
SYSTEM_REASON = "a reason of the operating system"
KINDS: Mapping[str, type[errors.DropscribeError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.DropscribeError)
}


_MADE = re.compile(rf"\b(?:{'|'.join(KINDS)})(?:\.from_system)?\(")
#: Heading → rooms and modules whose errors stand below it. All others stand below `OTHERS`.
AREAS: Mapping[str, tuple[str, ...]] = {
    "Recordings and transcripts": ("media", "intake", "pipeline", "transcript", "files", "service/publishing", "service/admission"),
    "Models and devices": ("engine",),
    "Database and disks": ("ledger", "service/storage", "service/keeping"),
    "Settings": ("config", "secret_files"),
    "Service and daemon": ("installation", "doctor", "service"),
    "The page": ("web",),
    "Notifications": ("notify",),
}  # fmt: skip
OTHERS = "Commands"


@dataclass(frozen=True, slots=True, order=True)
class Message:
    """`dropscribe: OPERATION PATH: REASON (REMEDY)`, with `…` for values. `operation` is empty where it is a value itself."""

    operation: str
    reason: str
    remedy: str


def messages() -> dict[str, list[Message]]:
    """All that are written in the source, by heading, sorted and without repetitions."""
    found: dict[str, set[Message]] = {heading: set() for heading in (*AREAS, OTHERS)}
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE).with_suffix("").as_posix()
        source = path.read_text(encoding="utf-8")
        # Three modules of four make no error, and parsing takes nearly all of the time.
        if _MADE.search(source):
            found[_area(place)].update(messages_in(source))
    return {heading: sorted(those) for heading, those in found.items()}


def messages_in(source: str) -> Iterator[Message]:
    """Errors that are made in a module, except those whose reason or remedy is known only when they happen."""
    tree = ast.parse(source)
    constants = _constants(tree)
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        kind, by_system = _kind_of(call.func)
        if kind is None:
            continue
        given = {k.arg: _text(k.value, constants) for k in call.keywords if k.arg is not None}
        first = _text(call.args[0], constants) if call.args else given.get("reason", VALUE)
        reason = SYSTEM_REASON if by_system else first
        remedy = given.get("remedy") or kind.usual_remedy
        operation = given.get("operation") or kind.usual_operation
        if _says_something(reason) and _says_something(remedy):
            yield Message(operation.strip(f"{VALUE} "), reason, remedy)


def _area(place: str) -> str:
    """Heading of a module. `place`: its path in the package, without suffix."""
    inside = [
        (len(room), heading)
        for heading, rooms in AREAS.items()
        for room in rooms
        if f"{place}/".startswith(f"{room}/")
    ]
    return max(inside)[1] if inside else OTHERS


def _kind_of(called: ast.expr) -> tuple[type[errors.DropscribeError] | None, bool]:
    """Class of the error that a call makes, or None; and whether the reason is that of a system call."""
    match called:
        case ast.Name(id=name):
            return KINDS.get(name), False
        case ast.Attribute(value=ast.Name(id=name), attr="from_system"):
            return KINDS.get(name), True
        case _:
            return None, False


def _constants(tree: ast.Module) -> dict[str, str]:
    """Texts that the module gives a name."""
    found: dict[str, str] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            found[statement.targets[0].id] = _text(statement.value, found)
    return found


def _says_something(text: str) -> bool:
    return any(c.isalpha() for c in text)


def _text(node: ast.expr, constants: Mapping[str, str]) -> str:
    """Text of an expression on one line, with `…` for what is inserted."""
    match node:
        case ast.Constant(value=str(value)):
            return " ".join(inspect.cleandoc(value).split()) if "\n" in value else value
        case ast.Name(id=name):
            return constants.get(name, VALUE)
        case ast.FormattedValue(value=value):
            return _text(value, constants)
        case ast.JoinedStr(values=values):
            return "".join(_text(v, constants) for v in values)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left, constants) + _text(right, constants)
        case ast.IfExp(body=body, orelse=other):
            return " / ".join(t for n in (body, other) if (t := _text(n, constants)))
        case _:
            return VALUE
