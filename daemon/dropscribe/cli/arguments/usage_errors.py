"""Errors of the command line in the words of all other errors, instead of typer's and pydantic's."""

from __future__ import annotations

import re
from typing import Any

import typer

from dropscribe import escapes
from dropscribe.cli.arguments.help_pages import called
from dropscribe.errors import UsageError

#: Exception that typer raises for a wrong command line; the package that defines it differs between typer versions.
CommandLineError: type[Exception] = typer.BadParameter.__mro__[1]


def asks_for_help(error: Exception) -> bool:
    """True for a command that needs a subcommand and was called without: its help is printed."""
    return type(error).__name__ == "NoArgsIsHelpError"


def usage_error(error: Exception) -> UsageError:
    """The error to print for a `CommandLineError`."""
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "dropscribe")
    reason, remedy = _explain(error)
    return UsageError(
        escapes.one_line(reason),
        operation="read the command line",
        remedy=escapes.one_line(remedy) or f"see '{command} --help'",
    )


def _explain(error: Any) -> tuple[str, str]:
    """Reason, and the remedy where there is one besides the help page."""
    kind = type(error).__name__
    if kind == "NoSuchOption":
        near = list(error.possibilities or ())
        return f"there is no option {error.option_name}", _did_you_mean(near)
    if kind == "MissingParameter" and error.param is not None:
        return f"{called(error.param)} is missing", ""
    if kind == "BadParameter" and error.param is not None:
        return _of_value(error), ""
    text = str(error.format_message()).strip().rstrip(".")
    known = re.match(r"No such command '(.*?)'(?:\. Did you mean '(.*?)'\?)?", text, re.DOTALL)
    if known:
        return f"there is no command '{known[1]}'", _did_you_mean(known[2].split("', '") if known[2] else [])
    needs = re.match(r"Option '(.*?)' requires an argument", text)
    if needs:
        return f"{needs[1]}: the value is missing", ""
    surplus = re.match(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", text, re.DOTALL)
    if surplus:
        return f"'{surplus[1]}' is one argument too many; text with spaces needs quotes", ""
    return (text[:1].lower() + text[1:]) or "there is no command", ""


def _of_value(error: Any) -> str:
    """Reason for a value that an option does not take: the value and what it does take."""
    parameter = error.param
    name = parameter.metavar if parameter.param_type_name == "argument" else parameter.opts[0]
    details = getattr(error.__cause__, "errors", None)
    if details is None:
        return f"{name}: {error.message}"
    first = details()[0]
    low, high = getattr(parameter, "min", None), getattr(parameter, "max", None)
    what = "a number" if "float" in first["type"] or isinstance(low, float) else "a whole number"
    if low is not None and high is not None:
        what += f" from {low:g} to {high:g}"
    elif low is not None:
        what += f" of {low:g} or more"
    return f"{name}: '{first['input']}' is not {what}"


def _did_you_mean(near: list[str]) -> str:
    return f"did you mean {' or '.join(near)}?" if near else ""
