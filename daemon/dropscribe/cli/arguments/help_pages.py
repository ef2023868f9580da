"""Help pages: plain text, values of options by their metavar, defaults and bounds in words.

Typer's own pages interpret square brackets as markup, which removes them from the text, and print Python types.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.core


class Command(typer.core.TyperCommand):
    """A command with a plain help page."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The usage line after the command: `[OPTIONS] FILE...`."""
        return ["[OPTIONS]", *_arguments(self, ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options."""
        _write_parameters(self, ctx, formatter)


class Group(typer.core.TyperGroup):
    """A command with subcommands and a plain help page."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The usage line after the command."""
        inner = "[COMMAND]" if self.invoke_without_command else "COMMAND"
        return ["[OPTIONS]", *_arguments(self, ctx), f"{inner} ..."]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, options and subcommands."""
        _write_parameters(self, ctx, formatter)
        self.format_commands(ctx, formatter)


def called(parameter: Any) -> str:
    """How an argument or option is written: `FILE...`, `-h, --help`, `--limit NUMBER`."""
    value: str = parameter.metavar or parameter.name.upper()
    if parameter.param_type_name == "argument":
        return f"{value.rstrip('.')}..." if parameter.nargs == -1 else value
    names = ", ".join(sorted(parameter.opts, key=len))
    return names if parameter.is_flag else f"{names} {value}"


def _arguments(command: Any, ctx: Any) -> Iterator[str]:
    for parameter in command.get_params(ctx):
        if parameter.param_type_name == "argument":
            yield called(parameter) if parameter.required else f"[{called(parameter)}]"


def _write_parameters(command: Any, ctx: Any, formatter: Any) -> None:
    parameters = command.get_params(ctx)
    for title, kind in (("Arguments", "argument"), ("Options", "option")):
        rows = [(called(p), _described(p)) for p in parameters if p.param_type_name == kind]
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)


def _described(parameter: Any) -> str:
    """Help of a parameter and its default, if that is a value."""
    text: str = parameter.help or ""
    default = parameter.default
    if parameter.show_default is False or isinstance(default, bool) or default in (None, (), []):
        return text
    return f"{text} (default: {default})"
