"""Help pages at 80 columns, and errors of the command line, of every command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from dropscribe.cli.app import build, needed
from dropscribe.cli.arguments.usage_errors import CommandLineError, usage_error
from dropscribe.errors import UsageError

COLUMNS = 80


def commands() -> Iterator[tuple[str, Any]]:
    """("", the root), ("jobs show", its command) …"""

    def below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        yield name, command
        for part, inner in getattr(command, "commands", {}).items():
            yield from below(f"{name} {part}".strip(), inner)

    return below("", typer.main.get_command(build()))


COMMANDS = dict(commands())


@cache
def page(name: str) -> str:
    words = [*name.split(), "--help"]
    result = CliRunner().invoke(
        build(needed(words)), words, env={"COLUMNS": str(COLUMNS)}, catch_exceptions=False
    )
    assert result.exit_code == 0
    return result.stdout


def words(text: str) -> str:
    """Text without line breaks and indentation; a word broken at its hyphen is joined again."""
    return re.sub(r"(?<=\w)- (?=\w)", "-", " ".join(text.split()))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_help_page_fits_and_loses_no_text(name: str) -> None:
    shown, command = page(name), COMMANDS[name]
    assert max(map(len, shown.splitlines())) <= COLUMNS
    assert shown.startswith(f"Usage: dropscribe {name}".rstrip())
    assert words(command.help) in words(shown), "brackets must not be taken for markup"
    for parameter in command.params:
        assert words(parameter.help) in words(shown), parameter.name


@pytest.mark.parametrize("name", COMMANDS)
def test_values_have_names_and_no_types(name: str) -> None:
    shown = page(name)
    assert not re.search(r"<\w|\blist\[|\brange\b|x>=|\bbool\b", shown.partition("Options:")[2])
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "argument" or not parameter.is_flag:
            assert re.fullmatch(r"[A-Z]+|[A-Z]+[.\w]*", parameter.metavar or ""), parameter.name
            assert f" {parameter.metavar}" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_described(name: str) -> None:
    assert "..." not in page(name).partition("Commands:")[2], "a description is cut off"
    for parameter in COMMANDS[name].params:
        assert parameter.help[:1].isupper() or parameter.help.startswith(("auto", "txt")), parameter.name
        assert parameter.help.endswith("."), parameter.name


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_is_described_alike_in_every_command(name: str) -> None:
    shared = {"config", "database", "watch", "model", "vad_model", "device"}
    run = {p.name: p for p in COMMANDS["run"].params}
    for parameter in COMMANDS[name].params:
        # A switch of the same name is another option: --watch of status.
        if parameter.name in shared and not getattr(parameter, "is_flag", False):
            assert (parameter.help, parameter.metavar) == (
                run[parameter.name].help,
                run[parameter.name].metavar,
            )


def refused(*arguments: str) -> UsageError:
    with pytest.raises(CommandLineError) as caught:
        build(needed(arguments))(arguments, prog_name="dropscribe", standalone_mode=False)
    return usage_error(caught.value)


@pytest.mark.parametrize(
    ("arguments", "reason", "remedy"),
    [
        ("jobs --limit abc", "--limit: 'abc' is not a whole number of 1 or more", "see 'dropscribe jobs --help'"),
        ("jobs --limit 0", "--limit: '0' is not a whole number of 1 or more", ""),
        ("jobs search x --limit 1.5", "--limit: '1.5' is not a whole number of 1 or more", ""),
        ("jobs show x", "ID: 'x' is not a whole number", "see 'dropscribe jobs show --help'"),
        ("bench --generate 0.01", "--generate: '0.01' is not a number from 0.1 to 6000", ""),
        ("bench --generate ten", "--generate: 'ten' is not a number from 0.1 to 6000", ""),
        ("jobs --limit", "--limit: the value is missing", ""),
        ("run --watch", "--watch: the value is missing", ""),
        ("transcribe", "FILE... is missing", "see 'dropscribe transcribe --help'"),
        ("jobs show", "ID is missing", ""),
        ("status --jsn", "there is no option --jsn", "did you mean --json?"),
        ("status --nonsense", "there is no option --nonsense", "see 'dropscribe status --help'"),
        ("statsu", "there is no command 'statsu'", "did you mean stats or status?"),
        ("jobs shwo", "there is no command 'shwo'", "did you mean show?"),
        ("xyz", "there is no command 'xyz'", "see 'dropscribe --help'"),
        ("run extra", "'extra' is one argument too many; text with spaces needs quotes", ""),
        ("status --json=3", "option '--json' does not take a value", ""),
        ("jobs --limit \x1b[31m", "--limit: '\\x1b[31m' is not a whole number of 1 or more", ""),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_explained(arguments: str, reason: str, remedy: str) -> None:
    error = refused(*arguments.split(" "))
    assert error.reason == reason
    assert remedy in error.remedy
    assert error.remedy
    assert len(str(error).splitlines()) == 1
