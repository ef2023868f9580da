"""The runner of retention with a real ledger and real files: retention of each kind, and transcripts that follow a rename."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from dropscribe.config import Settings
from dropscribe.errors import StorageError
from dropscribe.files import FileSignature
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import OutputIntent, Redo
from dropscribe.service.activity import Activities
from dropscribe.service.keeping.runner import RetentionRunner
from tests.support.daemon_process import wait_until
from tests.support.ledgers import admission, claim_all, finish_of, intend

DAY = 86_400.0


@dataclass
class House:
    """A watched folder `in`, an archive, and a runner whose clocks are set by hand. Jobs are done at time 1000."""

    root: Path
    ledger: Ledger
    profile: dict[str, Any] = field(default_factory=dict)
    away: set[Path] = field(default_factory=set)
    now: float = 1000.0
    clock: float = 0.0

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.runner = self.made()

    @property
    def folder(self) -> Path:
        return self.root / "in"

    def settings(self) -> Settings:
        raw = {"folder": [{"path": str(self.folder)}], "profiles": {"default": self.profile}}
        return Settings.model_validate(raw)

    def made(self) -> RetentionRunner:
        runner = RetentionRunner(
            self.ledger, self.settings, lambda folder: folder not in self.away, lambda: None,
            activities=Activities(), clock=lambda: self.clock, wall=lambda: self.now,
        )  # fmt: skip
        runner.start()
        return runner

    def transcribed(self, name: str, content: str = "", outputs: tuple[str, ...] = ("txt", "timing")) -> int:
        """A recording with its transcripts, on disk and on record; returns its job."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(content or name, encoding="utf-8")
        self.ledger.admit([self.admission(path)], 900.0)
        (claim,) = claim_all(self.ledger, 950.0)
        files = []
        for form in outputs:
            text = f"{form} of {name}".encode()
            to = path.with_name(path.stem + {"timing": ".timing.json"}.get(form, f".{form}"))
            to.write_bytes(text)
            files.append(OutputIntent(form, to, hashlib.sha256(text).hexdigest(), size=len(text)))
        intend(self.ledger, claim, files, 990.0)
        assert self.ledger.finish([finish_of(claim, "预算")], 1000.0) == []
        return claim.job_id

    def admission(self, path: Path, **changes: Any) -> Any:
        signature = FileSignature.of(path.stat())
        return admission(
            path.name, path=path, folder=self.folder, size=signature.size, mtime_ns=signature.mtime_ns,
            inode=signature.inode, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), **changes,
        )  # fmt: skip

    def sweep(self, until: Callable[[], object], what: str) -> None:
        """Let time pass for the runner until something has happened."""

        def passed() -> bool:
            self.look()
            return bool(until())

        wait_until(passed, what, 60)

    def look(self) -> None:
        """Let the runner do all that one sweep finds."""
        self.clock += 6.0
        self.runner.tend()
        wait_until(lambda: not self.runner.busy or not self.runner.alive(), "the sweep ends", 60)
        assert self.runner.failure is None

    def where(self, job: int) -> Any:
        detail = self.ledger.job(job)
        return None if detail is None else detail.whereabouts

    def names(self) -> set[str]:
        return {
            str(p.relative_to(self.root))
            for p in self.root.rglob("*")
            if p.is_file() and "jobs.db" not in p.name
        }


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    ledger = open_ledger(DatabaseLocation(tmp_path / "jobs.db"))
    made = House(tmp_path, ledger)
    yield made
    assert made.runner.stop(10)
    ledger.close()


def test_a_database_that_is_away_is_logged_once_each_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = StorageError("no server", operation="read moves", path=Path("/db"), remedy="start it")

    def refused(*_: object) -> None:
        raise away

    with capture_logs() as logged:
        for _ in range(2):
            with monkeypatch.context() as patched:
                patched.setattr(type(house.ledger.keeping), "departures", refused)
                house.look()
                house.look()
            house.look()
    assert [line["event"] for line in logged] == [f"keeping waits: {away}"] * 2


def test_each_kind_goes_at_its_time_and_the_job_stays(house: House) -> None:
    house.profile |= {
        "after_done": "delete after 1 d", "keep_outputs": "delete after 2 d", "keep_text": "delete after 3 d",
        "keep_logs": "delete after 4 d",
    }  # fmt: skip
    job = house.transcribed("a.wav")
    everything = {"in/a.wav", "in/a.txt", "in/a.timing.json"}
    house.look()
    assert house.names() == everything
    house.now = 1000.0 + DAY
    house.sweep(lambda: house.where(job).departure == "deleted", "the recording goes")
    assert house.names() == everything - {"in/a.wav"}
    house.now += DAY
    house.sweep(lambda: house.where(job).files_removed_at, "the transcripts go")
    assert house.names() == {"in/a.timing.json"}
    assert house.ledger.search("预算") != []
    house.now += DAY
    house.sweep(lambda: house.where(job).text_removed_at, "the text goes")
    assert house.ledger.search("预算") == []
    house.now += DAY
    house.sweep(lambda: house.where(job).logs_removed_at, "the logs go")
    assert house.names() == set()
    detail = house.ledger.job(job)
    assert detail is not None
    assert detail.summary.state == "done"


