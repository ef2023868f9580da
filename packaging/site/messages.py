"""Every error message of the program with its remedy, read from the source: the page *Messages and what to do*."""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dropscribe
from dropscribe import errors

PACKAGE = Path(dropscribe.__file__).parent
#: In the place of a value that is known only when it happens.
VALUE = "…"
_HEAD = (
    "An error is one line: `dropscribe: OPERATION PATH: REASON (REMEDY)`. Below, `…` stands for a value. The search of this site "
    "finds a message by any words of it. Reasons of failed recordings, with their codes: [Reason codes](operations.md#reason-codes)."
)
KINDS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.DropscribeError)
}


@dataclass(frozen=True, slots=True, order=True)
class Message:
    """`dropscribe: OPERATION PATH: REASON (REMEDY)`, with `…` for values."""

    operation: str
    reason: str
    remedy: str


@functools.cache
def messages() -> list[Message]:
    """All that are written in the source, sorted and without repetitions."""
    return sorted({m for path in sorted(PACKAGE.rglob("*.py")) for m in _of_file(path)})


def page() -> str:
    """The page as Markdown: a table for each operation."""
    lines = [
        "# Messages and what to do",
        "",
        _HEAD,
    ]
    operation = None
    for message in messages():
        if message.operation != operation:
            operation = message.operation
            lines += [
                "",
                f"## {operation[:1].upper()}{operation[1:]}",
                "",
                "| message | what to do |",
                "|---|---|",
            ]
        lines.append(f"| {_cell(message.reason)} | {_cell(message.remedy)} |")
    return "\n".join(lines) + "\n"


def _of_file(path: Path) -> Iterator[Message]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in KINDS:
            continue
        kind = KINDS[node.func.id]
        given = {k.arg: _text(k.value) for k in node.keywords if k.arg is not None}
        reason = _text(node.args[0]) if node.args else given.get("reason", VALUE)
        operation = given.get("operation") or kind.usual_operation
        remedy = given.get("remedy") or kind.usual_remedy
        # A reason or operation that is a value itself says nothing here.
        if reason.strip(VALUE + " ") and operation.strip(VALUE + " ") and remedy.strip(VALUE + " "):
            yield Message(operation, reason, remedy)


def _text(node: ast.expr) -> str:
    """Text of a literal, with `…` for what is inserted."""
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=values):
            return "".join(_text(v) if isinstance(v, ast.Constant) else VALUE for v in values)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
        case ast.IfExp(body=body, orelse=other):
            return f"{_text(body)} / {_text(other)}"
        case _:
            return VALUE


def _cell(text: str) -> str:
    plain = " ".join(inspect.cleandoc(text).split())
    return (
        plain.replace("|", "\\|")
        .replace("<", "&lt;")
        .replace("*", "\\*")
        .replace("_", "\\_")
        .replace("[", "\\[")
    )
