"""Completion script for zsh, with descriptions."""

from __future__ import annotations

from collections.abc import Iterator

from dropscribe.cli.manual.tree import CommandPage, Parameter, below


def script(program: CommandPage) -> str:
    """Text of the script: a function for each command."""
    parts = ["#compdef dropscribe\n# Completion of dropscribe for zsh."]
    parts += ["\n".join(_function(page)) for page in below(program)]
    return "\n\n".join([*parts, '_dropscribe "$@"']) + "\n"


def _name(page: CommandPage) -> str:
    return "_".join(["_dropscribe", *page.name.replace("-", "_").split()])


def _function(page: CommandPage) -> Iterator[str]:
    yield f"{_name(page)}() {{"
    if not page.commands:
        yield "  _arguments -s -S \\"
        yield " \\\n".join(f"    {spec}" for spec in _specs(page))
        yield "}"
        return
    yield "  local state line"
    yield "  _arguments -C -s \\"
    specs = [*_specs(page), "'1: :->command'", "'*:: :->rest'"]
    yield " \\\n".join(f"    {spec}" for spec in specs)
    yield "  case $state in"
    yield "  command)"
    yield "    local -a commands=("
    for inner in page.commands:
        yield f"      {_quoted(f'{inner.word}:{inner.summary}')}"
    yield "    )"
    yield "    _describe command commands ;;"
    yield "  rest)"
    yield "    case $words[1] in"
    for inner in page.commands:
        yield f"    {inner.word}) {_name(inner)} ;;"
    yield "    esac ;;"
    yield "  esac"
    yield "}"


def _specs(page: CommandPage) -> Iterator[str]:
    for option in page.options:
        text = _bracketed(option.help)
        value = f":{_message(option)}:{_action(option)}" if option.value else ""
        for name in option.names:
            others = "" if option.repeated else f"({' '.join(option.names)})"
            yield _quoted(f"{'*' if option.repeated else others}{name}[{text}]{value}")
    if not page.commands:
        for argument in page.arguments:
            yield _quoted(f"{'*' if argument.repeated else ''}:{_message(argument)}:{_action(argument)}")


def _action(parameter: Parameter) -> str:
    if parameter.words:
        return f"({' '.join(w.replace(':', chr(92) + ':') for w in parameter.words)})"
    return {"directory": "_files -/", "file": "_files"}.get(parameter.kind, " ")


def _message(parameter: Parameter) -> str:
    return parameter.value.replace(":", "\\:")


def _bracketed(text: str) -> str:
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
