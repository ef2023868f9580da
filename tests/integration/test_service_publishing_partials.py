"""Partial texts on a real disk with a real ledger: owned files are removed, files of others stay."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dropscribe.config import Settings
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import Claim, OutputIntent
from dropscribe.pipeline.assembly import Heard
from dropscribe.service.activity import Activities
from dropscribe.service.publishing import partial_writer as module
from dropscribe.service.publishing.partial_writer import Partials
from dropscribe.transcript.placing.publish import PendingFile, publish, withdraw
from tests.support.ledgers import ENGINE, admission, claim_all, finish_of
from tests.support.occupants import OCCUPANTS


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def heard(segments: int) -> Heard:
    return Heard(started=0.0, segments=segments, until_ms=segments * 1_000, declared_ms=60_000)


class Bench:
    """A ledger and a writer of one folder; a writer can be discarded, as by a kill."""

    def __init__(self, root: Path, ledger: Ledger) -> None:
        self.root = root
        self.ledger = ledger
        self.settings = Settings.model_validate({"folder": [{"path": root}]})
        self.deaths: list[BaseException] = []

    def writer(self) -> Partials:
        partials = Partials(
            self.ledger, lambda: self.settings, lambda: ENGINE, self.deaths.append, activities=Activities()
        )
        partials.start()
        return partials

    def claim(self, name: str = "a.wav") -> Claim:
        path = self.root / name
        path.write_bytes(b"sound")
        self.ledger.admit([admission(name, name, path=path, folder=self.root)], 100.0)
        return next(c for c in claim_all(self.ledger) if c.path == path)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    root = tmp_path / "inbox"
    root.mkdir()
    ledger = open_ledger(DatabaseLocation(tmp_path / "jobs.db"))
    made = Bench(root, ledger)
    yield made
    ledger.close()
    assert made.deaths == []


def settle(partials: Partials) -> None:
    """Wait until all texts passed to the writer have been handled."""
    idle = threading.Event()
    while not idle.wait(0.005):
        with partials._changed:
            if not partials._pending and not partials._dropped and partials._writing is None:
                return


def stop(partials: Partials) -> None:
    partials.ask_to_stop()
    assert partials.join(60.0)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and line[0] != "["]


def test_partial_text_is_written_updated_and_removed_with_the_transcript(bench: Bench) -> None:
    claim, partials = bench.claim(), bench.writer()
    partial = bench.root / "a.partial.txt"
    for texts in (("one",), ("one", "two"), ("one", "two", "three")):
        partials.put(claim, texts, heard(len(texts)), 0.0)
        settle(partials)
        assert lines(partial) == list(texts)
        on_record = bench.ledger.partials()
        assert {o.path for o in on_record} == {partial}
        assert on_record[-1].sha256 == sha(partial.read_bytes())
        # The record of the previous text is kept until the next one is written, no longer.
        assert len(on_record) <= 2
    partials.end({claim.job_id})
    assert names(bench.root) == ["a.wav"]
    assert bench.ledger.partials() == []
    stop(partials)


def test_a_partial_text_is_as_private_as_its_recording(bench: Bench) -> None:
    claim, partials = bench.claim(), bench.writer()
    for mode in (0o600, 0o644):
        claim.path.chmod(mode)
        partials.put(claim, ("one",) * mode, heard(1), 0.0)
        settle(partials)
        assert (bench.root / "a.partial.txt").stat().st_mode & 0o044 == mode & 0o044
    stop(partials)


def test_a_job_that_is_dropped_shows_nothing_and_its_next_try_does(bench: Bench) -> None:
    claim, partials = bench.claim(), bench.writer()
    partials.put(claim, ("one",), heard(1), 0.0)
    settle(partials)
    partials.drop(claim.job_id)
    settle(partials)
    partials.put(claim, ("again",), heard(1), 0.0)
    settle(partials)
    assert lines(bench.root / "a.partial.txt") == ["again"]
    stop(partials)
    assert names(bench.root) == ["a.wav"]


def test_text_of_a_next_try_is_not_taken_for_that_of_the_dropped_one(bench: Bench) -> None:
    claim = bench.claim()
    partials = Partials(
        bench.ledger, lambda: bench.settings, lambda: ENGINE, bench.deaths.append, activities=Activities()
    )
    partials.put(claim, ("one",), heard(1), 0.0)
    partials.drop(claim.job_id)
    partials.put(claim, ("again",), heard(1), 0.0)
    partials.start()
    settle(partials)
    assert lines(bench.root / "a.partial.txt") == ["again"]
    stop(partials)


def test_the_next_start_removes_what_was_left(bench: Bench) -> None:
    first = bench.writer()
    first.put(bench.claim(), ("one",), heard(1), 0.0)
    settle(first)  # then it is killed
    assert (bench.root / "a.partial.txt").exists()
    second = bench.writer()
    stop(second)
    assert names(bench.root) == ["a.wav"]
    assert bench.ledger.partials() == []
    first._written.clear()
    stop(first)


def test_the_next_start_leaves_what_somebody_changed_meanwhile(bench: Bench) -> None:
    first = bench.writer()
    first.put(bench.claim(), ("one",), heard(1), 0.0)
    settle(first)
    (bench.root / "a.partial.txt").write_bytes(b"my own notes")
    stop(bench.writer())
    assert (bench.root / "a.partial.txt").read_bytes() == b"my own notes"
    assert bench.ledger.partials() == []
    stop(first)


def test_a_kill_between_record_and_disk_leaves_neither_the_old_nor_the_new_text(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, first = bench.claim(), bench.writer()
    first.put(claim, ("one",), heard(1), 0.0)
    settle(first)
    old = (bench.root / "a.partial.txt").read_bytes()

    def refuse(_files: list[PendingFile]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "publish", refuse)
    first.put(claim, ("one", "two"), heard(2), 0.0)
    settle(first)
    assert (bench.root / "a.partial.txt").read_bytes() == old
    assert len(bench.ledger.partials()) == 2
    stop(bench.writer())
    assert names(bench.root) == ["a.wav"]
    first._written.clear()
    stop(first)


def test_files_of_others_at_the_name_are_left_alone(bench: Bench) -> None:
    partials = bench.writer()
    taken, later = bench.claim("taken.wav"), bench.claim("later.wav")
    for name in ("taken", "later"):
        if name == "later":
            partials.put(later, ("one",), heard(1), 0.0)
            settle(partials)
        (bench.root / f"{name}.partial.txt").write_bytes(b"mine")
    for claim in (taken, later):
        partials.put(claim, ("one", "two"), heard(2), 0.0)
    settle(partials)
    stop(partials)
    for name in ("taken", "later"):
        assert (bench.root / f"{name}.partial.txt").read_bytes() == b"mine"
    assert bench.ledger.partials() == []


def test_a_job_that_is_not_ours_any_more_writes_nothing(bench: Bench) -> None:
    claim, partials = bench.claim(), bench.writer()
    bench.ledger.cancel(claim.job_id, 200.0, "asked to")
    partials.put(claim, ("one",), heard(1), 0.0)
    settle(partials)
    stop(partials)
    assert names(bench.root) == ["a.wav"]
    assert bench.ledger.partials() == []


def test_recordings_of_one_stem_have_partial_texts_of_their_own(bench: Bench) -> None:
    partials = bench.writer()
    wav = bench.claim("a.wav")
    mp3 = bench.claim("a.mp3")
    partials.put(wav, ("wav",), heard(1), 0.0)
    partials.put(mp3, ("mp3",), heard(1), 0.0)
    settle(partials)
    assert lines(bench.root / "a.wav.partial.txt") == ["wav"]
    assert lines(bench.root / "a.mp3.partial.txt") == ["mp3"]
    stop(partials)
    assert names(bench.root) == ["a.mp3", "a.wav"]


@pytest.mark.parametrize("changes", [{"formats": ["json"]}, {"partial_after_s": 0}])
def test_a_profile_without_txt_or_without_partial_texts_wants_none(
    bench: Bench, changes: dict[str, object]
) -> None:
    claim, partials = bench.claim(), bench.writer()
    assert partials.wants(claim, heard(1), 1_000.0)
    bench.settings = Settings.model_validate(
        {"folder": [{"path": bench.root}], "profiles": {"default": changes}}
    )
    assert not partials.wants(claim, heard(1), 1_000.0)
    stop(partials)


def test_partial_texts_are_not_outputs_of_the_job(bench: Bench) -> None:
    claim, partials = bench.claim(), bench.writer()
    partials.put(claim, ("one",), heard(1), 0.0)
    settle(partials)
    assert bench.ledger.outputs_of(claim.path) == []
    txt = OutputIntent("txt", bench.root / "a.txt", sha(b"one"))
    assert bench.ledger.intend([(claim.job_id, claim.generation, [txt])], 101.0) == []
    bench.ledger.finish([finish_of(claim, "one")], 102.0)
    job = bench.ledger.job(claim.job_id)
    assert job is not None
    assert [(o.format, o.published) for o in job.outputs] == [("txt", True)]
    # Finishing neither publishes it as a transcript nor removes its record.
    assert [o.path.name for o in bench.ledger.partials()] == ["a.partial.txt"]
    stop(partials)


def test_forgetting_one_text_leaves_another_of_the_same_name_on_record(bench: Bench) -> None:
    claim = bench.claim()
    path = bench.root / "a.partial.txt"
    held = (claim.job_id, claim.generation)
    assert bench.ledger.intend_partial(held, path, "old", [], 100.0)
    (old,) = bench.ledger.partials()
    assert bench.ledger.intend_partial(held, path, "new", ["old"], 101.0)
    bench.ledger.forget_partials([old])
    assert [o.sha256 for o in bench.ledger.partials()] == ["new"]


def test_withdraw_removes_only_what_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    publish([PendingFile(path, b"ours")])
    assert withdraw(path, dict.fromkeys([sha(b"something else")]))
    assert path.read_bytes() == b"ours"
    assert withdraw(path, dict.fromkeys([sha(b"something else"), sha(b"ours")]))
    assert not path.exists()
    assert withdraw(path, dict.fromkeys([sha(b"ours")]))


def make_link(path: Path, target: Path) -> None:
    path.symlink_to(target)


def make_folder(path: Path, target: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [make_link, make_folder])
def test_withdraw_leaves_what_is_no_plain_file(tmp_path: Path, make: Callable[[Path, Path], None]) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"ours")
    path = tmp_path / "x.txt"
    make(path, target)
    assert withdraw(path, dict.fromkeys([sha(b"ours")]))
    assert os.path.lexists(path)
    assert target.read_bytes() == b"ours"


def test_withdraw_accepts_a_missing_folder(tmp_path: Path) -> None:
    assert not withdraw(tmp_path / "share" / "x.txt", dict.fromkeys([sha(b"ours")]))


@pytest.mark.parametrize("kind", OCCUPANTS)
def test_a_foreign_file_at_its_name_ends_the_partial_text_only(bench: Bench, kind: str) -> None:
    claim, other, partials = bench.claim("a.wav"), bench.claim("b.wav"), bench.writer()
    partials.put(claim, ("one",), heard(1), 0.0)
    settle(partials)
    place = bench.root / "a.partial.txt"
    with OCCUPANTS[kind](place):
        before = place.lstat()
        partials.put(claim, ("one", "two"), heard(2), 0.0)
        partials.put(other, ("other",), heard(1), 0.0)
        settle(partials)
        assert lines(bench.root / "b.partial.txt") == ["other"]
        partials.end({claim.job_id, other.job_id})
        stop(partials)
        assert place.lstat().st_ino == before.st_ino
    assert not (bench.root / "b.partial.txt").exists()
