"""Documentation is complete: commands, options, settings, formats, schemas, states, tables, exit codes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel

import dropscribe
from dropscribe import errors
from dropscribe.bench.records import OURS, Recording, Report, Run, Usage
from dropscribe.cli.app import EXIT_CODES, build
from dropscribe.cli.commands import models, speakers
from dropscribe.cli.commands.init import production_file
from dropscribe.cli.commands.keeping import adopt
from dropscribe.config import (
    ClusterSettings,
    EngineSettings,
    Folder,
    MediaSettings,
    Models,
    NotifySettings,
    Profile,
    ServiceSettings,
    Settings,
    WebSettings,
    settings_of,
)
from dropscribe.doctor import support_bundle
from dropscribe.doctor.checks import record as doctor
from dropscribe.engine.protocol import HeldModel
from dropscribe.intake import scan, settling
from dropscribe.intake.settling import OPEN
from dropscribe.intake.types import FolderHealth, UnsettledFile
from dropscribe.ledger.backend import open_read_only
from dropscribe.ledger.events import EventKind, Subscription
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.ledger.records import (
    AWAY,
    NO_ROOM,
    REWRITTEN,
    UNWRITABLE,
    EnrolledVoice,
    HeldJobs,
    JobState,
    OutputIntent,
    SkippedFile,
)
from dropscribe.ledger.sql.schema import metadata
from dropscribe.logs import Action
from dropscribe.service.admission import adoption
from dropscribe.service.control.folder_rules import Wait
from dropscribe.service.jobs.progress import JobProgress, Stage
from dropscribe.service.monitoring import status_file
from dropscribe.transcript.naming import ending
from dropscribe.transcript.render import RENDERERS
from dropscribe.transcript.types import CHANNEL, STAGES, Part, Tags
from dropscribe.views.errors import error_document
from dropscribe.views.jobs import job_document
from dropscribe.views.status import Process, Queue
from dropscribe.views.status import document as state_document
from tests.support import command_line
from tests.support.documentation import (
    DOCS,
    PAGES,
    README,
    README_ZH,
    blocks,
    everything,
    prose,
    rows,
    section,
)
from tests.support.histories import ENGINE, History
from tests.support.transcripts import rich_transcript

PACKAGE = Path(dropscribe.__file__).parent
GOLDEN = Path(__file__).parents[1] / "unit" / "golden"
SOURCES = {p: p.read_text(encoding="utf-8") for p in PACKAGE.rglob("*.py")}
OUTPUTS = DOCS / "outputs.md"
COMMAND_LINE = DOCS / "command-line.md"
OPERATIONS = DOCS / "operations.md"


def commands() -> Iterator[tuple[str, Any]]:
    """("jobs show", its click command) of every command."""

    def below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        if name:
            yield name, command
        for part, inner in getattr(command, "commands", {}).items():
            yield from below(f"{name} {part}".strip(), inner)

    return below("", typer.main.get_command(build()))


COMMANDS = dict(commands())


# commands and options


def test_commands_are_found() -> None:
    assert {"run", "jobs", "jobs show", "jobs skipped", "status"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented_and_explains_itself(name: str) -> None:
    first = rows(COMMAND_LINE.read_text(encoding="utf-8").partition("\n## ")[0])
    assert f"`dropscribe {name}`" in [row[0] for row in first]
    assert COMMANDS[name].help
    for parameter in COMMANDS[name].params:
        assert parameter.help or parameter.name == "help", f"{name}: {parameter.name}"


def calls(page: Path) -> Iterator[str]:
    """Every call of dropscribe on a page, from the command on, in code blocks and in running text."""
    for block in blocks(page, "sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            yield from re.findall(
                r"(?:^|bin/|&& |; |[\w/] )(?:(?<!-aG )dropscribe|\$ds) ([a-z][^#;|&]*)", line
            )
    yield from re.findall(r"`(?:[\w./]*/)?dropscribe ([a-z][^`]*)`", prose(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_documented_commands_and_options_are_there(page: Path) -> None:
    for call in calls(page):
        words = call.split()
        name = words[0]
        assert name in COMMANDS, call
        if (
            name in ("jobs", "models", "notify", "speakers")
            and len(words) > 1
            and words[1].isalpha()
            and words[1].islower()
        ):
            name = f"{name} {words[1]}"
            assert name in COMMANDS, call
        known = {option for p in COMMANDS[name].params for option in p.opts} | {"--help"}
        if name.startswith("jobs "):
            known |= {option for p in COMMANDS["jobs"].params for option in p.opts}
        for option in re.findall(r"(?<=\s)--[a-z][a-z-]*", f" {call}"):
            assert option in known, call


def test_enough_commands_are_shown() -> None:
    assert len([c for page in PAGES for c in calls(page)]) > 60


#: Options of umount(8) and of node_exporter.
OF_OTHERS = {"--lazy", "--collector", "--num-cpus", "--num-gpus", "--disable-usage-stats"}


def test_options_named_alone_are_there() -> None:
    known = {o for c in COMMANDS.values() for p in c.params for o in p.opts} | {"--help", "--check"}
    named = {o for page in PAGES for o in re.findall(r"`(--[a-z][a-z-]*)", prose(page)) if o not in OF_OTHERS}
    assert len(named) >= 6
    assert named <= known


# settings

SECTIONS: dict[str, type[BaseModel]] = {
    "engine": EngineSettings,
    "engine.models": Models,
    "media": MediaSettings,
    "service": ServiceSettings,
    "profiles.default": Profile,
    "folder": Folder,
    "notify": NotifySettings,
    "web": WebSettings,
    "cluster": ClusterSettings,
}
TITLES = {"profiles.default": "### [profiles.NAME]", "folder": "### [[folder]]", "notify": "### [[notify]]"}


@pytest.mark.parametrize("name", SECTIONS)
def test_every_setting_is_documented_and_written(name: str) -> None:
    found = re.search(
        rf"^(?:# )?\[+{re.escape(name)}\]+$(.*?)(?=^(?:# )?\[|\Z)",
        production_file(),
        re.MULTILINE | re.DOTALL,
    )
    assert found is not None
    page = section(DOCS / "configuration.md", TITLES.get(name, f"### [{name}]"))
    for field_name, field in settings_of(SECTIONS[name]).items():
        assert re.search(rf"^(# )?{field_name} = ", found[1], re.MULTILINE), field_name
        assert field.description, field_name
        assert f"- **`{field_name}`** (" in page, field_name


def test_no_section_of_settings_is_forgotten() -> None:
    sections = {name.partition(".")[0] for name in SECTIONS}
    named = {field.alias or name for name, field in Settings.model_fields.items()}
    assert named == sections | {"database", "host"}
    assert re.search(r"^database = ", production_file(), re.MULTILINE)
    assert "- **`database`** (" in section(DOCS / "configuration.md", "### Top level")


def test_settings_the_pages_name_are_there() -> None:
    known = {n for model in SECTIONS.values() for n in model.model_fields} | set(Settings.model_fields)
    # Not settings: fields of JSON documents, FunASR's options, options of models, columns of views.
    fields = {row[0].strip("`").rpartition(".")[2] for row in rows(OUTPUTS.read_text(encoding="utf-8"))}
    fields |= {"p50_s", "p95_s", "mean_s"}  # of a stage in statistics
    columns = set(re.findall(r"`(\w+)`", (DOCS / "database.md").read_text(encoding="utf-8")))
    others = (
        fields
        | columns
        | {"use_itn", "batch_size_s", "audio_ms", "speech_ms", *(f"{stage}_s" for stage in STAGES)}
    )
    text = everything()
    named = set(re.findall(r"`([a-z_]+)\s*=\s", text)) | set(
        re.findall(r"`([a-z]+(?:_[a-z]+)*_(?:s|ms|mb|dir|log|hours))`", text)
    )
    assert len(named) > 15
    assert named - others <= known


# formats, stages, states, codes, tables


def test_every_format_is_documented() -> None:
    files = rows(section(OUTPUTS, "## Files"))
    named = re.findall(r"`NAME\.([\w.]+)`", " ".join(row[0] for row in files))
    written = {ending(f) for f in [*RENDERERS, "timing", "partial", "failed"]}
    assert {f".{name}" for name in named} == written


def test_every_stage_is_documented() -> None:
    assert [row[0] for row in rows(section(OUTPUTS, "## Stages"))] == [f"`{s}`" for s in STAGES]


def test_every_state_of_a_job_is_documented() -> None:
    states = {row[0].strip("`") for row in rows(section(OPERATIONS, "## The job history"))}
    assert {s.value for s in JobState} <= states


def test_every_kind_of_remark_is_documented() -> None:
    source = (PACKAGE / "transcript" / "remarks.py").read_text(encoding="utf-8")
    kinds = re.findall(r'Remark\("(\w+)"', source)
    assert [row[0].strip("`") for row in rows(section(OUTPUTS, "## Remarks"))] == kinds


def test_every_action_of_the_log_is_documented() -> None:
    named = re.findall(r"`(\w+)`", " ".join(row[0] for row in rows(section(OPERATIONS, "## The log"))))
    assert named == [str(a) for a in Action] or set(named) == {str(a) for a in Action}


#: Error codes of commands, which no job has.
OF_COMMANDS = frozenset({"error", "config", "ledger", "already_running", "engine", "usage", "stale_lease"})


def test_every_reason_code_is_documented() -> None:
    codes = {kind.code for kind in kinds(errors.DropscribeError)} - OF_COMMANDS | {
        AWAY,
        NO_ROOM,
        REWRITTEN,
        "worker_lost",
    }
    assert {row[0].strip("`") for row in rows(section(OPERATIONS, "### Reason codes"))} == codes


def test_every_reason_to_skip_a_file_is_documented() -> None:
    named = {
        row[0].strip("`") for row in rows(section(DOCS / "recordings.md", "## Files that are not taken"))
    }
    refusals = [scan.SPECIAL, scan.BROKEN_LINK, settling.EMPTY]
    intake = "\n".join(t for p, t in SOURCES.items() if p.parent.name == "intake")
    written = re.findall(r'\b(?:Refuse|Skip)\(\s*"(\w+)"', intake)
    assert len(written) >= len(refusals)
    assert {*written, *(r.code for r in refusals)} <= named


def test_every_reason_why_a_file_waits_is_documented() -> None:
    intake = "\n".join(t for p, t in SOURCES.items() if p.parent.name == "intake")
    written = re.findall(r'\bWaitReason\(\s*"(\w+)"', intake)
    assert {row[0].strip("`") for row in rows(section(OPERATIONS, "### Why a file waits"))} == set(written)


def test_every_table_of_the_database_is_documented() -> None:
    tables = [row[0].strip("`") for row in rows(section(OPERATIONS, "### Query the database"))]
    assert tables == [t for t in metadata.tables if "text" not in t]
    assert "`job_history`" in OPERATIONS.read_text(encoding="utf-8")


def test_the_environment_variables_are_named() -> None:
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    for path, text in SOURCES.items():
        for name in re.findall(r"\bDROPSCRIBE_[A-Z_]+", text):
            assert f"`${name}`" in page, path


# exit codes


def kinds(kind: type[errors.DropscribeError]) -> Iterator[type[errors.DropscribeError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from kinds(inner)


def test_the_table_of_exit_codes_is_that_of_the_errors() -> None:
    table = {int(row[0]): row[1] for row in rows(section(COMMAND_LINE, "## Exit codes"))}
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
    """(page, section) in messages such as "(see docs/installation.md, GPU or CPU)"."""
    named = 0
    for path, text in SOURCES.items():
        assert "see README" not in text, path
        for page, title in re.findall(r"\(see docs/([\w-]+\.md), ([^)]+)\)", text):
            assert section(DOCS / page, f"## {title}"), path
            named += 1
    assert named >= 3


# JSON documents


def schemas() -> set[str]:
    return {s for text in SOURCES.values() for s in re.findall(r'= "(dropscribe/[a-z]+/\d+)"', text)}


def documented(schema: str) -> dict[str, str]:
    """field → type in the table of a schema; `job` stands for the fields of a job."""
    fields = {row[0].strip("`"): row[1] for row in rows(section(OUTPUTS, f"### `{schema}`"))}
    job = {row[0].strip("`"): row[1] for row in rows(section(OUTPUTS, "### Fields of a job"))}
    for name in [n for n, kind in fields.items() if kind.split(" or ")[0] == "job"]:
        del fields[name]
        fields |= {f"{name}.{inner}": kind for inner, kind in job.items()}
    return fields


def fields_of(value: Any, known: Mapping[str, str], name: str = "") -> Iterator[str]:
    """Dotted fields of a document, without fields inside those documented as a free object or a list of values."""
    kind = known.get(name, "")
    if kind.startswith(("object", "list", "any")):
        yield name
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from fields_of(inner, known, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and all(isinstance(v, Mapping) for v in value):
        for inner in value:
            yield from fields_of(inner, known, f"{name}[]")
    else:
        yield name


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A document with all fields for every schema, by name."""
    folder = tmp_path_factory.mktemp("shown")
    found: dict[str, Any] = {}

    def keep(document: dict[str, Any]) -> None:
        found[document["schema"]] = document

    for name in ("meeting.json", "meeting.timing.json"):
        keep(json.loads((GOLDEN / name).read_text(encoding="utf-8")))
    database = folder / "jobs.db"
    with History(database) as history:
        history.ledger.subscribe([Subscription("ops", frozenset(EventKind))])
        output = OutputIntent("txt", Path("/in/talk.txt"), "00" * 32)
        media = replace(rich_transcript().media, parts=(Part(CHANNEL, 1, 0, None),))
        done = history.done("talk.wav", "hello there", "bye", media=media, outputs=[output])
        history.copied("copy.wav", "talk.wav")
        history.failed("broken.wav", "no audio", "export it again")
        history.waiting("next.wav")
        history.ledger.prioritise([done], 1, 1.0, "anna")
        history.ledger.skip(
            [SkippedFile(Path("/in/a.doc"), Path("/in"), "extension", "not a recording")], 1.0
        )
    # Fields of text with marks and speakers, and of a recording whose channels are transcribed apart.
    meeting = found["dropscribe/transcript/1"]
    talk = json.loads((GOLDEN / "talk.json").read_text(encoding="utf-8"))
    parts = [asdict(Part(CHANNEL, 1, 0, None))]
    media = meeting["media"] | {"parts": parts}
    talk["segments"][0] |= Tags("zh", "happy", ("bgm",)).record()
    found["dropscribe/transcript/1"] = meeting | talk | {"media": media, "remarks": meeting["remarks"]}
    keep(command_line.document("jobs", "--database", database))
    keep(command_line.document("jobs", "show", str(done), "--database", database))
    keep(command_line.document("jobs", "search", "hello", "--database", database))
    paused = command_line.document("pause", "--database", database)
    keep(paused | command_line.document("jobs", "priority", "3", "--path", "next", "--database", database))
    command_line.document("resume", "--database", database)
    keep(command_line.document("stats", "--by", "folder", "--database", database))
    keep(command_line.document("jobs", "skipped", "--database", database))
    keep(command_line.document("jobs", "redo", str(done), "--dry-run", "--database", database))
    keep(command_line.document("notify", "list", "--database", database))
    (folder / "talk.wav").touch()
    (folder / "talk.ref.txt").write_text("Tonight: Hello", encoding="utf-8")
    (folder / "talk.ref.rttm").write_text("SPEAKER talk 1 0 1 <NA> <NA> A <NA> <NA>\n", encoding="utf-8")
    (folder / "talk.json").write_bytes((GOLDEN / "meeting.json").read_bytes())
    keep(command_line.document("eval", folder, "--from-outputs"))
    found["dropscribe/eval/1"]["bad_references"] = [{"path": "a.ref.rttm", "reason": "why"}]
    keep(command_line.document("diff", GOLDEN / "meeting.json", str(done), "--database", database))
    keep(command_line.document("config", "--watch", folder))
    copy = models.ModelCopy("m", "asr", "a/m", 1, "MIT", "damaged", folder, problems={"model.pt": "missing"})
    keep(models.document([copy]))
    voice = EnrolledVoice("Anna", "campplus-zh-en", 1.0)
    keep(speakers.document(DatabaseLocation(folder / "jobs.db"), [voice]))
    keep(command_line.document("init", folder / "new.toml"))
    (folder / "backups").mkdir()
    keep(command_line.document("backup", folder / "backups", "--database", database))
    keep(command_line.document("restore", found["dropscribe/backup/1"]["backup"], "--database", database))
    keep(command_line.document("vacuum", "--database", database))
    keep(command_line.document("purge", str(done), "--copies", "--dry-run", "--database", database))
    keep(command_line.document("doctor", "--repair", "--database", database))
    keep(command_line.document("doctor", "--fix", "--watch", folder, "--database", database))
    keep(command_line.document("install-service", "--prefix", folder / "root"))
    keep(command_line.document("uninstall-service", "--prefix", folder / "root"))
    keep(adoption_document(folder))
    keep(error_document(errors.UsageError("why", operation="do", path=folder, remedy="do this")))
    keep(doctor.document([doctor.ok("python", "3.11")]))
    keep(support_bundle.collect(None, [], [], 0.0)["about.json"])
    keep(bench_document(folder))
    keep(status_document(folder / "status.db"))
    keep(daemon_document(database, found["dropscribe/status/1"]))
    return found