def test_recordings_move_with_or_without_their_transcripts_and_replace_nothing(house: House) -> None:
    house.profile |= {"after_done": "move:done", "move_outputs": True}
    (house.folder / "done" / "sub").mkdir(parents=True)
    (house.folder / "done" / "sub" / "a.wav").write_text("mine", encoding="utf-8")
    job = house.transcribed("sub/a.wav")
    house.sweep(
        lambda: house.where(job).departure == "moved" and "in/done/sub/a (2).txt" in house.names(), "it moves"
    )
    assert house.names() == {
        f"in/done/sub/{name}" for name in ("a.wav", "a (2).wav", "a (2).txt", "a (2).timing.json")
    }
    assert house.where(job).departed == house.folder / "done" / "sub" / "a (2).wav"
    assert {o.path.name for o in house.ledger.outputs_of(house.folder / "sub" / "a.wav")} == {
        "a (2).txt", "a (2).timing.json",
    }  # fmt: skip
    house.profile = {"after_done": f"move:{house.root}/archive"}
    house.runner.reload()
    other = house.transcribed("b.wav")
    house.sweep(lambda: house.where(other).departure == "moved", "the other one moves")
    assert {"archive/b.wav", "in/b.txt", "in/b.timing.json"} < house.names()


@pytest.mark.parametrize("reason", ["edited", "missing", "none", "away", "failed", "waiting"])
def test_a_recording_stays_unless_its_transcripts_are_there(house: House, reason: str) -> None:
    house.profile |= {"after_done": "move:done"}
    outputs = ("timing",) if reason == "none" else ("txt", "timing")
    job = house.transcribed("a.wav", outputs=outputs)
    match reason:
        case "edited":
            (house.folder / "a.txt").write_text("corrected", encoding="utf-8")
        case "missing":
            (house.folder / "a.txt").unlink()
        case "away":
            house.away.add(house.folder)
        case "failed" | "waiting":
            house.ledger.redo([Redo(job, "default", "new|vad", share_result=True, max_attempts=1)], 1001.0)
            if reason == "failed":
                (claim,) = claim_all(house.ledger, 1002.0)
                house.ledger.fail(claim.job_id, claim.generation, 1003.0, code="c", reason="r", remedy="")
    sign = house.transcribed("sign.wav") if reason not in {"away", "waiting"} else None
    house.sweep(lambda: sign is None or house.where(sign).departure == "moved", "the others go on")
    house.look()
    assert (house.folder / "a.wav").exists()
    assert house.where(job).departure is None


def test_what_a_killed_daemon_began_is_finished(house: House) -> None:
    house.profile |= {"after_done": f"move:{house.root}/archive"}
    house.runner.stop(10)
    job = house.transcribed("a.wav")
    assert house.ledger.keeping.depart(job, house.root / "archive" / "a.wav", 1001.0) is not None
    house.runner = house.made()
    house.sweep(lambda: house.where(job).departure == "moved", "the move ends")
    house.runner.stop(10)
    house.profile["after_done"] = "delete after 9 d"
    other = house.transcribed("b.wav")
    gone = house.ledger.keeping.depart(other, None, 1001.0)
    assert gone is not None
    (house.folder / "b.wav").rename(house.folder / f".{gone.recording_id}.dropscribe.leaving")
    house.runner = house.made()
    house.sweep(lambda: house.where(other).departure == "deleted", "the deletion ends")
    assert house.names() == {"archive/a.wav", "in/a.txt", "in/a.timing.json", "in/b.txt", "in/b.timing.json"}


def test_what_a_killed_daemon_began_is_undone_if_nobody_wants_it_any_more(house: House) -> None:
    job = house.transcribed("a.wav")
    gone = house.ledger.keeping.depart(job, None, 1001.0)
    assert gone is not None
    (house.folder / "a.wav").rename(house.folder / f".{gone.recording_id}.dropscribe.leaving")
    house.sweep(lambda: house.where(job).departure is None, "it stays")
    assert (house.folder / "a.wav").read_text(encoding="utf-8") == "a.wav"


def test_a_changed_transcript_keeps_its_recording_when_transcripts_go_first(house: House) -> None:
    house.profile |= {"keep_outputs": "delete after 1 d", "after_done": "delete after 2 d"}
    job, sign = house.transcribed("a.wav"), house.transcribed("sign.wav")
    (house.folder / "a.txt").write_text("corrected", encoding="utf-8")
    house.now += DAY
    house.sweep(lambda: house.where(sign).files_removed_at, "the transcripts go")
    house.now += DAY
    house.sweep(lambda: house.where(sign).departure == "deleted", "the other recording goes")
    house.look()
    assert house.where(job).departure is None
    assert {"in/a.wav", "in/a.txt"} <= house.names()


