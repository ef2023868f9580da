"""What is due to be removed or moved, and when: settings, policy, cursors; with a clock that is passed."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from pydantic import ValidationError

from dropscribe.config import Settings
from dropscribe.files import FileSignature
from dropscribe.keeping_terms import AfterDone, Fate, after_done, kept_for
from dropscribe.ledger.keeping import FinishedRecording
from dropscribe.service.keeping.output_files import new_path
from dropscribe.service.keeping.retention import (
    AGAIN_S,
    ANEW_S,
    IDLE_S,
    Kind,
    Schedule,
    free_names,
    is_due,
    target_of,
)

DAY = 86_400.0


def settings(folder: str = "/in", **profile: object) -> Settings:
    return Settings.model_validate({"folder": [{"path": folder}], "profiles": {"default": profile}})


def finished(job: int = 1, at: float = 0.0, **changes: bool) -> FinishedRecording:
    values: dict[str, object] = {
        "job_id": job, "recording_id": job, "path": Path("/in/a.wav"), "folder": Path("/in"), "profile": "default",
        "signature": FileSignature(1, 1, 1), "sha256": "s", "finished_at": at, "newest": True, "text": True,
        "logs": True, "files": True, "recording": True,
    }  # fmt: skip
    return FinishedRecording(**(values | changes))  # type: ignore[arg-type]


# terms


def test_what_becomes_of_a_recording_is_written_in_words() -> None:
    assert after_done("keep") == AfterDone(Fate.KEEP)
    assert after_done("move:done") == AfterDone(Fate.MOVE, Path("done"))
    assert after_done("move: /srv/my archive") == AfterDone(Fate.MOVE, Path("/srv/my archive"))
    assert after_done("delete after 30 d") == AfterDone(Fate.DELETE, after_s=30 * DAY)
    assert after_done("delete after 12h").after_s == DAY / 2
    assert kept_for("delete after 1.5 w") == 10.5 * DAY
    assert kept_for("keep") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "move:",
        "delete",
        "delete after",
        "delete after 30",
        "delete after -1 d",
        "delete after 1 y",
        "Keep",
        "remove",
    ],
)
def test_anything_else_is_refused_with_what_is_possible(text: str) -> None:
    with pytest.raises(ValidationError, match="is not one of: keep"):
        settings(after_done=text)
    with pytest.raises(ValidationError, match="is not one of: keep"):
        settings(keep_text=text)


def test_the_folder_of_moved_recordings_is_left_alone() -> None:
    (folder,) = settings(after_done="move:done [1]").folders
    assert folder.exclude == ("done [[]1]/*",)
    assert settings(after_done="move:/elsewhere").folders[0].exclude == ()
    again = Settings.model_validate(settings(after_done="move:done").model_dump(by_alias=True))
    assert again.folders[0].exclude == ("done/*",), "once"
    for there in (".", "/in", "sub/.."):
        with pytest.raises(ValidationError, match="which is watched"):
            settings(after_done=f"move:{there}")


# policy


def test_nothing_is_due_by_default() -> None:
    assert not any(is_due(kind, finished(), settings(), 1e12) for kind in Kind)
    schedule = Schedule()
    schedule.apply(settings())
    assert schedule.due(1e12) is None


def test_each_kind_is_due_at_its_own_time() -> None:
    given = settings(
        after_done="delete after 30 d", keep_outputs="delete after 40 d", keep_text="delete after 50 d",
        keep_logs="delete after 60 d",
    )  # fmt: skip
    due = {kind: next(d for d in range(70) if is_due(kind, finished(), given, d * DAY)) for kind in Kind}
    assert due == {Kind.RECORDING: 30, Kind.FILES: 40, Kind.TEXT: 50, Kind.LOGS: 60}
    assert is_due(Kind.RECORDING, finished(at=5.0), settings(after_done="move:done"), 5.0)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (Kind.RECORDING, {"newest": False}),
        (Kind.RECORDING, {"recording": False}),
        (Kind.FILES, {"newest": False}),
        (Kind.FILES, {"files": False}),
        (Kind.TEXT, {"text": False}),
        (Kind.LOGS, {"logs": False}),
    ],
)
def test_what_is_gone_or_of_an_older_job_is_not_due(kind: Kind, changes: dict[str, bool]) -> None:
    given = settings(
        after_done="move:done",
        keep_outputs="delete after 0 d",
        keep_text="delete after 0 d",
        keep_logs="delete after 0 d",
    )
    assert is_due(kind, finished(), given, 1.0)
    assert not is_due(kind, finished(**changes), given, 1.0)


def test_a_moved_recording_keeps_its_place_and_never_takes_a_name() -> None:
    target = target_of(Path("/in/2026/talk.v1.wav"), Path("/in"), Path("/out"))
    assert target == Path("/out/2026/talk.v1.wav")
    names = [p.name for p in islice(free_names(target), 3)]
    assert names == ["talk.v1.wav", "talk.v1 (2).wav", "talk.v1 (3).wav"]


# cursors


def test_a_cursor_reads_all_jobs_in_parts_then_waits_then_begins_anew() -> None:
    schedule = Schedule()
    schedule.apply(settings(keep_text="delete after 1 d"))
    cursor = schedule.due(0.0)
    assert cursor is not None
    assert (cursor.kind, cursor.after_s) == (Kind.TEXT, DAY)
    schedule.stepped(cursor, [finished(7, 10.0), finished(9, 11.0)], 2, 0.0)
    assert cursor.position == (11.0, 9)
    assert schedule.due(0.0) is cursor, "there may be more"
    schedule.stepped(cursor, [finished(10, 12.0)], 2, 0.0)
    assert schedule.due(IDLE_S - 1) is None
    assert schedule.due(IDLE_S) is cursor
    schedule.stepped(cursor, [], 2, ANEW_S)
    assert cursor.position[0] == float("-inf")


def test_a_folder_that_was_away_is_not_forgotten_for_an_hour() -> None:
    schedule = Schedule()
    schedule.apply(settings(keep_outputs="delete after 1 d"))
    cursor = schedule.due(0.0)
    assert cursor is not None
    schedule.again_soon(cursor, 0.0)
    schedule.stepped(cursor, [finished()], 2, 0.0)
    assert cursor.position == (0.0, 1)
    schedule.stepped(cursor, [], 2, AGAIN_S)
    assert cursor.position[0] == float("-inf")
    assert cursor.anew_at == AGAIN_S + ANEW_S


def test_cursors_follow_the_settings() -> None:
    schedule = Schedule()
    schedule.apply(settings(keep_text="delete after 1 d", keep_logs="delete after 1 d"))
    first = schedule.due(0.0)
    assert first is not None
    schedule.stepped(first, [finished()], 1, 0.0)
    schedule.apply(settings(keep_text="delete after 1 d", keep_logs="delete after 1 d"))
    assert first.position == (0.0, 1), "unchanged settings leave it where it is"
    schedule.apply(settings(keep_text="delete after 2 d"))
    assert [(c.kind, c.after_s, c.position[0]) for c in schedule.cursors] == [
        (Kind.TEXT, 2 * DAY, float("-inf"))
    ]


# names of transcripts


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("talk.txt", "speech.txt"),
        ("talk.timing.json", "speech.timing.json"),
        ("talk.v2.txt", "speech.v2.txt"),
        ("talk.zh.srt", "speech.zh.srt"),
        ("talk.wav.txt", "speech.mp3.txt"),
        ("talk.wav.2.txt", "speech.mp3.2.txt"),
        ("other.txt", None),
        ("talker.txt", None),
    ],
)
def test_a_transcript_gets_the_name_of_its_renamed_recording(name: str, expected: str | None) -> None:
    found = new_path(Path("/in/talk.wav"), Path("/in/b/speech.mp3"), Path("/out") / name, Path("/out/b"))
    assert found == (None if expected is None else Path("/out/b") / expected)


def test_a_name_that_would_be_too_long_stays() -> None:
    long = Path("/in") / ("x" * 250 + ".wav")
    assert new_path(Path("/in/a.wav"), long, Path("/in/a.timing.json"), Path("/in")) is None
