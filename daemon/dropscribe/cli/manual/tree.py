"""The commands as plain records, for the writers of manual pages and completion scripts."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from dropscribe.cli.arguments.help_pages import called

#: Values that a metavar stands for, where there are few: they are offered by the completion.
VALUES: dict[str, tuple[str, ...]] = {
    "STATE": ("queued", "held", "running", "done", "failed", "cancelled"),
    "DEVICE": ("auto", "cpu", "cuda", "cuda:0"),
}
#: Metavars of paths, which shells complete themselves.
FILES = frozenset({"FILE", "FILE.tar.gz", "FILE.svg", "PATH", "WHAT"})
DIRECTORIES = frozenset({"DIR", "DIRECTORY"})


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument or option. `names`: of an option, `("-h", "--help")`; `value`: its metavar, empty for a switch.

    `called`: as written in help pages; `default`: as text, empty if it has none worth telling.
    """

    names: tuple[str, ...]
    value: str
    called: str
    help: str
    default: str
    required: bool
    repeated: bool

    @property
    def words(self) -> tuple[str, ...]:
        """Values to offer."""
        return VALUES.get(self.value, ())

    @property
    def kind(self) -> str:
        """`file`, `directory`, or empty for other values."""
        if self.value in DIRECTORIES:
            return "directory"
        return "file" if self.value in FILES else ""


@dataclass(frozen=True, slots=True)
class CommandPage:
    """A command. `name`: `jobs show`, empty for the program; `paragraphs`: its help, the first one a sentence."""

    name: str
    paragraphs: tuple[str, ...]
    arguments: tuple[Parameter, ...]
    options: tuple[Parameter, ...]
    commands: tuple[CommandPage, ...]
    #: True if the command does something without one of its `commands`.
    alone: bool

    @property
    def word(self) -> str:
        """The last word of the name."""
        return self.name.rpartition(" ")[2]

    @property
    def summary(self) -> str:
        """The first sentence, without its full stop."""
        return self.paragraphs[0].partition(". ")[0].removesuffix(".")

    @property
    def usage(self) -> str:
        """`dropscribe jobs show [OPTIONS] ID`."""
        given = [a.called if a.required else f"[{a.called}]" for a in self.arguments]
        inner = [] if not self.commands else ["[COMMAND]"] if self.alone else ["COMMAND"]
        return " ".join(["dropscribe", *self.name.split(), "[OPTIONS]", *given, *inner])


def read(app: typer.Typer) -> CommandPage:
    """Records of the program and all its commands."""
    return _page("", typer.main.get_command(app))


def below(page: CommandPage) -> Iterator[CommandPage]:
    """A command and all commands in it."""
    yield page
    for inner in page.commands:
        yield from below(inner)


def _page(name: str, command: Any) -> CommandPage:
    texts = [command.help or ""]
    described = inspect.getdoc(command.callback) or ""
    if getattr(command, "commands", {}) and described not in texts:
        texts.append(described)  # of a group that also does something without a subcommand
    paragraphs = [" ".join(p.split()) for text in texts for p in inspect.cleandoc(text).split("\n\n")]
    parameters = [_parameter(p) for p in command.params]
    return CommandPage(
        name=name,
        paragraphs=tuple(p for p in paragraphs if p),
        arguments=tuple(p for p in parameters if not p.names),
        options=tuple(p for p in parameters if p.names),
        commands=tuple(
            _page(f"{name} {word}".strip(), inner) for word, inner in getattr(command, "commands", {}).items()
        ),
        alone=bool(getattr(command, "invoke_without_command", False)),
    )


def _parameter(parameter: Any) -> Parameter:
    option = parameter.param_type_name == "option"
    value = parameter.metavar or parameter.name.upper()
    switch = option and parameter.is_flag
    default = parameter.default
    told = isinstance(default, (int, str, Path)) and not isinstance(default, bool) and default != ""
    return Parameter(
        names=tuple(sorted(parameter.opts, key=len)) if option else (),
        value="" if switch else value.rstrip("."),
        called=called(parameter),
        help=" ".join((parameter.help or "").split()),
        default=str(default) if told else "",
        required=parameter.required,
        repeated=parameter.nargs == -1 or bool(getattr(parameter, "multiple", False)),
    )
