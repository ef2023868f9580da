"""Completion script for bash. It has all words in it, so that a press of TAB starts no Python."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from dropscribe.cli.manual.tree import CommandPage, Parameter, below

_HEAD = """# Completion of dropscribe for bash.

_dropscribe() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local command='' options='' words='' kind='' i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$command ${COMP_WORDS[i]}" in
"""
_MIDDLE = """        esac
    done
    case "$command" in
"""
_TAIL = """    esac
    case $current in
    -*) words=$options kind='' ;;
    esac
    case $kind in
    nothing) return ;;
    file) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    directory) mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
    esac
    [[ -z $kind ]] || compopt -o filenames 2>/dev/null
    [[ -z $words ]] || mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _dropscribe dropscribe
"""


def script(program: CommandPage) -> str:
    """Text of the script."""
    pages = list(below(program))
    names = [f'        " {p.name}"' if " " not in p.name else f'        "{p.name}"' for p in pages if p.name]
    known = f'{" | ".join(n.strip() for n in names)}) command="${{command:+$command }}${{COMP_WORDS[i]}}" ;;'
    bodies = "".join("\n".join(_case(page)) + "\n" for page in pages)
    return f"{_HEAD}            {known}\n{_MIDDLE}{bodies}{_TAIL}"


def _case(page: CommandPage) -> Iterator[str]:
    """What may follow after one command: its options, and values of the option before the cursor."""
    yield f"    {shlex.quote(page.name)})"
    yield f"        options={shlex.quote(' '.join(n for o in page.options for n in o.names))}"
    offered = [c.word for c in page.commands] + [w for a in page.arguments for w in a.words]
    if offered:
        yield f"        words={shlex.quote(' '.join(offered))}"
    kinds = [a.kind for a in page.arguments if a.kind]
    if kinds:
        yield f"        kind={kinds[0]}"
    valued = [o for o in page.options if o.value]
    if valued:
        yield "        case $previous in"
        for option in valued:
            yield f"        {' | '.join(option.names)}) words={shlex.quote(' '.join(option.words))} kind={_kind(option)} ;;"
        yield "        esac"
    yield "        ;;"


def _kind(option: Parameter) -> str:
    return option.kind or ("''" if option.words else "nothing")
