"""`dropscribe eval` and `dropscribe diff`: error rates and differences, as people and programs see them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from dropscribe.engine.models.store import SAMPLE
from dropscribe.errors import UsageError
from dropscribe.transcript import render
from dropscribe.transcript.types import Segment
from tests.support import transcripts
from tests.support.command_line import call, document, outcome, process
from tests.support.histories import History
from tests.support.terminal import on_terminal


def put(folder: Path, name: str, said: str, reference: str | None, shift_ms: int = 0) -> Path:
    """A recording (empty), its transcript, and a reference beside it."""
    (folder / f"{name}.wav").touch()
    tokens = transcripts.tokens(list(said), shift_ms)
    made = transcripts.transcript(Segment(0, 0, 9000, said, tokens))
    path = folder / f"{name}.json"
    path.write_bytes(render.render(replace(made, recording_name=f"{name}.wav"), "json", render.Options()))
    if reference is not None:
        (folder / f"{name}.ref.txt").write_text(reference, encoding="utf-8")
    return path


def test_error_rates_of_transcripts_that_are_there(tmp_path: Path) -> None:
    put(tmp_path, "good", "今天天气不错", "今天，天气不错。")
    put(tmp_path, "bad", "名天见面吧", "明天见面")
    put(tmp_path, "other", "没有", None)
    found = document("eval", tmp_path, "--from-outputs")
    assert found["totals"][0]["characters"] == {
        "rate": 0.2, "substitutions": 1, "deletions": 0, "insertions": 1, "length": 10,
    }  # fmt: skip
    assert found["without_reference"] == [str(tmp_path / "other.wav")]
    assert {"expected": "明", "recognised": "名", "times": 1} in found["totals"][0]["confusions"]


def test_speakers_are_compared_as_turns_and_by_words(tmp_path: Path) -> None:
    (tmp_path / "talk.wav").touch()
    said = "今天天气不错是啊"
    segment = Segment(
        0, 0, 2400, said, transcripts.tokens(list(said), 0), speakers=bytes([1, 1, 1, 1, 1, 2, 2, 2])
    )
    made = replace(transcripts.transcript(segment), recording_name="talk.wav")
    (tmp_path / "talk.json").write_bytes(render.render(made, "json", render.Options()))
    ends = [token.end_ms for token in segment.tokens]
    turns = ((0, ends[5], "Ann"), (ends[5], 2400, "Bob"))
    lines = [f"SPEAKER talk 1 {a / 1000} {(b - a) / 1000} <NA> <NA> {who} <NA> <NA>\n" for a, b, who in turns]
    (tmp_path / "talk.ref.rttm").write_text("".join(lines), encoding="utf-8")
    found = document("eval", tmp_path, "--from-outputs")["recordings"][0]["speakers"]
    assert (found["words"], found["wrong_words"], found["expected"], found["found"]) == (8, 1, 2, 2)
    assert (found["missed_ms"], found["false_alarm_ms"]) == (0, 0), "turns reach to the borders of the speech"
    assert "12.50 % of 8 words have the wrong one; the number is right in 1 of 1" in call(
        "eval", tmp_path, "--from-outputs"
    )


def test_the_worst_are_first_on_a_terminal_of_80_columns(tmp_path: Path) -> None:
    put(tmp_path, "a-recording-with-a-rather-long-name-of-a-long-meeting", "今天天气不错", "今天天气不错")
    put(tmp_path, "bad", "名天见面吧", "明天见面")
    lines = on_terminal("eval", tmp_path, "--from-outputs", "--chart", tmp_path / "chart.svg")
    plain = [line for line in lines if "\x1b" not in line]
    assert max(map(len, plain)) <= 80
    assert next(line for line in plain if ".wav" in line).startswith("bad.wav")
    assert any("20.00 %" in line for line in plain)
    assert ET.parse(tmp_path / "chart.svg").getroot().tag.endswith("svg")


def test_what_cannot_be_compared_is_named_and_the_status_is_1(tmp_path: Path) -> None:
    put(tmp_path, "good", "今天", "今天")
    (tmp_path / "new.wav").touch()
    (tmp_path / "new.ref.txt").write_text("明天", encoding="utf-8")
    (tmp_path / "good.ref.rttm").write_text("SPEAKER good\n", encoding="utf-8")
    (tmp_path / "gone.ref.txt").write_text("昨天", encoding="utf-8")
    done = process("eval", tmp_path, "--from-outputs")
    assert done.returncode == 1
    assert "good.ref.rttm: line 1: 2 fields" in done.stderr
    assert "gone.ref.txt: a reference without a recording" in done.stderr
    assert "no transcript of dropscribe" in done.stdout


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--keep", "words"], "there is no 'words' to keep"),
        (["--references", "nowhere"], "it is no folder"),
        (["--profile", "calls"], "there is no profile 'calls'"),
        ([], "no recording in it has a reference"),
    ],
)
def test_a_wrong_call_is_refused(tmp_path: Path, options: list[str], reason: str) -> None:
    if "--profile" in options:
        put(tmp_path, "good", "今天", "今天")
    with pytest.raises(UsageError, match=reason):
        call("eval", tmp_path, *options)


def test_recordings_are_transcribed(tmp_path: Path) -> None:
    shutil.copy(SAMPLE, tmp_path / "talk.wav")
    shutil.copy(SAMPLE, tmp_path / "copy.wav")
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    (tmp_path / "refs.tsv").write_text("file\ttext\ntalk\t会议\ncopy\t会议\nbroken\tx\n", encoding="utf-8")
    done = process("eval", tmp_path, "--device", "cpu", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["totals"][0]["models"] == ["paraformer-mini"]
    assert found["totals"][0]["failed"] == 1
    one, two = (r for r in found["recordings"] if r["file"] != "broken.wav")
    assert one["characters"] == two["characters"]
    assert one["characters"]["deletions"] == 0
    assert {p.name for p in tmp_path.iterdir()} == {"talk.wav", "copy.wav", "broken.wav", "refs.tsv"}


def test_differences_of_two_files(tmp_path: Path) -> None:
    one = put(tmp_path, "one", "今天我们开会讨论计划", None)
    two = put(tmp_path, "two", "今天我门开会讨论的计划", None, shift_ms=300)
    found = document("diff", one, two)
    assert [(c["start_ms"], c["first"], c["other"]) for c in found["changes"]] == [
        (750, "们", "门"),
        (2300, "", "的"),
    ]
    assert found["characters"]["rate"] == 0.2
    assert found["times"]["shifted"] == found["times"]["compared"] == 9
    lines = call("diff", one, two).splitlines()
    assert lines[-1] == "   0:00  今天我[-们-]{+门+}开会讨论{+的+}计划"


def test_differences_of_two_jobs_and_what_has_none(tmp_path: Path) -> None:
    database = tmp_path / "jobs.db"
    with History(database) as history:
        one = history.done("talk.wav", "hello there")
        two = history.done("again.wav", "hello here")
        waiting = history.waiting("next.wav")
    assert "[-there-]{+here+}" in call("diff", str(one), str(two), "--database", database)
    assert "the same 2" in call("diff", str(one), str(one), "--database", database)
    for wrong, reason in (
        (str(waiting), "has no transcript"),
        ("99", "there is no job 99"),
        ("x.json", "no such file"),
    ):
        with pytest.raises(UsageError, match=reason):
            outcome("diff", str(one), wrong, "--database", database)
