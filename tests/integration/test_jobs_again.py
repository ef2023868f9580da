"""Jobs that are done again: from stored tokens or from the audio, in place of the old files or beside them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from dropscribe.errors import UsageError
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.ledger.records import Finish, Redo, Redone
from dropscribe.service.control import redoing
from dropscribe.transcript.types import Segment, Speaker
from tests.support import transcripts
from tests.support.command_line import document, outcome, process
from tests.support.histories import ENGINE, MEDIA, TIMINGS, History
from tests.support.publishing import House

RECIPE = "mini|vad"


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A house with a finished job: text files only, and a profile of subtitles."""
    made = House(
        tmp_path / "house",
        profile={"formats": ["txt"], "timing_log": False},
        profiles={"films": {"formats": ["srt"], "timing_log": False}},
    ).make()
    made.admit("talk.wav", "一")
    made.run()
    assert set(made.visible()) == {"talk.txt"}
    return made


def again(
    house: House,
    job: int = 1,
    profile: str = "default",
    recipe: str = RECIPE,
    *,
    keep_old: bool = False,
    recognise: bool = False,
) -> Redone:
    request = Redo(job, profile, recipe, True, 3, keep_old, recognise)
    with closing(open_ledger(DatabaseLocation(house.database))) as ledger:
        (answer,) = ledger.redo([request], 2000.0)
    return answer


def test_files_of_another_profile_are_written_without_recognising_again(house: House) -> None:
    assert again(house, profile="films").from_tokens
    house.run()
    assert house.recognised == ["talk.wav"]
    assert set(house.visible()) == {"talk.txt", "talk.srt"}
    assert house.rows("select version, supersedes_id, state from jobs order by id") == [
        (1, None, "done"),
        (2, 1, "done"),
    ]


def test_a_new_text_takes_the_place_of_the_old_one(house: House) -> None:
    house.texts["talk.wav"] = "二"
    assert not again(house, recognise=True).from_tokens
    house.run()
    assert house.visible() == {"talk.txt": house.visible()["talk.txt"]}
    assert house.visible()["talk.txt"].decode().startswith("二\n")
    assert house.recognised == ["talk.wav", "talk.wav"]


def test_old_files_are_kept_on_request_and_again_at_the_next_time(house: House) -> None:
    for text in ("二", "三"):
        house.texts["talk.wav"] = text
        again(house, recognise=True, keep_old=True)
        house.run()
    first = {name: data.decode()[0] for name, data in house.visible().items()}
    assert first == {"talk.txt": "一", "talk.v2.txt": "二", "talk.v3.txt": "三"}
    house.texts["talk.wav"] = "四"
    again(house, job=3, recognise=True)
    house.run()
    assert house.visible()["talk.txt"].decode()[0] == "四"


def test_a_file_that_someone_changed_is_not_replaced(house: House) -> None:
    (house.inbox / "talk.txt").write_text("corrected", encoding="utf-8")
    again(house)
    house.run()
    assert (house.inbox / "talk.txt").read_text(encoding="utf-8") == "corrected"
    assert (house.inbox / "talk.wav.txt").read_text(encoding="utf-8").startswith("一\n")


def test_the_stored_words_do_even_if_the_model_has_changed_since_it_was_queued(house: House) -> None:
    again(house, profile="films")
    with closing(open_ledger(DatabaseLocation(house.database))) as ledger:
        assert ledger.apply_recipes(lambda _: "another|vad") == 0
    house.run()
    assert house.recognised == ["talk.wav"]
    assert "talk.srt" in house.visible()


def test_it_survives_a_kill_before_and_after_the_claim(house: House) -> None:
    again(house, profile="films")
    house.run(turns=0)
    with closing(open_ledger(DatabaseLocation(house.database))) as ledger:
        ledger.claim("killed", 8, 3000.0, 60.0, allow_isolated=False)
    house.run()
    assert house.states() == {"done"}
    assert set(house.visible()) == {"talk.txt", "talk.srt"}


def test_what_cannot_be_done_again_is_refused(house: House) -> None:
    assert again(house, job=9).reason == "there is no such job"
    made = again(house)
    assert again(house).reason == f"job {made.new_job_id} of the recording is not finished yet"
    house.run()
    house.admit("talk.wav", "二")
    assert again(house).reason == "the recording has other content by now"


