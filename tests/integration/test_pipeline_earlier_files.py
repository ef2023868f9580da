"""`transcribe --write` again: files of an earlier run are replaced, those of anybody else never."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dropscribe.pipeline.oneshot import WrittenFile, write_beside
from dropscribe.transcript import render
from dropscribe.transcript.timing import timing_log
from dropscribe.transcript.types import Segment, Timings, Transcript
from tests.support.transcripts import tokens, transcript

CONTENT = b"a recording"
ENDINGS = ("txt", "srt", "vtt", "json", "timing.json")


def made(*texts: str, content: bytes = CONTENT, at: float = 1_772_352_000.25, job: int = 0) -> Transcript:
    """Transcript of a one-shot run."""
    said = [
        Segment(i, i * 1000, i * 1000 + 900, text, tokens(list(text), i * 1000))
        for i, text in enumerate(texts)
    ]
    return replace(
        transcript(*said, timings=Timings(seconds=(("vad", 0.125),), wall_s=1.5)),
        sha256=hashlib.sha256(content).hexdigest(),
        job_id=job,
        created_at=at,
    )


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    path = tmp_path / "talk.wav"
    path.write_bytes(CONTENT)
    return path


def names(files: list[WrittenFile]) -> list[str]:
    return [file.path.name for file in files]


def all_files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_a_second_run_replaces_the_files_of_the_first(talk: Path) -> None:
    first = write_beside(talk, made("早上好"))
    assert not any(file.replaced for file in first)
    second = write_beside(talk, made("早上好吗", at=1_772_352_777.5))
    assert names(second) == [f"talk.{ending}" for ending in ENDINGS]
    assert all(file.replaced for file in second)
    assert set(all_files(talk.parent)) == {"talk.wav", *names(second)}
    assert talk.with_suffix(".txt").read_text(encoding="utf-8") == "早上好吗\n"
    assert json.loads(talk.with_suffix(".json").read_bytes())["text"] == "早上好吗"


def test_one_format_is_replaced_beside_the_others(talk: Path) -> None:
    write_beside(talk, made("早上好"))
    (written,) = write_beside(talk, made("早上好吗"), "srt")
    assert (written.path.name, written.replaced) == ("talk.srt", True)


def test_the_same_text_without_a_json_is_its_own_proof(talk: Path) -> None:
    write_beside(talk, made("早上好"), "txt")
    (written,) = write_beside(talk, made("早上好", at=1.0), "txt")
    assert (written.path.name, written.replaced) == ("talk.txt", True)
    (other,) = write_beside(talk, made("晚上好"), "txt")
    assert (other.path.name, other.replaced) == ("talk.wav.txt", False)


def test_the_second_name_is_found_again_too(talk: Path) -> None:
    mine = talk.with_suffix(".srt")
    mine.write_text("mine", encoding="utf-8")
    assert names(write_beside(talk, made("早上好"))) == [f"talk.wav.{ending}" for ending in ENDINGS]
    second = write_beside(talk, made("晚上好"))
    assert names(second) == [f"talk.wav.{ending}" for ending in ENDINGS]
    assert all(file.replaced for file in second)
    assert mine.read_text(encoding="utf-8") == "mine"


def edited_text(talk: Path) -> None:
    talk.with_suffix(".txt").write_text("corrected by hand\n", encoding="utf-8")


def edited_json(talk: Path) -> None:
    path = talk.with_suffix(".json")
    path.write_bytes(path.read_bytes().replace("早上好".encode(), "晚上好".encode()) + b"\n")


def of_a_daemon(talk: Path) -> None:
    written = made("早上好", job=7)
    files = render.render_all(written, render.RENDERERS, render.Options())
    files["timing.json"] = timing_log(written, started=1.0, ended=2.0)
    for ending, data in files.items():
        talk.with_suffix(f".{ending}").write_bytes(data)


def of_another_recording(talk: Path) -> None:
    talk.write_bytes(b"recorded over")


def a_link(talk: Path) -> None:
    path = talk.with_suffix(".json")
    path.rename(talk.with_name("elsewhere"))
    path.symlink_to(talk.with_name("elsewhere"))


def a_folder(talk: Path) -> None:
    talk.with_suffix(".vtt").unlink()
    talk.with_suffix(".vtt").mkdir()


@pytest.mark.parametrize(
    "change", [edited_text, edited_json, of_a_daemon, of_another_recording, a_link, a_folder]
)
def test_what_is_not_of_an_earlier_run_stays(talk: Path, change: Callable[[Path], None]) -> None:
    write_beside(talk, made("早上好"))
    change(talk)
    before = {p.name: None if p.is_dir() else p.read_bytes() for p in talk.parent.iterdir()}
    written = write_beside(talk, made("再见", content=talk.read_bytes()))
    assert names(written) == [f"talk.wav.{ending}" for ending in ENDINGS]
    assert not any(file.replaced for file in written)
    for name, data in before.items():
        path = talk.with_name(name)
        assert (None if path.is_dir() else path.read_bytes()) == data


def test_recordings_with_the_same_stem_keep_their_own_files(talk: Path) -> None:
    other = talk.with_suffix(".mp3")
    other.write_bytes(b"another one")
    for _ in range(2):
        write_beside(talk, made("早上好"))
        written = write_beside(other, made("再见", content=b"another one"))
        assert names(written) == [f"talk.mp3.{ending}" for ending in ENDINGS]
    assert talk.with_suffix(".txt").read_text(encoding="utf-8") == "早上好\n"
    assert len(all_files(talk.parent)) == 2 + 2 * len(ENDINGS)


def test_the_options_of_a_profile_shape_the_files_and_find_them_again(talk: Path) -> None:
    options = render.Options(numbers="written")
    first = write_beside(talk, made("三百二十元"), options=options)
    assert talk.with_suffix(".txt").read_text(encoding="utf-8") == "320元\n"
    second = write_beside(talk, made("三百二十一元"), options=options)
    assert names(second) == names(first)
    assert all(file.replaced for file in second)
