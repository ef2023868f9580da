"""The scripts in benchmarks/ run on small models and report the machine."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.long_forms import IN_SOAK

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = (
    "engine",
    "end_to_end",
    "latency",
    "memory",
    "leaks",
    "many",
    "long",
    "random_model",
    "fuzz_media",
    "fuzz_joining",
    "neighbours",
    "punctuation",
    "speakers",
    "calibration",
    "cpu_peers",
    "hotwords",
    "cpu_tokens",
    "stage_costs",
    "engine_texts",
)


def script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *arguments],
        capture_output=True, encoding="utf-8", check=False, timeout=240,
    )  # fmt: skip


@IN_SOAK
@pytest.mark.parametrize("stock", ["0", "0.3"])
def test_a_model_with_random_weights_has_the_token_rate_of_speech(tmp_path: Path, stock: str) -> None:
    out = tmp_path / "results" / "engine.json"
    done = script(
        "engine", "--small", "--device", "cpu", "--hours", "0.02", "--batch-s", "60", "--repeat", "1",
        "--stock-minutes", stock, "--out", str(out),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text(encoding="utf-8"))
    assert 4.0 < report["ours"]["tokens_per_s_of_audio"] < 5.0
    # Every token has a position, even with random weights in the timestamp branch.
    assert report["ours"]["tokens_with_times"] / report["audio_s"] == pytest.approx(
        report["ours"]["tokens_per_s_of_audio"], rel=0.01
    )
    assert report["ours"]["rtfx"] > 0
    assert ("stock" in report) == (stock != "0")
    assert report.get("stock", {"rtfx": 1.0})["rtfx"] > 0
    assert report["machine"]["cpus"] >= 1
    assert {"torch", "funasr", "python"} <= report["versions"].keys()
    # The formula holds for the official model size only.
    assert report["ours"]["tflop_per_s"] is None


# The short form is the Paraformer above: all three take the same way through the script.
@pytest.mark.parametrize("hours", [pytest.param("0.02", marks=pytest.mark.soak)])
def test_a_sense_voice_with_random_weights_is_measured_as_well(tmp_path: Path, hours: str) -> None:
    model = tmp_path / "model"
    done = script("random_sense_voice", str(model), "--small")
    assert done.returncode == 0, done.stderr
    done = script(
        "engine", "--model", str(model), "--device", "cpu", "--hours", hours, "--batch-s", "60", "--repeat", "1",
        "--stock-minutes", "0.3",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout[done.stdout.index("{\n") :])
    # The marks before each segment count as tokens, too.
    assert 4.0 < report["ours"]["tokens_per_s_of_audio"] < 6.5
    assert report["ours"]["tokens_with_times"] > 0
    assert report["stock"]["rtfx"] > 0


@pytest.mark.parametrize("hours", [pytest.param("0.01", marks=pytest.mark.soak)])
def test_a_seaco_is_measured_with_hotwords(tmp_path: Path, hours: str) -> None:
    out = tmp_path / "engine.json"
    done = script(
        "engine", "--small", "--family", "seaco", "--hotwords", "60", "--device", "cpu", "--hours", hours,
        "--batch-s", "30", "--repeat", "1", "--stock-minutes", "0.2", "--out", str(out),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text(encoding="utf-8"))
    assert (report["model"], report["hotwords"]) == ("SeacoParaformer", 60)
    assert 4.0 < report["ours"]["tokens_per_s_of_audio"] < 5.0
    assert report["stock"]["rtfx"] > 0


# The short form of this is tests/contract/test_postprocess.py.
@pytest.mark.parametrize("only", [pytest.param("engine,daemon", marks=pytest.mark.soak)])
def test_the_cost_of_each_stage_is_measured(tmp_path: Path, only: str) -> None:
    out = tmp_path / "stage_costs.json"
    done = script("stage_costs", "--small", "--device", "cpu", "--only", only, "--out", str(out))
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text(encoding="utf-8"))
    engine = report["engine"]
    assert engine["ct-punc"]["goal_percent"] == 5.0
    assert engine["all"]["host_s"]["speakers"] > 0
    assert engine["all"]["host_s"]["punctuation"] > 0
    assert {"embedding", "clustering", "punctuation"} <= engine["all"]["seconds_by_stage"].keys()
    assert {"embedding", "punctuation"} <= report["daemon"]["all"]["seconds_by_stage"].keys()


@IN_SOAK
def test_the_cost_of_texts_is_measured_without_a_gpu(tmp_path: Path) -> None:
    out = tmp_path / "engine_texts.json"
    done = script("engine_texts", "--recordings", "2", "--segments", "20", "--repeat", "1", "--out", str(out))
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text(encoding="utf-8"))
    for part in ("words", "outbox", "received"):
        assert min(report[part].values()) > 0
    # Windows of a text without marks grow.
    read = {name: one["words_read"] for name, one in report["punctuation"].items()}
    assert read["characters, no_marks, at_once"] > read["characters, sentences, at_once"] > 0


#: Prints the help page of each command given as JSON, as `python COMMAND --help` prints it: one process, because importing
#: torch takes seconds.
EXPLAIN = """
import contextlib, io, json, runpy, sys
pages = []
for command in json.loads(sys.argv[1]):
    said = io.StringIO()
    module = command[0] == "-m"
    sys.argv = [*command[module:], "--help"]
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        (runpy.run_module if module else runpy.run_path)(sys.argv[0], run_name="__main__")
    pages.append(said.getvalue())