def adoption_document(folder: Path) -> dict[str, Any]:
    report = adoption.Report(1, 1, skipped=[(folder / "a.wav", "why")], differing=[folder / "a.txt"])
    return adopt.document(folder / "jobs.db", report, dry_run=False)


def bench_document(folder: Path) -> dict[str, Any]:
    recording = Recording(folder / "a.wav", 0.0, 1.0, "text", None)
    run = Run(OURS, {"batch_s": 60}, "cpu", 1.0, 1.0, 1.0, Usage(None, None, None), (recording,), None)
    report = Report(
        "2026-01-01T00:00:00Z", {"cpus": 2}, {"torch": "2"}, {"model": "m"}, {recording.path: 1.0}, (run,)
    )
    return report.document()


def status_document(database: Path) -> dict[str, Any]:
    folder = FolderHealth(Path("/in"), "poll", "it is away", "mount it", 1.0)
    status = status_file.Status(
        "ready", 1.0, ENGINE, (folder,), 1, 0, (status_file.Complaint("disk full", "free space"),),
        models=(HeldModel("asr", "paraformer-zh", "failed", 0, "it is damaged"),),
        in_progress=(JobProgress(1, Path("/in/a.wav"), Stage.DECODING),),
        unsettled_files=(UnsettledFile(Path("/in/b.wav"), OPEN, 1.0),),
        waits=(Wait(Path("/in"), "hours", "its hours are 19:00-07:00", 9.0),), control=Path("/run/control.sock"),
    )  # fmt: skip
    status_file.write(DatabaseLocation(database), status, 2.0)
    found: dict[str, Any] = json.loads(
        status_file.status_path(DatabaseLocation(database)).read_text(encoding="utf-8")
    )
    return found