def named(history: History) -> int:
    """A finished job with a speaker."""
    claim = history._claimed("talk.wav", 10.0)
    segment = Segment(0, 0, 900, "你好", transcripts.tokens(["你", "好"], 0), b"", bytes([1, 1]))
    done = Finish(
        claim.job_id, claim.generation, MEDIA, ENGINE, TIMINGS, (segment,), None, (Speaker(1, None, "voice"),)
    )
    history.ledger.finish([done], 20.0)
    return claim.job_id


def test_a_speaker_is_named_and_the_files_are_written_again(tmp_path: Path) -> None:
    database = tmp_path / "jobs.db"
    with History(database) as history:
        job = named(history)
    shown = document("jobs", "rename-speaker", str(job), "1", "王芳", "--database", database)
    assert shown["jobs"] == [
        {
            "job": 1,
            "recording": "/in/talk.wav",
            "new_job": 2,
            "version": 2,
            "from_tokens": True,
            "reason": None,
        }
    ]
    with History(database) as history:
        result = history.ledger.stored_result(job)
    assert result is not None
    assert [s.name for s in result.speakers] == ["王芳"]
    with pytest.raises(UsageError, match="not printable"):
        outcome("jobs", "rename-speaker", "1", "1", "x\x1b[31m", "--database", database)
    with pytest.raises(UsageError, match="job 1 has no speaker 2"):
        outcome("jobs", "rename-speaker", "1", "2", "x", "--database", database)


def test_jobs_are_chosen_by_number_path_words_and_model(tmp_path: Path) -> None:
    database, config = tmp_path / "jobs.db", tmp_path / "dropscribe.toml"
    config.write_text(
        f'database = "{database}"\n[engine]\nmodel = "mini"\nvad_model = "vad"\n', encoding="utf-8"
    )
    with History(database) as history:
        history.done("talk.wav", "hello there")
        history.done("film.wav", "good night")

    def chosen(*arguments: str) -> list[tuple[int, bool]]:
        shown = document("jobs", "redo", *arguments, "--dry-run", "--config", config)
        return [(one["job"], one["from_tokens"]) for one in shown["jobs"]]

    assert [job for job, _ in chosen("2", "/in/film.wav")] == [2]
    assert [job for job, _ in chosen("/in")] == [2, 1]
    assert [job for job, _ in chosen("--search", "hello")] == [1]
    assert [job for job, _ in chosen("--model-changed", "--search", "good")] in ([], [2])
    with pytest.raises(UsageError, match="names no job"):
        outcome("jobs", "redo", "--config", config)
    with pytest.raises(UsageError, match="no finished job"):
        outcome("jobs", "redo", "/elsewhere", "--config", config)


def test_of_many_jobs_the_first_are_listed_and_all_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, config = tmp_path / "jobs.db", tmp_path / "dropscribe.toml"
    config.write_text(f'database = "{database}"\n', encoding="utf-8")
    monkeypatch.setattr(redoing, "LISTED", 2)
    with History(database) as history:
        for name in "abc":
            history.done(f"{name}.wav", "hello there")
    status, shown = outcome("jobs", "redo", "/in", "--dry-run", "--config", config)
    assert status == 0
    assert "these are the first 2 of 3; of all, 3 are done again" in shown
    again = document("jobs", "redo", "1", "2", "3", "--config", config)
    assert (again["total"], again["refused"], [one["job"] for one in again["jobs"]]) == (3, 0, [1, 2])
    status, _ = outcome("jobs", "redo", "1", "2", "3", "--config", config)
    assert status == 1


def test_without_a_daemon_the_jobs_wait_for_the_next_one(tmp_path: Path) -> None:
    database = tmp_path / "jobs.db"
    with History(database) as history:
        history.done("talk.wav", "hello there")
    done = process("jobs", "redo", "1", "--database", database)
    assert done.returncode == 0, done.stderr
    assert "no daemon works on this database" in done.stderr
    assert process("jobs", "redo", "1", "--database", database).returncode == 1
