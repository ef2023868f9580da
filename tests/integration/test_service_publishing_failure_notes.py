"""Notes beside recordings that failed or wait: there when they are to be, whole, ours, and gone when it is over."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from structlog.testing import capture_logs

from dropscribe.config import Settings
from dropscribe.errors import StorageError
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.ledger.records import Admission
from dropscribe.service.activity import Activities
from dropscribe.service.publishing.failure_notes import FailureNotes
from dropscribe.transcript.placing import publish
from tests.support.daemon_process import wait_until
from tests.support.publishing import House

if TYPE_CHECKING:
    from dropscribe.ledger.records import Claim

FAILED = """a.wav was not transcribed (dropscribe, job 1).
Reason: it has no audio
What to do: record it again
This file goes when the recording is transcribed, replaced or removed.
"""


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "house", profile={"formats": ["txt"], "timing_log": False}).make()


def notes(house: House) -> dict[str, str]:
    return {name: data.decode() for name, data in house.visible().items() if name.endswith(".failed.txt")}


def fail(house: House, name: str = "a.wav") -> None:
    house.admit(name, "")
    house.run()


def settle(house: House) -> None:
    """Check the notes once, as a daemon does at its start."""
    died: list[BaseException] = []
    settings = Settings.model_validate(
        {"folder": [{"path": house.inbox}], "profiles": {"default": house.profile}}
    )
    with closing(open_ledger(DatabaseLocation(house.database))) as ledger:
        checked = FailureNotes(
            ledger, lambda: settings, died.append, activities=Activities(), wall=lambda: 1000.0
        )
        checked.start()
        assert checked.stop(30.0)
    assert died == []


def test_a_failed_recording_has_a_note_with_reason_and_remedy(house: House) -> None:
    house.admit("b.wav", "二")
    house.run()
    house.texts["a.wav"] = ""
    house.admit("a.wav", "")
    house.run()
    found = notes(house)
    assert found == {"a.failed.txt": FAILED.replace("job 1", "job 2")}
    # It is none of the transcripts, and stays over a restart.
    assert house.rows("select count(*) from jobs where state = 'failed'") == [(1,)]
    house.run()
    assert notes(house) == found


def test_it_goes_when_new_content_is_transcribed_and_when_the_recording_is_removed(house: House) -> None:
    fail(house, "a.wav")
    fail(house, "b.wav")
    assert notes(house).keys() == {"a.failed.txt", "b.failed.txt"}
    house.admit("a.wav", "一")
    (house.inbox / "b.wav").unlink()
    house.run()
    assert house.visible().keys() == {"a.txt"}
    assert house.rows("select count(*) from outputs where format = 'failed'") == [(0,)]


def test_another_failure_replaces_it(house: House) -> None:
    fail(house)
    with closing(open_ledger(DatabaseLocation(house.database))) as ledger:
        ledger.admit([_changed(house)], 2.0)
    house.run()
    assert notes(house) == {"a.failed.txt": FAILED.replace("job 1", "job 2")}


def _changed(house: House) -> Admission:
    return Admission(
        house.inbox / "a.wav", house.inbox, 16, 2, 1, "sha of others", "default", "mini|vad", True, 0.0, 3
    )


def test_files_of_others_stay(house: House) -> None:
    (house.inbox / "a.failed.txt").write_text("mine")
    fail(house)
    assert notes(house) == {"a.failed.txt": "mine", "a.wav.failed.txt": FAILED}
    # One that somebody has written into is theirs, too.
    (house.inbox / "a.wav.failed.txt").write_text("mine now")
    house.admit("a.wav", "一")
    house.run()
    assert notes(house) == {"a.failed.txt": "mine", "a.wav.failed.txt": "mine now"}


def test_the_transcript_of_a_recording_with_such_a_name_is_no_note(house: House) -> None:
    house.admit("a.failed.wav", "一")
    house.run()
    fail(house)
    assert house.visible()["a.failed.txt"].startswith("一".encode())
    assert notes(house)["a.wav.failed.txt"].startswith("a.wav was not transcribed")
    # The names of transcripts do not depend on notes.
    house.admit("a.wav", "二")
    house.run()
    assert house.visible().keys() == {"a.failed.txt", "a.txt"}


def test_a_note_that_was_deleted_is_not_written_again(house: House) -> None:
    fail(house)
    (house.inbox / "a.failed.txt").unlink()
    house.run()
    assert notes(house) == {}


def test_none_is_written_where_the_profile_says_so(house: House) -> None:
    fail(house)
    house.profile["failed_note"] = False
    fail(house, "b.wav")
    assert notes(house) == {}


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Endings of files that cannot be written while they are in this list."""
    endings: list[str] = []
    create = publish._open_new

    def refuse(directory: int, name: str, *more: object) -> tuple[str, int]:
        if any(ending in name for ending in endings):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return create(directory, name, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(publish, "_open_new", refuse)
    yield endings
    endings.clear()


def test_a_recording_that_waits_has_one_until_it_is_done(house: House, no_room: list[str]) -> None:
    no_room.append(".a.txt")
    house.admit("a.wav", "一")
    house.run(turns=5)
    (text,) = notes(house).values()
    assert text.startswith("a.wav waits (dropscribe, job 1).\nReason: ")
    assert "No space left" in text
    no_room.clear()
    house.run()
    assert house.visible().keys() == {"a.txt"}


def test_nothing_else_depends_on_it(house: House, no_room: list[str]) -> None:
    no_room.append(".failed.txt")
    fail(house)
    house.admit("b.wav", "二")
    house.run()
    assert house.visible().keys() == {"b.txt"}
    assert house.rows("select state from jobs order by id") == [("failed",), ("done",)]
    # Once there is room the next start writes it.
    no_room.clear()
    house.run()
    assert notes(house) == {"a.failed.txt": FAILED}


@pytest.mark.parametrize("call", ["link", "fsync", "unlink"])
def test_a_kill_at_any_point_leaves_no_half_note(house: House, call: str) -> None:
    fail(house)
    whole = house.visible()
    (house.inbox / "a.failed.txt").unlink()
    with closing(open_ledger(DatabaseLocation(house.database))) as ledger:
        ledger.settle_notes([], ledger.notes_of([house.inbox / "a.wav"])[0].notes)
    child = os.fork()
    if child == 0:
        setattr(os, call, lambda *_a, **_k: os._exit(9))
        settle(house)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert house.visible() in ({}, whole)
    settle(house)
    assert house.visible() == whole
    house.admit("a.wav", "一")
    house.run()
    assert house.visible().keys() == {"a.txt"}
    assert house.rows("select count(*) from outputs where format = 'failed'") == [(0,)]


def test_a_database_that_is_away_is_logged_once_each_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(house)
    settings = Settings.model_validate({"folder": [{"path": house.inbox}]})
    away = StorageError("no server", operation="read notes", path=Path("/db"), remedy="start it")
    with closing(open_ledger(DatabaseLocation(house.database))) as ledger:
        (failed,) = ledger.jobs(limit=1)
        read, refusing, answered = ledger.notes_of, True, 0

        def notes_of(jobs: object) -> object:
            nonlocal answered
            answered += 1
            if refusing:
                raise away
            return read(jobs)  # type: ignore[arg-type]

        monkeypatch.setattr(ledger, "notes_of", notes_of)
        checked = FailureNotes(
            ledger, lambda: settings, lambda _: None, activities=Activities(), wall=lambda: 1000.0
        )
        claim = SimpleNamespace(folder=house.inbox, path=failed.recording)
        with capture_logs() as logged:
            checked.start()
            for number, refusing in enumerate((True, True, False, True, True), start=2):  # noqa: B007
                before = number - 1
                wait_until(lambda: answered >= before, "the one before is answered")  # noqa: B023
                checked.take(cast("Claim", claim), done=False)
                wait_until(lambda: answered >= number, "it is answered")  # noqa: B023
            assert checked.stop(30.0)
    assert [line["event"] for line in logged] == [f"notes of failed jobs wait: {away}"] * 2