print(json.dumps(pages))
"""


def help_pages(commands: Sequence[Sequence[str]]) -> list[str]:
    """Help page of each command, that is a script of benchmarks/ or `-m` and a module, with its subcommand."""
    done = subprocess.run(
        [sys.executable, "-c", EXPLAIN, json.dumps(commands)],
        capture_output=True, encoding="utf-8", check=False, timeout=240, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "benchmarks")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pages: list[str] = json.loads(done.stdout.splitlines()[-1])
    return pages


@IN_SOAK
def test_every_script_explains_itself() -> None:
    scripts = [f"benchmarks/{name}.py" for name in SCRIPTS]
    pages = help_pages([[script] for script in scripts])
    assert [script for script, page in zip(scripts, pages, strict=True) if script not in page] == []


def test_the_gpu_runner_uses_only_existing_options() -> None:
    spec = importlib.util.spec_from_file_location("on_gpu", ROOT / "benchmarks" / "on_gpu.py")
    assert spec is not None
    assert spec.loader is not None
    on_gpu = importlib.util.module_from_spec(spec)
    # Its dataclasses look up their module in sys.modules.
    sys.modules["on_gpu"] = on_gpu
    spec.loader.exec_module(on_gpu)
    asked: list[tuple[str, tuple[str, ...], list[str]]] = []
    for step in on_gpu.steps(Path("/x"), "cuda:0", 60.0, gpus=2):
        options = [a for a in step.arguments if a.startswith("--")]
        # Options of pytest are not checked.
        if "pytest" not in step.arguments and options:
            asked.append((step.name, step.arguments[: step.arguments.index(options[0])][:3], options))
    commands = sorted({command for _, command, _ in asked})
    known = dict(zip(commands, help_pages(commands), strict=True))
    assert len(known) >= 6
    for name, command, options in asked:
        assert [option for option in options if option not in known[command]] == [], name


# The short forms of these are tests/e2e/test_kill_points.py and test_killed_backlog.py.
@pytest.mark.parametrize("points", [pytest.param(2, marks=pytest.mark.soak)])
def test_killing_at_two_points_loses_nothing(tmp_path: Path, points: int) -> None:
    out = tmp_path / "kill.json"
    done = script("kill", "--rounds", "1", "--jobs", "1", "--points", str(points), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text(encoding="utf-8"))["kills"] == points


@pytest.mark.parametrize("recordings", [pytest.param(6, marks=pytest.mark.soak)])
def test_a_backlog_whose_daemon_is_killed_comes_through(tmp_path: Path, recordings: int) -> None:
    out = tmp_path / "kill.json"
    done = script("kill", "--backlog", str(recordings), "--kills", "2", "--seconds", "120", "--out", str(out))
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text(encoding="utf-8"))
    assert (report["kills"], report["recordings"], report["tries"]["done"]) == (2, recordings, recordings)


# The short form of this is tests/integration/test_media_defects.py.
@IN_SOAK
def test_mutants_of_every_format_leave_the_decoders_standing_and_a_run_is_taken_up_again(
    tmp_path: Path,
) -> None:
    out = tmp_path / "fuzz.json"
    next_number = 0
    for count in (60, 20):
        done = script("fuzz_media", "--first", str(next_number), "--count", str(count), "--out", str(out))
        assert done.returncode == 0, done.stderr
        report = json.loads(out.read_text(encoding="utf-8"))
        assert report["mutants"] == sum(report["ends"].values()) == count
        assert report["findings"] == []
        next_number = report["next"]
    assert next_number == 80


# The short form of this is tests/unit/test_engine_joining.py.
@pytest.mark.parametrize("count", [pytest.param(500, marks=pytest.mark.soak)])
def test_random_sequences_of_tokens_are_joined_and_timed(count: int) -> None:
    done = script("fuzz_joining", "--count", str(count))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["findings"] == 0
    assert report["ktokens_per_s"]["mixed"]["ours"] > 0


# The short form of this is tests/integration/test_ledger_processes.py.
@pytest.mark.parametrize("jobs", [pytest.param(300, marks=pytest.mark.soak)])
def test_workers_frozen_beyond_their_leases_do_every_job_once(jobs: int) -> None:
    done = script("claimers", "--jobs", str(jobs), "--freezes", "2")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    # Whether a worker has a claim when it is stopped is chance; test_ledger_processes.py tests that case.
    assert report["freezes"] > 0
    assert report["done_on_record"] == jobs
    assert (
        report["late_results_accepted"] == report["claims_given_twice"] == report["jobs_not_done_once"] == 0
    )


@IN_SOAK
def test_the_ledger_is_measured_with_a_history_in_it(tmp_path: Path) -> None:
    out = tmp_path / "history.json"
    done = script(
        "history", "--jobs", "300", "--calls", "10", "--backlog", "20", "--questions", "1", "--out", str(out)
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["filling"]["jobs"] == 300
    assert report["steps"]["admit"]["p99_ms"] > 0
    assert "search, nothing" in report["questions"]


@IN_SOAK
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("many", ("--recordings", "40", "80", "--seconds", "0.2", "--warm", "20")),
        ("long", ("--hours", "0.02", "0.04", "--model", "null", "--vad-model", "null", "--device", "cpu")),
    ],
)
def test_benchmarks_report_the_cost_of_ten_times_the_work(name: str, arguments: tuple[str, ...]) -> None:
    done = script(name, *arguments)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["times_the_work"] == 2.0
    assert {"daemon", "engine", "decoder"} <= report["runs"][1]["growth_mib"].keys()
    if name == "many":
        assert [one["texts_on_disk"] for one in report["runs"]] == [60, 100]
    else:
        assert [one["duration_ms"] for one in report["runs"]] == [72_000, 144_000]


# The short form of this is tests/e2e/test_leaks.py.
@pytest.mark.parametrize("recordings", [pytest.param(80, marks=pytest.mark.soak)])
def test_benchmarks_report_handles_and_memory_per_number_of_recordings(
    tmp_path: Path, recordings: int
) -> None:
    out = tmp_path / "leaks.json"
    null = ("--model", "null", "--vad-model", "null", "--device", "cpu")
    done = script("leaks", "--recordings", str(recordings), "--round", "20", *null, "--out", str(out))
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["jobs"] == {"done": recordings}
    assert report["lines"]["decoder"]["handles"]["last"] > 0
    assert [one["recordings"] for one in report["samples"]] == [20, 40, 60, 80]
