"""`dropscribe stats`, `dropscribe export`, and the documented queries, on a real database."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from dropscribe.columns import columns
from dropscribe.errors import StorageError, UsageError
from dropscribe.views.export.rows import FIELDS, guarded
from tests.support.command_line import call, document, outcome
from tests.support.documentation import DOCS, Block, blocks
from tests.support.histories import NOW, History
from tests.support.terminal import on_terminal

DAY_S = 86_400


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """On 31 October 2026 one job is done, on 1 November one is done, one done by its result, one failed; one waits."""
    path = tmp_path_factory.mktemp("stats") / "jobs.db"
    with History(path) as history:
        history.done("会议.wav", "今年的预算", now=NOW - DAY_S)
        history.done("=cmd.wav", "hello")
        history.copied("copy.wav", of="=cmd.wav")
        history.failed("b.wav", "-1 streams", "+ record it again")
        history.waiting("c.wav")
    return path


def test_totals_by_day(database: Path) -> None:
    found = document("stats", "--since", "2026-10-01", "--database", database)
    assert (found["schema"], found["by"], found["since"]) == ("dropscribe/stats/1", ["day"], "2026-10-01")
    groups = [(g["key"]["day"], g["done"], g["failed"], g["audio_s"], g["rtfx"]) for g in found["groups"]]
    # A result taken from another recording is not counted as speed: 5 s in 2 s, not 10 s in 4 s.
    assert groups == [("2026-10-31", 1, 0, 5.0, 2.5), ("2026-11-01", 2, 1, 10.0, 2.5)]
    assert found["total"]["done"] == 3
    assert found["total"]["failed_share"] == 0.25
    assert found["total"]["stages"]["waiting"]["jobs"] == 3
    assert found["total"]["stages"]["waiting"]["mean_s"] == 0.25


@pytest.mark.parametrize(
    ("part", "keys"),
    [
        ("week", ["2026-10-26"]), ("month", ["2026-10", "2026-11"]), ("folder", ["/in"]), ("profile", ["default"]),
        ("model", [None, "mini"]), ("device", [None, "cpu"]), ("reason", [None, "no_audio"]),
    ],
)  # fmt: skip
def test_totals_by_each_part(database: Path, part: str, keys: list[str | None]) -> None:
    found = document("stats", "--by", part, "--database", database)
    assert [g["key"][part] for g in found["groups"]] == keys
    assert sum(g["done"] for g in found["groups"]) == 3


def test_conditions_and_several_parts(database: Path) -> None:
    base = ("stats", "--database", database, "--by", "day", "--by", "model")
    found = document(
        *base, "--since", "2026-11-01", "--until", "2026-11-01", "--model", "mini", "--folder", "/in"
    )
    assert [list(g["key"].values()) for g in found["groups"]] == [["2026-11-01", "mini"]]
    assert (
        call(*base, "--profile", "none", "--since", "2026-10-01").strip() == "no job has ended in this time"
    )
    with pytest.raises(UsageError, match="no division"):
        call("stats", "--database", database, "--by", "colour")


def test_on_a_terminal_the_table_and_its_bars_fit(database: Path) -> None:
    lines = on_terminal("stats", "--since", "2026-10-01", "--database", database)
    assert all(columns(re.sub(r"\x1b\[[\d;]*m", "", line)) <= 80 for line in lines)
    assert lines[0].split()[:3] == ["day", "done", "failed"]
    first, second = (line.count("█") for line in lines[1:3])
    assert second == 2 * first > 0
    assert lines[3].split()[:3] == ["all", "3", "25.0"]


def test_the_chart_is_an_svg_picture_with_every_group(database: Path, tmp_path: Path) -> None:
    file = tmp_path / "chart.svg"
    call("stats", "--since", "2026-10-01", "--database", database, "--chart", file)
    text = " ".join(ET.fromstring(file.read_text(encoding="utf-8")).itertext())
    assert "2026-10-31" in text
    assert "33.3 %" in text
    with pytest.raises(UsageError, match="SVG"):
        call("stats", "--database", database, "--chart", tmp_path / "chart.png")
    with pytest.raises(StorageError):
        call("stats", "--database", database, "--chart", tmp_path / "none" / "chart.svg")


def test_wrong_totals_are_told_and_fixed(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with History(path) as history:
        history.done("a.wav", "x")
    assert outcome("stats", "--check", "--database", path) == (0, "the totals are those of the jobs\n")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM job_totals")
        connection.commit()
    status, said = outcome("stats", "--check", "--database", path)
    assert status == 1
    assert "1 rows of job_totals" in said
    assert "made anew" in call("stats", "--fix", "--database", path)
    assert outcome("stats", "--check", "--database", path)[0] == 0


def test_export_as_csv_is_no_formula(database: Path) -> None:
    text = call("export", "--database", database)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == list(FIELDS)
    assert [r["id"] for r in rows] == ["1", "2", "3", "4", "5"]
    assert rows[0]["recording"] == "/in/会议.wav"
    assert (rows[3]["reason"], rows[3]["remedy"]) == ("'-1 streams", "'+ record it again")
    assert (rows[0]["audio_s"], rows[3]["audio_s"], rows[0]["held"]) == ("5.0", "", "false")


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_what_begins_a_formula_is_guarded(first: str) -> None:
    assert guarded(f"{first}1") == f"'{first}1"
    assert guarded(f"a{first}1") == f"a{first}1"


def test_export_as_json_lines_has_the_fields_of_a_job(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dropscribe.cli.commands.history.export.AT_ONCE", 2)
    lines = call("export", "--format", "jsonl", "--database", database).splitlines()
    jobs = document("jobs", "--database", database)["jobs"][::-1]
    assert [json.loads(line) for line in lines] == [{name: job[name] for name in FIELDS} for job in jobs]
    (failed,) = call("export", "--format", "jsonl", "--state", "failed", "--database", database).splitlines()
    assert json.loads(failed)["id"] == 4


def test_export_as_parquet(database: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "jobs.parquet"
    call("export", file, "--database", database)
    rows = parquet.read_table(file).to_pylist()
    assert [r["id"] for r in rows] == [1, 2, 3, 4, 5]
    assert rows[0]["admitted"].timestamp() == NOW - DAY_S
    assert rows[0]["audio_s"] == 5.0
    assert rows[4]["finished"] is None


def test_without_pyarrow_it_is_said_what_to_install(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError) as caught:
        call("export", tmp_path / "jobs.parquet", "--database", database)
    assert "dropscribe[parquet]" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_an_exported_file_is_whole_or_absent(database: Path, tmp_path: Path) -> None:
    file = tmp_path / "jobs.csv"
    file.write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        call("export", file, "--database", database)
    assert file.read_text() == "mine"
    call("export", file, "--replace", "--database", database)
    assert file.read_text(encoding="utf-8") == call("export", "-", "--database", database).replace(
        "\r\n", "\n"
    )
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(StorageError):
        call("export", tmp_path / "none" / "jobs.csv", "--database", database)
    with pytest.raises(UsageError, match="no format"):
        call("export", "--format", "xls", "--database", database)


# Documented queries

PAGE = DOCS / "database.md"
#: Expected rows of each example, by its first line.
EXAMPLES = {
    "Recordings and hours of audio of each day": [("2026-10-31", 1, 0.0), ("2026-11-01", 2, 0.0)],
    "Failures by reason, the most frequent first": [("no_audio", 1)],
    "Share of failed jobs of each folder, per cent": [("/in", 25.0)],
    "Speed of each model, times real time": [("mini", 2.5)],
    "Longest waiting time of 95 % of the jobs of each day, seconds, at most": [("2026-10-31", 0.5), ("2026-11-01", 0.5)],
    "Which of the last 1,000 jobs took longest, with where the time went": [
        (1, "/in/会议.wav", 5.0, 0.25, 0.25), (2, "/in/=cmd.wav", 5.0, 0.25, 0.25), (3, "/in/copy.wav", 5.0, 0.25, 0.25),
    ],
    "What failed in a month, and what to do": [("2026-11-01 12:00:02", "/in/b.wav", "-1 streams", "+ record it again")],
}  # fmt: skip


@pytest.mark.parametrize("block", list(blocks(PAGE, "sql")), ids=lambda b: b.name)
def test_a_documented_query_answers(database: Path, block: Block) -> None:
    title = block.text.splitlines()[0].removeprefix("-- ")
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        found = connection.execute(block.text).fetchall()
    if title == "Mean seconds of each stage of a recording":
        assert len(found) == 11
        assert {seconds for _, seconds in found} == {0.25}
    else:
        assert found == EXAMPLES[title]


def test_every_view_and_its_columns_are_documented(database: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    with closing(sqlite3.connect(database)) as connection:
        views = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'view'")]
        for view in views:
            names = [d[0] for d in connection.execute(f"SELECT * FROM {view}").description]
            missing = [n for n in names if f"`{n}`" not in page and not n.endswith("_s")]
            assert missing == [], view
    assert {"job_history", "day_totals", "stage_histogram"} <= set(views)
