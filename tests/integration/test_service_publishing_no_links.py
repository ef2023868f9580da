"""File systems without links (exFAT, FAT, some network shares): a kill while a transcript gets its name leaves nothing behind."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dropscribe.transcript.placing import rename
from dropscribe.transcript.placing.publish import sweep, temporary_path
from tests.support.publishing import House


def no_link(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(os, "link", no_link)
    monkeypatch.setattr(rename, "rename_without_replacing", lambda *_: False)
    return House(tmp_path / "house", profile={"formats": ["txt", "srt"], "timing_log": False}).make()


def killed(work: Callable[[], None], nth: int) -> None:
    """Run `work` in a process that is killed between the claim of its `nth` name and its replacement."""
    child = os.fork()
    if child == 0:
        replace, calls = rename.replace, [0]

        def die(directory: int, source: str, target: str) -> None:
            calls[0] += 1
            if calls[0] == nth:
                os._exit(9)
            replace(directory, source, target)

        rename.replace = die
        work()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("nth", [1, 2])
def test_the_next_start_completes_what_a_kill_left(house: House, nth: int) -> None:
    house.admit("a.wav", "一")
    killed(house.run, nth)
    left = house.visible()
    assert [name for name, data in left.items() if not data], "the kill left an empty file"
    house.run()
    assert house.visible().keys() == {"a.txt", "a.srt"}
    assert all(house.visible().values())
    assert [p for p in house.inbox.iterdir() if p.name.startswith(".")] == []
    assert house.states() == {"done"}


def test_it_is_swept_when_the_recording_is_gone_meanwhile(house: House) -> None:
    (house.inbox / "deep").mkdir()
    house.admit("deep/a.wav", "一")
    killed(house.run, 1)
    assert (house.inbox / "deep/a.txt").read_bytes() == b""
    (house.inbox / "deep/a.wav").unlink()
    house.run(turns=2)
    assert list((house.inbox / "deep").iterdir()) == []


def test_a_note_is_completed_too(house: House) -> None:
    house.admit("a.wav", "")
    killed(house.run, 1)
    assert house.visible() == {"a.failed.txt": b""}
    house.run()
    assert house.visible().keys() == {"a.failed.txt"}
    assert house.visible()["a.failed.txt"].startswith(b"a.wav was not transcribed")


def test_an_empty_file_of_somebody_else_stays(house: House) -> None:
    """Even with a stale temporary of ours beside it, unless that was about to replace it."""
    target = house.inbox / "a.txt"
    target.touch()
    temporary_path(target).write_bytes(b"what we wrote for another recording")
    house.admit("a.wav", "一")
    house.run()
    assert house.visible().keys() == {"a.txt", "a.wav.txt", "a.wav.srt"}
    assert target.read_bytes() == b""


def test_without_a_record_no_visible_file_is_removed(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.touch()
    temporary_path(target).write_bytes(b"x")
    assert sweep(tmp_path) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
