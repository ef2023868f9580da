"""Completion script for fish, with descriptions."""

from __future__ import annotations

from collections.abc import Iterator

from dropscribe.cli.manual.tree import CommandPage, Parameter, below

_HEAD = """# Completion of dropscribe for fish.
complete -c dropscribe -f

# True if the words of the command line that are no options begin with the given ones, followed by none of those after `--`.
function __dropscribe_in
    set -l words
    for word in (commandline -opc)[2..-1]
        string match -q -- '-*' $word; or set -a words $word
    end
    set -l wanted
    set -l others
    set -l list wanted
    for word in $argv
        if test "$word" = --
            set list others
        else
            set -a $list $word
        end
    end
    set -l number (count $wanted)
    if test $number -gt 0
        test (count $words) -ge $number; or return 1
        test "$words[1..$number]" = "$wanted"; or return 1
    end
    set -l after (math $number + 1)
    test (count $words) -ge $after; or return 0
    set -l next $words[$after]
    not contains -- $next $others
end
"""


def script(program: CommandPage) -> str:
    """Text of the script."""
    return "\n".join([_HEAD, *(line for page in below(program) for line in _lines(page))]) + "\n"


def _lines(page: CommandPage) -> Iterator[str]:
    inside = f"__dropscribe_in {page.name}".strip()
    others = " ".join(c.word for c in page.commands)
    start = f"complete -c dropscribe -n {_quoted(f'{inside} -- {others}' if others else inside)}"
    for inner in page.commands:
        yield f"{start} -a {inner.word} -d {_quoted(inner.summary)}"
    for argument in page.arguments:
        if argument.kind:
            yield f"{start} {_values(argument)}"
    for option in page.options:
        names = " ".join(f"-s {n[1:]}" if len(n) == 2 else f"-l {n[2:]}" for n in option.names)
        values = f" -r {_values(option)}" if option.value else ""
        yield f"{start} {names}{values} -d {_quoted(option.help.partition('. ')[0].removesuffix('.'))}"


def _values(parameter: Parameter) -> str:
    if parameter.words:
        return f"-f -a {_quoted(' '.join(parameter.words))}"
    return {"directory": "-f -a '(__fish_complete_directories)'", "file": "-F"}.get(parameter.kind, "-f")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
