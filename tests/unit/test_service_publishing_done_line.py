"""The log line of a finished job fits on a terminal and names the transcript."""

from __future__ import annotations

from pathlib import Path

import pytest

from dropscribe import logs
from dropscribe.columns import columns
from dropscribe.config import Profile
from dropscribe.files import FileSignature
from dropscribe.ledger.records import Claim
from dropscribe.service.jobs.progress import MESSAGE_COLUMNS
from dropscribe.service.publishing.done_log import log_done
from dropscribe.service.publishing.output_plan import OutputPlan
from dropscribe.transcript.types import MediaFacts
from tests.support.transcripts import transcript

MEDIA = MediaFacts(3_071_000, "mov", "aac", 48_000, 2, "av")


def done_line(
    recording: str, monkeypatch: pytest.MonkeyPatch, *written: str, reference: int | None = None
) -> str:
    """Message about `/in/<recording>`, whose files are `written`."""
    path = Path("/in") / recording
    claim = Claim(
        7, 1, 1, 3, path, Path("/in"), FileSignature(1, 1, 1), "00", "default", "mini|vad", 0.0, 0.0, 0.0, reference,
        isolate=False,
    )  # fmt: skip
    said = transcript(media=MEDIA)
    plan = OutputPlan(
        claim, Profile(), said, said.timings, Path(written[0]).parent if written else Path("/in"),
        {name.rpartition(".")[2]: Path(name).name for name in written}, Path("/in"), {}, {}, 100.0, reference,
    )  # fmt: skip
    messages: list[str] = []
    monkeypatch.setattr(logs, "event", lambda _, __, message, **___: messages.append(message))
    object.__setattr__(said, "recording_name", path.name)
    log_done(logs.get("service"), plan, said.timings, 171.4)
    return messages[0]


def test_recording_length_time_speed_and_transcript(monkeypatch: pytest.MonkeyPatch) -> None:
    line = done_line("meeting.m4a", monkeypatch, "/in/meeting.txt", "/in/meeting.srt")
    assert line == "meeting.m4a: 51:11 in 71 s (43×) → meeting.txt"
    elsewhere = done_line("meeting.m4a", monkeypatch, "/out/team/meeting.txt")
    assert elsewhere == "meeting.m4a: 51:11 in 71 s (43×) → /out/team/meeting.txt"
    assert done_line("meeting.m4a", monkeypatch) == "meeting.m4a: 51:11 in 71 s (43×)"


def test_a_result_that_is_shared_names_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    line = done_line("copy.m4a", monkeypatch, "/in/copy.srt", reference=3)
    assert line == "copy.m4a: 51:11, same as job 3 → copy.srt"


@pytest.mark.parametrize("stem", ["a very long name of a weekly meeting " * 3, "会议录音" * 12, "x" * 100])
def test_long_names_are_shortened_to_one_line(stem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for written in (f"/in/{stem}.txt", f"/in/{stem}.m4a.txt", f"/out/{stem}/{stem}.txt"):
        line = done_line(f"{stem}.m4a", monkeypatch, written)
        assert columns(line) <= MESSAGE_COLUMNS, line
        assert ".m4a: 51:11 in 71 s (43×) → " in line
        assert line.endswith(".txt")
        assert line.startswith(stem[:3])
