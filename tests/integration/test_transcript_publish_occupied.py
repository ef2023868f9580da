"""Foreign objects at names that dropscribe uses are left alone, not read, and block nothing."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest

from dropscribe.transcript.placing.publish import PendingFile, publish, sweep, temporary_path, withdraw
from dropscribe.transcript.placing.standing import occupied
from tests.support.occupants import OCCUPANTS
from tests.support.publishing import FORMATS, House

#: Time limit of a run, seconds.
DEADLINE_S = 60.0


def run(house: House) -> None:
    """Run publishing in a thread; if it hangs the test fails and the thread is abandoned."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            house.run()
        except BaseException as e:
            errors.append(e)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(DEADLINE_S)
    assert not thread.is_alive(), "publishing hangs"
    assert not errors, errors


def same(path: Path, before: os.stat_result) -> bool:
    """True if the object is the one that was put there."""
    after = path.lstat()
    return (after.st_ino, stat.S_IFMT(after.st_mode)) == (before.st_ino, stat.S_IFMT(before.st_mode))


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A `House` in which `b.wav` has a transcript and newer content, and a new recording waits."""
    made = House(tmp_path / "house").make()
    made.admit("b.wav", "as it was")
    made.run()
    made.admit("b.wav", "as it is")
    made.admit("a.wav", "new")
    return made


def text(house: House, name: str) -> str:
    return (house.inbox / name).read_text(encoding="utf-8").splitlines()[0]


@pytest.mark.parametrize("kind", OCCUPANTS)
@pytest.mark.parametrize("name", ["b.txt", "b.timing.json"])
def test_at_the_name_of_a_transcript(house: House, kind: str, name: str) -> None:
    place = house.inbox / name
    with OCCUPANTS[kind](place):
        before = place.lstat()
        run(house)
        assert same(place, before)
        assert house.states() == {"done"}
        assert {f"a.{f}" for f in FORMATS} <= {p.name for p in house.inbox.iterdir()}
        assert text(house, "a.txt") == "new"
        assert text(house, "b.wav.txt") == "as it is", "other names were planned"
        assert {f"b.wav.{f}" for f in FORMATS} <= {p.name for p in house.inbox.iterdir()}
        assert [p.name for p in house.inbox.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("kind", OCCUPANTS)
def test_at_the_name_of_a_temporary(house: House, kind: str) -> None:
    place = temporary_path(house.inbox / "b.txt")
    with OCCUPANTS[kind](place):
        before = place.lstat()
        run(house)
        assert house.states() == {"done"}
        assert text(house, "a.txt") == "new"
        assert text(house, "b.txt") == "as it is"
        left = [p.name for p in house.inbox.iterdir() if p.name.startswith(".")]
        # A regular file of that name counts as left by a killed daemon and is removed.
        assert left == [] or same(place, before)
        assert left in ([], [place.name])


@pytest.mark.parametrize("kind", OCCUPANTS)
def test_at_a_name_that_is_withdrawn_or_swept(tmp_path: Path, kind: str) -> None:
    (tmp_path / "b.wav").write_bytes(b"sound")
    place = tmp_path / "b.txt"
    publish([PendingFile(place, b"ours")])
    kept = place.read_bytes()
    with OCCUPANTS[kind](place):
        before = place.lstat()
        assert withdraw(place, {"0" * 64: None, "1" * 64: len(kept)})
        assert same(place, before)
    other = temporary_path(tmp_path / "c.txt")
    with OCCUPANTS[kind](other):
        sweep(tmp_path)


def test_a_file_of_an_older_version_whose_size_is_not_on_record_is_known_by_its_bytes(house: House) -> None:
    with closing(sqlite3.connect(house.database)) as connection, connection:
        connection.execute("update outputs set bytes = null")
    run(house)
    assert text(house, "b.txt") == "as it is"
    assert house.states() == {"done"}


def test_nothing_stands_below_an_output_dir_that_is_to_be_made(tmp_path: Path) -> None:
    root = tmp_path / "transcripts"
    path = root / "calls" / "a.txt"
    assert not occupied(path, root)
    publish([PendingFile(path, b"x", root=root)])
    assert occupied(path, root)
