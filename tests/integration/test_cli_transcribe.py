"""`dropscribe transcribe`: the text of given files, printed or written beside them."""

from __future__ import annotations

import json
import shutil
import wave
from pathlib import Path

import pytest

from dropscribe.engine.models.null import TEXT
from dropscribe.engine.models.store import SAMPLE
from tests.support.command_line import process
from tests.support.terminal import on_terminal

NULL = ("--model", "null", "--device", "cpu")


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    return Path(shutil.copy(SAMPLE, tmp_path / "talk.wav"))


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def test_the_text_is_printed_and_nothing_is_written(talk: Path) -> None:
    done = process("transcribe", talk, *NULL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{TEXT}\n")
    assert "00:00" not in done.stdout
    assert names(talk.parent) == {"talk.wav"}


def test_subtitles_are_printed_where_they_are_asked_for(talk: Path) -> None:
    done = process("transcribe", talk, *NULL, "--format", "srt")
    assert done.returncode == 0, done.stderr
    assert "00:00:00,000 --> " in done.stdout


def test_all_files_are_written_beside_it_and_replaced_by_a_second_run(talk: Path) -> None:
    done = process("transcribe", talk, *NULL, "--write")
    assert done.returncode == 0, done.stderr
    written = {f"talk.{end}" for end in ("txt", "srt", "vtt", "json", "timing.json")}
    assert names(talk.parent) == {"talk.wav"} | written
    assert {Path(line).name for line in done.stdout.splitlines()} == written
    again = process("transcribe", talk, *NULL, "--write")
    assert again.returncode == 0, again.stderr
    assert names(talk.parent) == {"talk.wav"} | written
    assert "replaced the files of an earlier run: talk.txt, talk.srt" in again.stderr


def test_only_the_format_that_is_named_is_written(talk: Path) -> None:
    done = process("transcribe", talk, *NULL, "--write", "--format", "vtt")
    assert done.returncode == 0, done.stderr
    assert names(talk.parent) == {"talk.wav", "talk.vtt"}


def test_a_file_that_is_there_is_left_alone(talk: Path) -> None:
    mine = talk.with_suffix(".txt")
    mine.write_text("mine", encoding="utf-8")
    done = process("transcribe", talk, *NULL, "--write")
    assert done.returncode == 0, done.stderr
    assert mine.read_text(encoding="utf-8") == "mine"
    assert "talk.wav.txt" in names(talk.parent)


def test_several_files_are_printed_in_their_order_with_a_title_each(talk: Path) -> None:
    long = talk.with_name("a long one.wav")
    with wave.open(str(SAMPLE)) as sample, wave.open(str(long), "wb") as file:
        file.setparams(sample.getparams())
        file.writeframes(sample.readframes(sample.getnframes()) * 8)
    junk = talk.with_name("junk.wav")
    junk.write_bytes(b"no sound" * 100)
    done = process("transcribe", long.name, junk.name, talk.name, *NULL, cwd=talk.parent)
    assert done.returncode == 1
    titles = [line for line in done.stdout.splitlines() if line.startswith("==>")]
    assert titles == ["==> a long one.wav <==", "==> talk.wav <=="]
    assert "junk.wav" in done.stderr
    first, last = done.stdout.split("==> talk.wav <==\n")
    assert first.endswith("\n\n")
    assert first.count(TEXT) > last.count(TEXT) == 1


def test_the_loading_of_the_model_is_said_on_a_terminal(talk: Path) -> None:
    lines = on_terminal("transcribe", talk, "--device", "cpu")
    assert lines[0].startswith("loading the model ")
    assert "%" not in lines[0]
    assert any("会议" in line for line in lines)


def test_json_has_one_object_per_file_and_a_failed_file_does_not_affect_others(talk: Path) -> None:
    junk = talk.with_name("junk.wav")
    junk.write_bytes(b"no sound" * 100)
    done = process("transcribe", junk, talk, *NULL, "--json")
    assert done.returncode == 1
    said = {Path(line["file"]).name: line for line in map(json.loads, done.stdout.splitlines())}
    assert said["talk.wav"]["ok"] is True
    assert said["talk.wav"]["transcript"]["schema"] == "dropscribe/transcript/1"
    assert said["junk.wav"]["ok"] is False
    assert said["junk.wav"]["error"]["remedy"]
