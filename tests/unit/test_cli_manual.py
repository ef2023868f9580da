"""Manual pages and completion scripts, which are made from the commands and settings."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dropscribe.cli.app import COMMANDS, EXIT_CODES, build
from dropscribe.cli.manual import bash, man
from dropscribe.cli.manual.settings_page import SECTIONS, fields
from dropscribe.cli.manual.shared_files import shared_files, write
from dropscribe.cli.manual.tree import VALUES, CommandPage, below, read
from dropscribe.ledger.records import JobState

PROGRAM = read(build())
FILES = shared_files()
PAGES = list(below(PROGRAM))
BASH = FILES["bash-completion/completions/dropscribe"]


def page_of(command: CommandPage) -> str:
    """The manual page that describes a command."""
    name = "-".join(["dropscribe", *command.name.split()[:1]])
    return FILES[f"man/man1/{name}.1"]


@pytest.mark.parametrize("command", PAGES, ids=lambda c: c.name or "dropscribe")
def test_every_option_is_in_manual_and_completions(command: CommandPage) -> None:
    for option in command.options:
        for name in option.names:
            assert man.escaped(name) in page_of(command)
            assert name in BASH
            assert name in FILES["zsh/site-functions/_dropscribe"]
            flag = f"-s {name[1:]}" if len(name) == 2 else f"-l {name[2:]}"
            assert flag in FILES["fish/vendor_completions.d/dropscribe.fish"]
    assert man.escaped(command.paragraphs[0]) in page_of(command) or not command.name


def test_the_first_page_leads_to_all_others_and_has_the_exit_codes() -> None:
    first = FILES["man/man1/dropscribe.1"]
    assert re.findall(r"^\\fBdropscribe\\-(\S+)\\fR\(1\)$", first, re.MULTILINE) == [
        man.escaped(c.name) for c in PROGRAM.commands
    ]
    assert {c.name for c in PROGRAM.commands} == set(COMMANDS)
    told = re.findall(r"^\\fB(\d)\\fR$", first, re.MULTILINE)
    assert told == re.findall(r"(\d) ", EXIT_CODES)


def test_every_setting_has_its_entry() -> None:
    page = FILES["man/man5/dropscribe.toml.5"]
    for _, model in SECTIONS:
        for name, _ in fields(model):
            assert f"\\fB{man.escaped(name)}\\fR (" in page


def test_the_states_to_complete_are_those_of_jobs() -> None:
    assert set(VALUES["STATE"]) == {state.value for state in JobState} | {"held"}


def test_text_that_begins_like_a_request_of_man_is_shown() -> None:
    assert man.escaped(".srt files") == "\\&.srt files"
    assert man.escaped("'a' \\ -b") == "\\&'a' \\e \\-b"


def test_the_pages_fit_a_terminal_of_80_columns(tmp_path: Path) -> None:
    groff = shutil.which("groff") or shutil.which("nroff")
    if groff is None:
        pytest.skip("groff is not installed")
    pages = [str(p) for p in write(tmp_path) if p.suffix in {".1", ".5"}]
    command = ["groff", "-ww", "-man", "-Tutf8", "-P-c", "-P-b", "-P-u", "-rLL=80n", "-rLT=80n", *pages]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    # An address or a list of values without spaces cannot be broken.
    assert [line for line in lines if len(line) > 80 and " " in line.strip()] == []
    assert "       --limit NUMBER" in lines


def completed(tmp_path: Path, *lines: str) -> list[list[str]]:
    """What bash offers at the end of each command line, in a folder with the file `a.wav` and the folder `drop`."""
    (tmp_path / "a.wav").touch()
    (tmp_path / "drop").mkdir()
    (tmp_path / "script").write_text(BASH, encoding="utf-8")
    calls = [
        f"COMP_WORDS=({line})\nCOMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n_dropscribe\necho ${{COMPREPLY[*]}}"
        for line in lines
    ]
    text = "\n".join([". ./script", *calls])
    done = subprocess.run(
        ["bash", "-c", text], check=True, capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.stderr == ""
    return [line.split() for line in done.stdout.splitlines()]


def test_bash_completes_commands_options_and_values(tmp_path: Path) -> None:
    offered = completed(
        tmp_path,
        "dropscribe jo",
        "dropscribe jobs --state ''",
        "dropscribe jobs search --profile show --li",
        "dropscribe jobs --limit ''",
        "dropscribe run --watch ''",
        "dropscribe transcribe ''",
        "dropscribe status --w",
    )
    assert [sorted(o) for o in offered] == [
        ["jobs"], sorted(VALUES["STATE"]), ["--limit"], [], ["drop"], ["a.wav", "drop", "script"], ["--watch"],
    ]  # fmt: skip


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_are_valid(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    text = {
        "bash": BASH,
        "zsh": FILES["zsh/site-functions/_dropscribe"],
        "fish": FILES["fish/vendor_completions.d/dropscribe.fish"],
    }[shell]
    (tmp_path / "script").write_text(text, encoding="utf-8")
    subprocess.run([shell, "-n", tmp_path / "script"], check=True, timeout=60)


def test_an_apostrophe_in_a_help_text_ends_no_quote() -> None:
    odd = CommandPage(
        "", ("It's",), (), (), (CommandPage("it's", ("It's",), (), (), (), alone=False),), alone=False
    )
    assert "it'\"'\"'s" in bash.script(odd)