def test_a_recording_that_somebody_took_away_is_not_told_to_be_deleted(house: House) -> None:
    house.profile |= {"after_done": "delete after 1 d"}
    job, sign = house.transcribed("a.wav"), house.transcribed("sign.wav")
    (house.folder / "a.wav").rename(house.root / "mine.wav")
    house.now += DAY
    house.sweep(lambda: house.where(sign).departure == "deleted", "the other one goes")
    house.look()
    assert house.where(job).departure is None


def renamed(house: House, name: str, to: str) -> None:
    """Rename a recording on disk and on record, as admission does."""
    path = house.folder / to
    path.parent.mkdir(exist_ok=True, parents=True)
    (house.folder / name).rename(path)
    made = house.admission(path)
    signature = FileSignature(made.size, made.mtime_ns, made.inode)
    (found,) = house.ledger.keeping.rename_candidates(path, signature, made.sha256)
    (answer,) = house.ledger.admit([house.admission(path, renamed_from=found.recording_id)], 1100.0)
    assert answer.renamed
    house.runner.renamed()


def followed(house: House) -> bool:
    return house.ledger.keeping.following(10) == []


def test_transcripts_follow_a_renamed_recording_unless_somebody_changed_them(house: House) -> None:
    house.transcribed("a.wav", outputs=("txt", "srt", "json", "timing"))
    (house.folder / "a.srt").write_text("corrected", encoding="utf-8")
    (house.folder / "b").mkdir()
    (house.folder / "b" / "new.json").write_text("mine", encoding="utf-8")
    renamed(house, "a.wav", "b/new.wav")
    house.sweep(lambda: followed(house), "they follow")
    assert house.names() == {
        "in/b/new.wav", "in/b/new.txt", "in/b/new.timing.json", "in/b/new.json", "in/a.srt", "in/a.json",
    }  # fmt: skip
    assert (house.folder / "b" / "new.json").read_text(encoding="utf-8") == "mine"
    paths = {o.path.name for o in house.ledger.outputs_of(house.folder / "b" / "new.wav")}
    assert paths == {"new.txt", "new.timing.json", "a.srt", "a.json"}
    renamed(house, "b/new.wav", "c.wav")
    house.sweep(lambda: followed(house), "they follow again")
    assert {"in/c.wav", "in/c.txt", "in/c.timing.json"} < house.names()


def test_a_recording_renamed_while_its_transcripts_follow_is_followed_again(house: House) -> None:
    house.runner.stop(10)
    house.transcribed("a.wav")
    renamed(house, "a.wav", "b.wav")
    (first,) = house.ledger.keeping.following(10)
    renamed(house, "b.wav", "c.wav")
    moved = [(o.row, o.file.path.with_name(o.file.path.name.replace("a.", "b.", 1))) for o in first.outputs]
    for output, (_, to) in zip(first.outputs, moved, strict=True):
        output.file.path.rename(to)
    house.ledger.keeping.followed(first, moved, complete=True)
    house.runner = house.made()
    house.sweep(lambda: followed(house), "they follow again")
    assert house.names() == {"in/c.wav", "in/c.txt", "in/c.timing.json"}


def test_transcripts_follow_when_the_disk_of_their_folder_is_back(house: House) -> None:
    house.transcribed("a.wav")
    house.profile["output_dir"] = "texts"
    house.runner.stop(10)
    house.runner = house.made()
    (house.folder / "texts").mkdir()
    renamed(house, "a.wav", "b.wav")
    house.look()
    assert not followed(house), "an empty folder: perhaps its disk is not mounted"
    (house.folder / "texts/another.txt").touch()
    house.sweep(lambda: followed(house), "they follow")
    assert {n for n in house.names() if "another" not in n} == {
        "in/b.wav", "in/texts/b.txt", "in/texts/b.timing.json",
    }  # fmt: skip


def test_transcripts_that_moved_along_with_their_folder_stay_ours(house: House) -> None:
    house.transcribed("old/a.wav")
    (house.folder / "old").rename(house.folder / "new")
    path = house.folder / "new" / "a.wav"
    made = house.admission(path)
    (found,) = house.ledger.keeping.rename_candidates(
        path, FileSignature(made.size, made.mtime_ns, made.inode), made.sha256
    )
    house.ledger.admit([house.admission(path, renamed_from=found.recording_id)], 1100.0)
    house.runner.renamed()
    house.sweep(lambda: followed(house), "they follow")
    owned = house.ledger.outputs_of(path)
    assert {o.path for o in owned} == {path.with_suffix(".txt"), path.with_suffix(".timing.json")}
    assert house.names() == {"in/new/a.wav", "in/new/a.txt", "in/new/a.timing.json"}
