"""`dropscribe purge` on real files and a real database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from dropscribe.errors import UsageError
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import OutputIntent
from tests.support.command_line import call, document
from tests.support.histories import History
from tests.support.ledgers import admission, claim_all, finish_of

WORDS = "绝密预算四百万"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with History(tmp_path / "jobs.db") as made:
        yield made.ledger


def transcribed(ledger: Ledger, folder: Path, name: str, content: str = "") -> int:
    """A recording in `folder` with its txt and srt, on disk and on record; returns its job."""
    path = folder / name
    path.write_text(content or name, encoding="utf-8")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    size = path.stat().st_size
    ledger.admit([admission(name, path=path, folder=folder, sha256=sha256, size=size)], 900.0)
    (claim,) = claim_all(ledger, 950.0)
    files = []
    for ending in ("txt", "srt"):
        data = f"{ending}: {WORDS}".encode()
        path.with_suffix(f".{ending}").write_bytes(data)
        files.append(
            OutputIntent(
                ending, path.with_suffix(f".{ending}"), hashlib.sha256(data).hexdigest(), size=len(data)
            )
        )
    assert ledger.intend([(claim.job_id, claim.generation, files)], 960.0) == []
    assert ledger.finish([finish_of(claim, WORDS, reference=claim.reference)], 1000.0) == []
    return claim.job_id


def content_of(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())


def test_all_but_the_recording_goes_and_copies_of_the_database_are_named(
    ledger: Ledger, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "backups").mkdir()
    job = transcribed(ledger, tmp_path / "in", "secret.wav")
    (tmp_path / "in" / ".secret.txt.dropscribe.tmp").write_text(WORDS, encoding="utf-8")
    copy = document("backup", tmp_path / "backups", "--database", tmp_path / "jobs.db")["backup"]
    (tmp_path / "jobs.db.backup-0008").touch()
    before = content_of(tmp_path / "in")
    dry = document("purge", str(job), "--dry-run", "--database", tmp_path / "jobs.db")
    assert content_of(tmp_path / "in") == before
    assert ledger.search("预算") != []
    done = document("purge", str(job), "--database", tmp_path / "jobs.db")
    assert done == dry | {"dry_run": False}
    inside = tmp_path / "in"
    assert done["removed"] == [str(inside / "secret.txt"), str(inside / "secret.srt")]
    assert done["recordings"] == [str(inside / "secret.wav")]
    assert done["copies"] == [copy, str(tmp_path / "jobs.db.backup-0008")]
    assert [p.name for p in inside.iterdir()] == ["secret.wav"]
    Path(copy).rename(tmp_path.parent / "away.db")
    assert WORDS.encode() not in content_of(tmp_path)
    shown = call("jobs", "show", str(job), "--database", tmp_path / "jobs.db")
    assert "purged" in shown
    assert WORDS not in shown
    again = document("purge", str(job), "--database", tmp_path / "jobs.db")
    assert (again["removed"], again["copies"]) == ([], [str(tmp_path / "jobs.db.backup-0008")])
    (tmp_path.parent / "away.db").rename(copy)
    again = document("purge", str(job), "--database", tmp_path / "jobs.db")
    assert again["copies"] == done["copies"], "its disk was away only"


def test_a_transcript_that_somebody_changed_stays_and_is_named(ledger: Ledger, tmp_path: Path) -> None:
    job = transcribed(ledger, tmp_path, "secret.wav")
    (tmp_path / "secret.txt").write_text("corrected", encoding="utf-8")
    said = call("purge", str(job), "--database", tmp_path / "jobs.db")
    assert f"someone changed it, so it stays: {tmp_path}/secret.txt" in said
    assert f"the recording stays: {tmp_path}/secret.wav" in said
    assert (tmp_path / "secret.txt").exists()
    assert not (tmp_path / "secret.srt").exists()


def test_copies_share_the_text_and_must_be_named(ledger: Ledger, tmp_path: Path) -> None:
    first = transcribed(ledger, tmp_path, "a.wav", "same")
    second = transcribed(ledger, tmp_path, "b.wav", "same")
    for job in (first, second):
        with pytest.raises(UsageError, match="the same content"):
            call("purge", str(job), "--database", tmp_path / "jobs.db")
    assert (tmp_path / "a.txt").exists()
    done = document("purge", str(second), "--copies", "--database", tmp_path / "jobs.db")
    assert sorted(done["jobs"]) == [first, second]
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".db" and "jobs.db" not in p.name) == [
        "a.wav",
        "b.wav",
    ]


def test_a_job_in_progress_is_not_purged(ledger: Ledger, tmp_path: Path) -> None:
    (made,) = ledger.admit([admission("a.wav")], 900.0)
    claim_all(ledger, 950.0)
    with pytest.raises(UsageError, match="in progress"):
        call("purge", str(made.job_id), "--database", tmp_path / "jobs.db")
    with pytest.raises(UsageError, match="no job 99"):
        call("purge", "99", "--database", tmp_path / "jobs.db")
