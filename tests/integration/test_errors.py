"""Every error names operation, object, reason and remedy. Exit codes are in docs/command-line.md, which
test_docs_complete.py checks."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import dropscribe
from dropscribe import errors
from dropscribe.cli.app import COMMANDS
from dropscribe.errors import ConfigError
from dropscribe.ledger.backend import lock_database, open_ledger
from dropscribe.ledger.interface import DatabaseLocation
from tests.support.command_line import Main, process

PACKAGE = Path(dropscribe.__file__).parent
KINDS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.DropscribeError)
}


@dataclass(frozen=True)
class Made:
    """A place in the program that raises an error."""

    where: str
    kind: type[errors.DropscribeError]
    given: frozenset[str]


def made() -> Iterator[Made]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            # StorageError(…), StorageError.from_system(…)
            kind = node.func.value if isinstance(node.func, ast.Attribute) else node.func
            if isinstance(kind, ast.Name) and kind.id in KINDS:
                given = frozenset(k.arg for k in node.keywords if k.arg is not None)
                yield Made(f"{path.relative_to(PACKAGE)}:{node.lineno}", KINDS[kind.id], given)


def test_every_error_that_is_made_has_an_operation_and_a_remedy() -> None:
    everywhere = tuple(made())
    assert len(everywhere) > 80
    lacking = [
        f"{one.where}: {one.kind.__name__} without {part}"
        for one in everywhere
        for part in ("operation", "remedy")
        if part not in one.given and not getattr(one.kind, f"usual_{part}")
    ]
    assert lacking == []


def test_errors_have_defaults_by_type_that_arguments_override() -> None:
    plain = errors.LostSegmentError("one is missing")
    assert str(plain).startswith("assemble: one is missing (the job is tried again")
    told = errors.LostSegmentError("one is missing", operation="look", remedy="wait", path=Path("a.wav"))
    assert str(told) == "look a.wav: one is missing (wait)"


@dataclass(frozen=True)
class Failure:
    """A failing command. `about`: the path in its error, relative to the working directory."""

    arguments: str
    code: int
    about: str | None
    kind: str


# Working directory of the commands: a folder `drop`, the files `wrong.toml`, `cut.toml`, `junk.db`, `junk.wav`,
# `held.db` (locked by another daemon), and nothing else.
NULL = "--model null --vad-model null --device cpu"
FAILURES = (
    Failure("run", 2, None, "config"),
    Failure("run --config none.toml", 2, "none.toml", "config"),
    Failure("run --config drop", 2, "drop", "config"),
    Failure("run --config cut.toml", 2, "cut.toml", "config"),
    Failure("run --config wrong.toml", 2, "wrong.toml", "config"),
    Failure("run --watch drop --config wrong.toml", 2, None, "config"),
    Failure("run --watch drop --device gpu", 2, None, "config"),
    Failure("run --watch drop --database junk.db", 3, "junk.db", "ledger"),
    Failure("run --watch drop --database drop", 3, "drop", "ledger"),
    Failure("run --watch drop --database junk.wav/x/jobs.db", 1, "junk.wav/x", "storage"),
    Failure(f"run --watch drop --database held.db {NULL}", 4, "held.db", "already_running"),
    Failure("run --watch drop --model ./none", 5, "none", "engine"),
    Failure("init wrong.toml", 2, "wrong.toml", "usage"),
    Failure("init junk.wav/x.toml", 1, "junk.wav/x.toml", "storage"),
    Failure("config --config wrong.toml", 2, "wrong.toml", "config"),
    Failure(f"doctor --watch drop {NULL} --bundle junk.db", 2, "junk.db", "usage"),
    Failure("doctor --repair --database none.db", 2, "none.db", "usage"),
    Failure("doctor --repair --database junk.db", 3, "junk.db", "ledger"),
    Failure("adopt none", 2, "none", "usage"),
    Failure("adopt drop --database held.db", 4, "held.db", "already_running"),
    Failure("adopt drop --database junk.db", 3, "junk.db", "ledger"),
    Failure("transcribe none.wav", 2, "none.wav", "usage"),
    Failure("transcribe drop", 2, "drop", "usage"),
    Failure("transcribe junk.wav/none.wav", 2, "none.wav", "usage"),
    Failure("transcribe junk.wav --format doc", 2, None, "usage"),
    Failure("transcribe junk.wav --model ./none", 5, "none", "engine"),
    Failure("bench none.wav", 2, "none.wav", "usage"),
    Failure("bench junk.wav --out junk.db", 1, "junk.db", "storage"),
    Failure("eval none", 2, "none", "usage"),
    Failure("diff none.json junk.wav", 2, "none.json", "usage"),
    Failure("jobs --database none.db", 2, "none.db", "usage"),
    Failure("jobs --database junk.db", 3, "junk.db", "ledger"),
    Failure("jobs --database drop", 3, "drop", "ledger"),
    Failure("jobs --state lost --database junk.db", 2, None, "usage"),
    Failure("jobs --since never --database junk.db", 2, None, "usage"),
    Failure("status --database junk.db", 3, "junk.db", "ledger"),
    Failure("jobs redo 1 --database junk.db", 3, "junk.db", "ledger"),
    Failure("jobs rename-speaker 1 1 Ann --database junk.db", 3, "junk.db", "ledger"),
    Failure("speakers list --database junk.db", 3, "junk.db", "ledger"),
    Failure("speakers remove Ann --database none.db", 2, "none.db", "usage"),
    Failure("speakers enrol Ann none.wav --database none.db", 2, "none.wav", "usage"),
    Failure("backup none --database junk.db", 3, "junk.db", "ledger"),
    Failure("restore none.db --database new.db", 2, "none.db", "usage"),
    Failure("restore junk.db --database held.db", 4, "held.db", "already_running"),
    Failure("restore junk.db --database new.db", 3, "junk.db", "ledger"),
    Failure("purge 1 --database junk.db", 3, "junk.db", "ledger"),
    Failure("vacuum --database junk.db", 3, "junk.db", "ledger"),
    Failure("copy-database junk.db new.db", 3, "junk.db", "ledger"),
    Failure("copy-database none.db new.db", 2, "none.db", "usage"),
    Failure("stats --database junk.db", 3, "junk.db", "ledger"),
    Failure("web --config wrong.toml", 2, "wrong.toml", "config"),
    Failure("export --database junk.db", 3, "junk.db", "ledger"),
    Failure("pause --database junk.db", 3, "junk.db", "ledger"),
    Failure("resume --database junk.db", 3, "junk.db", "ledger"),
    Failure("drain --database none.db", 2, "none.db", "usage"),
    Failure("notify list --database junk.db", 3, "junk.db", "ledger"),
    Failure("install-service --prefix root --cpu --cuda", 2, None, "usage"),
    Failure("uninstall-service --prefix root", 2, "installed-files.json", "usage"),
    Failure("models path ./none", 1, None, "error"),
    Failure("models list --config wrong.toml", 2, "wrong.toml", "config"),
)
#: Commands with --json, which must print the same error.
WITH_JSON = ("config", "doctor", "adopt", "transcribe", "bench", "jobs", "status", "init")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("place")
    (folder / "drop").mkdir()
    (folder / "wrong.toml").write_text("nonsense = 1\n", encoding="utf-8")
    (folder / "cut.toml").write_text("database = [", encoding="utf-8")
    (folder / "junk.db").write_text("no database\n" * 100, encoding="utf-8")
    (folder / "junk.wav").write_text("no recording\n", encoding="utf-8")
    held = lock_database(DatabaseLocation(folder / "held.db"))
    yield folder
    held.close()


def test_every_command_is_made_to_fail() -> None:
    assert {f.arguments.split()[0] for f in FAILURES} == set(COMMANDS)
    assert {f.code for f in FAILURES} == {kind.exit_code for kind in KINDS.values()}


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Main:
    return Main(monkeypatch, capsys)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda f: f.arguments)
def test_a_command_that_fails_says_operation_path_reason_and_remedy(
    failure: Failure, place: Path, main: Main
) -> None:
    arguments = failure.arguments.split()
    speaks_json = arguments[0] in WITH_JSON
    # A daemon that begins to start takes the signals and streams of its process.
    starts = arguments[0] == "run" and failure.code != ConfigError.exit_code
    done = (process if starts else main)(*arguments, *(["--json"] if speaks_json else []), cwd=place)
    assert done.returncode == failure.code, done.stderr
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("dropscribe: ")]
    assert len(said) == 1, done.stderr
    # Operation and path, a colon, the reason, and the remedy in brackets.
    head, _, rest = said[0].removeprefix("dropscribe: ").partition(": ")
    assert head
    assert rest.endswith(")")
    assert all(rest.removesuffix(")").split(" (", 1)), rest
    if failure.about is not None:
        assert head.endswith(failure.about), head
    if speaks_json:
        start = done.stdout.index('{\n  "schema": "dropscribe/error/1"')
        error = json.loads(done.stdout[start:])["error"]
        assert (error["code"], error["exit_code"]) == (failure.kind, failure.code)
        assert all(error[part] for part in ("operation", "reason", "remedy")), error
        assert (error["path"] is not None) == (failure.about is not None), error


def test_failed_recordings_are_reported_in_the_same_form(place: Path, main: Main) -> None:
    options = ("--model", "null", "--vad-model", "null", "--device", "cpu")
    done = main("transcribe", "junk.wav", *options, "--json", cwd=place)
    assert done.returncode == 1, done.stderr
    error = json.loads(done.stdout)["error"]
    assert error.keys() == {"code", "operation", "path", "reason", "remedy"}
    assert all(error.values())
    plain = main("transcribe", "junk.wav", *options, cwd=place)
    expected = f"dropscribe: transcribe {error['path']}: {error['reason']} ({error['remedy']})"
    assert expected in plain.stderr.splitlines()


@pytest.mark.parametrize("arguments", ["nonsense", "run --nonsense", "jobs --limit x", "transcribe"])
def test_a_wrong_command_line_has_its_error_code(arguments: str, place: Path) -> None:
    done = process(*arguments.split(), cwd=place)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


# Further commands: tests/integration/test_cli_denied.py.
@pytest.mark.parametrize(
    ("command", "unbuffered"),
    [("config --json", ""), ("jobs --json", ""), ("config", "1"), ("jobs --json", "1"), ("--help", "1")],
)
def test_standard_output_on_a_full_disk_is_an_error_like_others(
    command: str, unbuffered: str, tmp_path: Path
) -> None:
    open_ledger(DatabaseLocation(tmp_path / "jobs.db")).close()
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dropscribe", *command.split()],
            check=False, stdout=full, stderr=subprocess.PIPE, encoding="utf-8", cwd=tmp_path, timeout=120,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    expected = "dropscribe: write to standard output: No space left on device (send it to a file on another disk, or make room)"
    assert done.stderr.splitlines() == [expected]
    assert done.returncode == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_is_not_reported(unbuffered: str, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "dropscribe", "config"],
        check=False, stdout=writing, stderr=subprocess.PIPE, encoding="utf-8", cwd=tmp_path, timeout=120,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_ctrl_c_ends_a_command_with_130(tmp_path: Path) -> None:
    """At a known moment: while the command blocks on writing to a pipe that nobody reads."""
    # Background processes may inherit an ignored SIGINT, and so may this test.
    heeding = ("env", "--default-signal=INT")
    command = [*heeding, sys.executable, "-m", "dropscribe", "config", "--config", "long.toml", "--json"]
    words = [f"word {i}" for i in range(1000)]
    (tmp_path / "long.toml").write_text(f"[profiles.default]\nhotwords = {json.dumps(words)}\n")
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pipesize=4096, bufsize=0
    ) as process:
        assert process.stdout is not None
        # One byte, unbuffered: the pipe stays full, of less than the output.
        assert process.stdout.read(1)
        # A signal just before the write is handled only after it, so it is sent again.
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        _, said = process.communicate()
    assert (process.returncode, said) == (130, b"")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_stream_does_not_receive_a_file(closed: str, tmp_path: Path) -> None:
    """The next opened file would get the number of the closed stream, and the output."""
    open_ledger(DatabaseLocation(tmp_path / "jobs.db")).close()
    command = f'"{sys.executable}" -m dropscribe jobs --json {closed}'
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        check=False,
        capture_output=True,
        encoding="utf-8",
        cwd=tmp_path,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (done.stdout == "") == (" >" in f" {closed}")
