"""Outputs that cannot be written: the recording is recognised once, and only publishing is tried again."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dropscribe.files import Readers
from dropscribe.transcript.placing import publish
from tests.support.publishing import House


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "house", profile={"output_dir": tmp_path / "out", "timing_log": False}).make()


def waiting(house: House) -> list[tuple[str, str, str]]:
    """Reason code, reason and remedy of each queued job."""
    return house.rows("select reason_code, reason, remedy from jobs where state = 'queued' order by id")


def test_a_file_in_place_of_the_folder_costs_one_recognition(house: House, tmp_path: Path) -> None:
    house.admit("a.wav", "一")
    (tmp_path / "out").write_text("mine")
    house.run(turns=70)
    ((code, reason, _),) = waiting(house)
    assert code == "storage"
    assert str(tmp_path / "out") in reason
    (tmp_path / "out").unlink()
    house.run()
    assert house.states() == {"done"}
    assert house.recognised == ["a.wav"]
    assert (tmp_path / "out" / "a.txt").read_text(encoding="utf-8").startswith("一\n")


@pytest.fixture
def quota(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Error numbers of the next temporaries that publishing creates; the last one for all further ones."""
    codes: list[int] = []
    create = publish._open_new

    def refuse(directory: int, name: str, readers: Readers) -> tuple[str, int]:
        if codes:
            code = codes[0] if len(codes) == 1 else codes.pop(0)
            raise OSError(code, os.strerror(code))
        return create(directory, name, readers)

    monkeypatch.setattr(publish, "_open_new", refuse)
    yield codes
    codes.clear()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE])
def test_any_lasting_error_costs_one_recognition(house: House, quota: list[int], code: int) -> None:
    house.admit("a.wav", "一")
    house.admit("copy.wav", "一")
    quota.append(code)
    house.run(turns=200)
    assert [w[0] for w in waiting(house)] == ["storage", "storage"]
    # At first, and after 30, 90 and more than 200 s.
    assert house.rows("select unpublished from jobs") == [(3,), (3,)]
    house.admit("new.wav", "二")
    quota.clear()
    house.run()
    assert house.states() == {"done"}
    assert house.recognised == ["a.wav", "new.wav"]
    assert house.rows("select count(*) from segments where job_id = 1") == [(1,)]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG])
def test_a_name_that_is_not_allowed_fails_the_job_and_keeps_its_text(
    house: House, quota: list[int], code: int
) -> None:
    """So FAT and NTFS answer to a colon, in an output_dir on another disk."""
    house.admit("12:30.wav", "一")
    quota.append(code)
    house.run()
    assert house.rows("select state, reason_code from jobs") == [("failed", "output_name")]
    ((reason, remedy),) = house.rows("select reason, remedy from jobs")
    assert "12:30.txt" in reason
    assert "rename" in remedy
    assert house.rows("select text from segments") == [("一",)]


def test_a_path_that_would_be_too_long_fails_before_it_is_recognised(tmp_path: Path) -> None:
    house = House(tmp_path / "house", profile={"output_dir": tmp_path / "/".join(["x" * 250] * 16)}).make()
    house.admit("a" * 60 + ".wav", "一")
    house.run()
    assert house.rows("select state, reason_code from jobs") == [("failed", "output_name")]
    assert house.recognised == []


def test_a_recording_whose_path_has_no_room_for_a_transcript_fails_at_once(tmp_path: Path) -> None:
    """The name of a transcript is longer by a few bytes."""
    house = House(tmp_path / "house").make()
    deep = house.inbox
    while len(bytes(deep)) < 4090 - 6:
        deep /= "x" * min(250, 4090 - 6 - len(bytes(deep)) - 1 or 1)
    deep.mkdir(parents=True)
    house.admit(str((deep / "a.wav").relative_to(house.inbox)), "一")
    house.run()
    assert house.rows("select state, reason_code from jobs") == [("failed", "output_name")]
    assert house.recognised == []
    # The note has room: its folder is opened first.
    assert {p.name for p in deep.iterdir()} == {"a.wav", "a.failed.txt"}


def test_another_profile_gets_its_own_files_from_the_same_result(tmp_path: Path) -> None:
    house = House(tmp_path / "house", profile={"formats": ["txt"], "timing_log": False}).make()
    house.admit("a.wav", "一")
    house.run()
    house.profiles = {"court": {"formats": ["srt"], "timing_log": False}}
    house.admit("b.wav", "一", profile="court")
    house.run()
    assert house.visible().keys() == {"a.txt", "b.srt"}
    assert house.recognised == ["a.wav"]
