"""Manual pages in the language of man(7): one for the program, one for each command."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from dropscribe import __version__
from dropscribe.cli.manual.tree import CommandPage, Parameter

#: Below this name stand all pages: `dropscribe`, `dropscribe-jobs`.
PROGRAM = "dropscribe"
_FILES = (
    ("dropscribe.toml", "configuration, if it lies in the current directory; see dropscribe.toml(5)"),
    ("~/.config/dropscribe/dropscribe.toml", "configuration of one user"),
    ("/etc/dropscribe/dropscribe.toml", "configuration of the service"),
    ("/var/lib/dropscribe/jobs.db", "job history of the service (SQLite)"),
    ("/var/cache/dropscribe", "models of the service"),
    ("/srv/dropscribe/inbox", "watched folder of the service"),
)
_VARIABLES = (
    ("DROPSCRIBE_CONFIG", "configuration file to use if none is named with --config"),
    ("MODELSCOPE_CACHE", "directory of downloaded models, ~/.cache/modelscope by default"),
)


def pages(program: CommandPage, exit_codes: str) -> Mapping[str, str]:
    """`man1/dropscribe-jobs.1` → text, for the program and each of its commands. `exit_codes`: a paragraph."""
    found = {f"man1/{PROGRAM}.1": _program(program, exit_codes)}
    for command in program.commands:
        found[f"man1/{PROGRAM}-{command.name}.1"] = _command(command)
    return found


def title(name: str, section: int, summary: str) -> Iterator[str]:
    """Head of a page and its section NAME."""
    yield f'.TH "{escaped(name.upper())}" {section} "" "dropscribe {__version__}" "dropscribe"'
    # No hyphenation and no stretched spaces: names and commands stay as they are typed.
    yield ".nh"
    yield ".ad l"
    yield ".SH NAME"
    yield f"{escaped(name)} \\- {escaped(summary)}"


def escaped(text: str) -> str:
    """Text that man shows unchanged; lines of it must not be joined with others."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    # As names of characters, which need no encoding to be guessed.
    plain = "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in plain)
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain


def paragraph(text: str) -> Iterator[str]:
    """A paragraph of its own."""
    yield ".PP"
    yield escaped(text)


def entry(term: str, text: str) -> Iterator[str]:
    """A term (a line of man's language) and its indented description."""
    yield ".TP"
    yield term
    yield escaped(text)


def _program(program: CommandPage, exit_codes: str) -> str:
    lines = [*title(PROGRAM, 1, program.summary[:1].lower() + program.summary[1:])]
    lines += [".SH SYNOPSIS", _synopsis(program), ".SH DESCRIPTION"]
    lines += [
        escaped(
            "A daemon watches folders, transcribes each recording that is dropped into them, and writes the transcript "
            "beside it. Each job is kept in a database, which can be searched."
        )
    ]
    lines += [".SH OPTIONS", *_entries(program.options), ".SH COMMANDS"]
    for command in program.commands:
        term = f"\\fB{PROGRAM}\\-{escaped(command.name)}\\fR(1)"
        lines += entry(term, f"{command.summary}.")
    code = re.compile(r"(\d) (.+?)(?:[;.]|$)(?: |$)")
    lines += [".SH EXIT STATUS"]
    for number, meaning in code.findall(exit_codes.partition(": ")[2]):
        lines += entry(f"\\fB{number}\\fR", meaning)
    lines += [".SH FILES"]
    for name, text in _FILES:
        lines += entry(f"\\fI{escaped(name)}\\fR", text)
    lines += [".SH ENVIRONMENT"]
    for name, text in _VARIABLES:
        lines += entry(f"\\fB{name}\\fR", text)
    also = [f"\\fB{PROGRAM}\\-{escaped(c.name)}\\fR(1)" for c in program.commands]
    lines += [".SH SEE ALSO", ",\n".join([*also, "\\fBdropscribe.toml\\fR(5)"])]
    return "\n".join(lines) + "\n"


def _command(command: CommandPage) -> str:
    summary = command.summary[:1].lower() + command.summary[1:]
    lines = [*title(f"{PROGRAM}-{command.name}", 1, summary), ".SH SYNOPSIS", _synopsis(command)]
    for inner in command.commands:
        lines += [".br", _synopsis(inner)]
    lines += [".SH DESCRIPTION", *_described(command)]
    if command.arguments:
        lines += [".SH ARGUMENTS", *_entries(command.arguments)]
    lines += [".SH OPTIONS", *_entries(command.options)]
    if command.commands:
        lines += [".SH COMMANDS"]
    for inner in command.commands:
        lines += [f'.SS "{escaped(inner.usage)}"', *_described(inner)]
        lines += _entries((*inner.arguments, *inner.options))
    lines += [".SH SEE ALSO", "\\fBdropscribe\\fR(1),\n\\fBdropscribe.toml\\fR(5)"]
    return "\n".join(lines) + "\n"


def _synopsis(command: CommandPage) -> str:
    name, rest = f"dropscribe {command.name}".rstrip(), command.usage
    rest = rest.removeprefix(name).strip()
    return f"\\fB{escaped(name)}\\fR {escaped(rest)}"


def _described(command: CommandPage) -> Iterator[str]:
    for text in command.paragraphs:
        yield from paragraph(text)


def _entries(parameters: tuple[Parameter, ...]) -> Iterator[str]:
    for one in parameters:
        names = ", ".join(f"\\fB{escaped(name)}\\fR" for name in one.names)
        value = f"\\fI{escaped(one.value if one.names else one.called)}\\fR" if one.value else ""
        default = f" (default: {one.default})" if one.default else ""
        yield from entry(" ".join(part for part in (names, value) if part), one.help + default)
