"""What the product has, a person can read of: commands, settings, formats, schemas, exit codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel

import daemon
from daemon import errors
from daemon.cli.app import EXIT_CODES, build
from daemon.cli.init import production_file
from daemon.config import EngineSettings, Folder, Format, MediaSettings, Profile, ServiceSettings, Settings
from daemon.ledger.records import JobState
from daemon.ledger.schema import metadata
from daemon.transcript.render import RENDERERS
from daemon.transcript.types import STAGES

PACKAGE = Path(daemon.__file__).parent
README = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
SOURCES = {p: p.read_text(encoding="utf-8") for p in PACKAGE.rglob("*.py")}


def commands() -> Iterator[tuple[str, Any]]:
    """("jobs show", its click command) of every command."""

    def below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        if name:
            yield name, command
        for part, inner in getattr(command, "commands", {}).items():
            yield from below(f"{name} {part}".strip(), inner)

    return below("", typer.main.get_command(build()))


COMMANDS = dict(commands())


def test_there_are_commands_to_look_at() -> None:
    assert {"run", "jobs", "jobs show", "jobs skipped", "status"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_stands_in_the_readme_and_explains_itself(name: str) -> None:
    assert f"`dropscribe {name}`" in README
    assert COMMANDS[name].help
    for parameter in COMMANDS[name].params:
        assert parameter.help or parameter.name == "help", f"{name}: {parameter.name}"


def test_the_readme_names_no_command_that_is_not_there() -> None:
    named = re.findall(r"(?:`|^|bin/)dropscribe ([a-z]+)(?: ([a-z]+)\b)?", README, re.MULTILINE)
    assert len(named) > 15
    for first, second in named:
        assert first in COMMANDS, first
        if first == "jobs" and second:
            assert f"jobs {second}" in COMMANDS, second


def test_options_the_readme_names_are_there() -> None:
    options = {o for c in COMMANDS.values() for p in c.params for o in p.opts} | {"--help"}
    code = re.findall(r"```.*?```|`[^`\n]+`", README, re.DOTALL)
    ours = [
        line for part in code for line in part.splitlines() if re.search(r"(^|[/`])dropscribe [a-z]", line)
    ]
    named = {o for line in ours for o in re.findall(r"(?<=\s|`)--[a-z][a-z-]*", line)}
    named |= {o for part in code for o in re.findall(r"^`(--[a-z][a-z-]*)", part)}
    assert len(named) >= 6
    assert named <= options


SECTIONS: dict[str, type[BaseModel]] = {
    "engine": EngineSettings,
    "media": MediaSettings,
    "service": ServiceSettings,
    "profiles.default": Profile,
    "folder": Folder,
}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_stands_in_the_written_configuration(section: str) -> None:
    found = re.search(
        rf"^\[+{re.escape(section)}\]+$(.*?)(?=^\[|\Z)", production_file(), re.MULTILINE | re.DOTALL
    )
    assert found is not None
    for name, field in SECTIONS[section].model_fields.items():
        assert re.search(rf"^(# )?{name} = ", found[1], re.MULTILINE), name
        assert field.description, name


def test_no_section_of_settings_is_forgotten() -> None:
    sections = {name.partition(".")[0] for name in SECTIONS}
    named = {field.alias or name for name, field in Settings.model_fields.items()}
    assert named == sections | {"database"}
    assert re.search(r"^database = ", production_file(), re.MULTILINE)


def test_settings_the_readme_names_are_there() -> None:
    known = {n for model in SECTIONS.values() for n in model.model_fields} | set(Settings.model_fields)
    named = set(re.findall(r"`([a-z_]+)\s*=\s", README)) | set(
        re.findall(r"`([a-z]+_(?:s|dir|log))`", README)
    )
    timing = {"audio_s", "speech_s", "wall_s"}
    assert len(named) > 5
    assert named - timing <= known


def test_every_format_is_described() -> None:
    assert set(RENDERERS) == set(get_args(Format))
    for name in (*RENDERERS, "timing.json"):
        assert f"| `NAME.{name}`" in README or f"`NAME.{name}` |" in README, name


def test_every_stage_and_state_is_described() -> None:
    for word in (*STAGES, *(s.value for s in JobState)):
        assert f"`{word}`" in README, word


def test_every_table_for_people_is_named() -> None:
    for name in ("job_history", *(t for t in metadata.tables if "text" not in t)):
        assert f"`{name}`" in README, name


def test_every_schema_is_described_where_it_is_met() -> None:
    """In the README, in the help of the command that prints it, or with the function that makes it."""
    declared = {s for text in SOURCES.values() for s in re.findall(r'= "(dropscribe/[a-z]+/\d+)"', text)}
    helps = "\n".join(c.help for c in COMMANDS.values())
    docstrings = "\n".join(
        d for text in SOURCES.values() for d in re.findall(r'"""(.*?)"""', text, re.DOTALL)
    )
    assert len(declared) >= 10
    for schema in declared:
        assert schema in README or schema in helps or schema in docstrings, schema


def test_the_environment_variables_are_named() -> None:
    for path, text in SOURCES.items():
        for name in re.findall(r"\bDROPSCRIBE_[A-Z_]+", text):
            assert f"`${name}`" in README, path


def kinds(kind: type[errors.DropscribeError]) -> Iterator[type[errors.DropscribeError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from kinds(inner)


def test_the_table_of_exit_codes_is_that_of_the_errors() -> None:
    section = README.partition("| code | meaning |")[2].partition("\n## ")[0]
    table = {
        int(code): meaning for code, meaning in re.findall(r"^\| (\d+) \| (.+?) \|$", section, re.MULTILINE)
    }
    assert set(table) == {0} | {kind.exit_code for kind in kinds(errors.DropscribeError)}
    for kind, word in (
        (errors.ConfigError, "configuration"),
        (errors.UsageError, "command line"),
        (errors.LedgerError, "database"),
        (errors.AlreadyRunningError, "another daemon"),
        (errors.EngineError, "engine"),
    ):
        assert word in table[kind.exit_code], kind
    assert {int(c) for c in re.findall(r"[:;] (\d) ", EXIT_CODES)} == set(table)


def test_no_message_sends_people_to_a_section_that_is_not_there() -> None:
    headings = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    for path, text in SOURCES.items():
        for named in re.findall(r"\(see README, ([^)\"]+)\)", text):
            assert named in headings, path


def test_every_test_the_promises_name_is_there() -> None:
    page = README.split("## What dropscribe promises", 1)[1].split("\n## ", 1)[0]
    named = re.findall(r"`((?:tests|benchmarks)/[\w/.]+)(?:::(\w+))?`", page)
    assert len(re.findall(r"^\| [1-6] \|.*`tests/[\w/.]+::\w+`", page, re.MULTILINE)) == 6
    for path, name in named:
        assert (PACKAGE.parent / path).is_file(), path
        text = (PACKAGE.parent / path).read_text(encoding="utf-8")
        assert not name or re.search(rf"^(?:def |class )?{name}\b", text, re.MULTILINE), f"{path}::{name}"
