"""Corrected transcripts: new versions whose files are written by the daemon, and that no redo loses."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dropscribe.config import Settings
from dropscribe.errors import UsageError
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.control import Verb
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.ledger.records import Redo
from dropscribe.service.control.commands import execute
from dropscribe.service.control.requests import Edit, Request, parse
from dropscribe.views.export.corrections import export_corrections
from tests.support.command_line import document, outcome
from tests.support.publishing import House


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path / "house", profile={"formats": ["txt"], "timing_log": False}).make()
    made.admit("talk.wav", "你好")
    made.run()
    return made


def ask(house: House, request: Request) -> dict[str, Any]:
    settings = Settings.model_validate({"database": house.database, "folder": [{"path": house.inbox}]})
    with closing(open_ledger(DatabaseLocation(house.database))) as ledger:
        (answer,) = execute(request, ledger, settings, who="anna (1000)", now=2000.0)["redone"]
    return dict(answer)


def correction(house: House, text: str, job: int = 1) -> Request:
    with closing(open_ledger(DatabaseLocation(house.database))) as ledger:
        result = ledger.stored_result(job)
    assert result is not None
    (segment,) = result.segments
    return Request(Verb.CORRECT, jobs=(job,), edits=(Edit(segment.start_ms, segment.text, text),))


def test_the_files_have_the_correction_and_no_redo_loses_it(house: House) -> None:
    before = house.visible()["talk.txt"]
    assert "你好".encode() in before
    made = ask(house, correction(house, "您好，小王"))
    assert (made["new_job_id"], made["version"], made["from_tokens"], made["reason"]) == (2, 2, True, "")
    house.run()
    assert house.recognised == ["talk.wav"]
    assert set(house.visible()) == {"talk.txt"}
    assert "您好，小王".encode() in house.visible()["talk.txt"]
    assert house.rows("select who, action, job_id, found, made from actions") == [
        ("anna (1000)", "correct", 2, "version 1", "version 2")
    ]
    # By the settings of `ask` it would be recognised with another model.
    assert ask(house, Request(Verb.REDO, jobs=(2,)))["from_tokens"]
    house.run()
    assert "您好，小王".encode() in house.visible()["talk.txt"]
    with closing(open_ledger(DatabaseLocation(house.database))) as ledger:
        ledger.redo([Redo(3, "default", "mini|vad", True, 3, recognise=True)], 3000.0)
    house.run()
    assert house.recognised == ["talk.wav", "talk.wav"]
    assert house.visible()["talk.txt"] == before
    # Two versions were recognised; the correction and its redo are no further recordings.
    assert [group["done"] for group in document("stats", "--database", house.database)["groups"]] == [2]
    with closing(open_ledger(DatabaseLocation(house.database))) as ledger:
        assert [totals.done for totals in ledger.hours(0.0)] == [2]
        assert ledger.wrong_totals() == {}
        assert ledger.corrected_jobs() == [2]
        assert ledger.jobs_with_corrections() == {2, 3}
        result = ledger.stored_result(2)
        assert result is not None
        assert [s.text for s in result.segments] == ["您好，小王"]
        assert [hit.job_id for hit in ledger.search("小王")] == [2]


def test_a_kill_before_the_files_are_written_loses_nothing(house: House) -> None:
    ask(house, correction(house, "您好"))
    house.run(turns=0)
    with closing(open_ledger(DatabaseLocation(house.database))) as ledger:
        ledger.claim("killed", 8, 3000.0, 60.0, allow_isolated=False)
    house.run()
    assert house.recognised == ["talk.wav"]
    assert "您好".encode() in house.visible()["talk.txt"]


def test_what_cannot_be_corrected_is_refused(house: House) -> None:
    first = correction(house, "您好")
    ask(house, first)
    assert ask(house, first)["reason"] == "job 2 of the recording is not finished yet"
    house.run()
    assert ask(house, first)["reason"] == "job 2 has a newer version of this transcript"
    for request, reason in (
        (Request(Verb.CORRECT, jobs=(9,), edits=first.edits), "there is no job 9"),
        (Request(Verb.CORRECT, edits=first.edits), "names no job"),
        (Request(Verb.CORRECT, jobs=(2,)), "no sentences"),
        (Request(Verb.CORRECT, jobs=(2,), edits=first.edits), "other sentences by now"),
        (correction(house, " 您好 ", 2), "nothing was changed"),
        (Request(Verb.RENAME_SPEAKER, jobs=(2,), speaker=1, name="x"), "no speaker 1"),
    ):
        with pytest.raises(UsageError, match=reason):
            ask(house, request)


@pytest.mark.parametrize(
    "edits", ["x", [1], [{"start_ms": 1, "said": "a"}], [{"start_ms": "1", "said": "a", "text": "b"}]]
)
def test_documents_of_anybody_are_checked(edits: object) -> None:
    document = json.loads(json.dumps(Request(Verb.CORRECT, jobs=(1,)).record()))
    with pytest.raises(UsageError, match="edits"):
        parse(document | {"edits": edits})
    whole = Request(Verb.CORRECT, jobs=(1,), edits=(Edit(1, "a", "b"),))
    assert parse(json.loads(json.dumps(whole.record()))) == whole


def test_corrections_are_references_for_eval(house: House, tmp_path: Path) -> None:
    path = house.inbox / "other.wav"
    house.admit("other.wav", "再见")
    house.run()
    for job, text in ((1, "您好"), (2, "再会。")):
        ask(house, correction(house, text, job))
        house.run()
    with closing(open_ledger(DatabaseLocation(house.database))) as ledger:
        details = [ledger.job(job) for job in ledger.corrected_jobs()]
    for detail in details:
        assert detail is not None
        os.utime(detail.summary.recording, ns=(1, detail.mtime_ns))
    path.write_bytes(b"another content")
    to = tmp_path / "references"
    status, printed = outcome("export", "--corrections", to, "--database", house.database)
    assert (status, printed) == (0, f"job 3: {house.inbox / 'talk.wav'}: 3-talk.wav\n")
    assert sorted(p.name for p in to.iterdir()) == ["3-talk.ref.txt", "3-talk.wav"]
    assert (to / "3-talk.ref.txt").read_text(encoding="utf-8") == "您好\n"
    assert (to / "3-talk.wav").read_bytes() == b"stands for sound"
    assert outcome("export", "--corrections", to, "--database", house.database)[0] == 0


def test_a_corrected_recording_is_exported_from_where_it_was_moved_to(house: House, tmp_path: Path) -> None:
    ask(house, correction(house, "您好"))
    house.run()
    archive = tmp_path / "archive"
    archive.mkdir()
    settings = Settings.model_validate(
        {
            "database": house.database,
            "folder": [{"path": house.inbox}],
            "profiles": {"default": {"after_done": f"move:{archive}"}},
        }
    )
    with closing(open_ledger(DatabaseLocation(house.database))) as ledger:
        (job,) = ledger.corrected_jobs()
        detail = ledger.job(job)
        assert detail is not None
        departure = ledger.keeping.depart(job, archive / "talk.wav", 2000.0)
        assert departure is not None
        os.utime(detail.summary.recording, ns=(1, detail.mtime_ns))
        detail.summary.recording.rename(archive / "talk.wav")
        ledger.keeping.departed(departure.recording_id, 2000.0, outputs_follow=False)
        (one,) = export_corrections(ledger, tmp_path / "references", settings)
    assert (one.reason, one.name) == ("", f"{job}-talk.wav")
    assert (tmp_path / "references" / one.name).read_bytes() == b"stands for sound"