def daemon_document(database: Path, said: dict[str, Any]) -> dict[str, Any]:
    ledger = open_read_only(DatabaseLocation(database))
    try:
        jobs = ledger.jobs(limit=1)
        counts = ledger.counts()
    finally:
        ledger.close()
    process = Process(running=True, pid=1, said=said)
    held = (HeldJobs(UNWRITABLE, "it may not write there", "let it", 2, 1),)
    return state_document(
        DatabaseLocation(database), process, Queue(counts, jobs[0], jobs[0], tuple(jobs), held), ["problem"]
    )


@pytest.mark.parametrize("schema", sorted(schemas()))
def test_every_field_of_every_schema_is_documented(schema: str, shown: dict[str, Any]) -> None:
    known = documented(schema)
    assert shown.keys() >= {schema}, "add a document of this schema to `shown`"
    assert set(fields_of(shown[schema], known)) == set(known)


def test_there_are_schemas_and_no_other_is_documented() -> None:
    titles = re.findall(r"^### `(dropscribe/\w+/\d+)`$", OUTPUTS.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(titles) >= 14
    assert set(titles) == schemas()


def test_every_field_of_a_job_is_documented(tmp_path: Path) -> None:
    with History(tmp_path / "jobs.db") as history:
        history.done("talk.wav", "hello")
        (job,) = history.ledger.jobs(limit=1)
    named = [row[0].strip("`") for row in rows(section(OUTPUTS, "### Fields of a job"))]
    assert named == list(job_document(job))


def test_both_first_pages_warn_of_the_demonstration_model() -> None:
    for page in (README, README_ZH):
        assert "`paraformer-mini`" in page.read_text(encoding="utf-8")
