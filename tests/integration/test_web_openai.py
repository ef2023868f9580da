"""Clients of OpenAI's API send recordings; the part of the daemon is played while they wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from dropscribe.config import Settings
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.ledger.records import Admission, Finish
from dropscribe.transcript.types import Segment
from dropscribe.web.app import build
from dropscribe.web.openai import transcriptions
from dropscribe.web.security import Rules
from dropscribe.web.site import Site
from tests.support.histories import ENGINE, MEDIA, NOW, TIMINGS, History

ADDRESS = "/v1/audio/transcriptions"
TOKEN = "a token that is long enough"
DATA = bytes(range(250)) * 40


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path / "jobs.db") as filled:
        yield filled


@pytest.fixture
def client(history: History, drop: Path) -> Iterator[TestClient]:
    document = {
        "database": history.path,
        "folder": [{"path": drop}],
        "service": {"free_floor_mb": 0},
        "web": {"upload": True, "openai_folder": drop, "openai_wait_s": 100},
    }
    with Site(
        DatabaseLocation(history.path),
        Settings.model_validate(document),
        Rules(token=TOKEN, upload_bytes=20_000),
    ) as made:
        headers = {"authorization": f"Bearer {TOKEN}"}
        yield TestClient(build(made), base_url="http://127.0.0.1", headers=headers)


def work(history: History, drop: Path, *texts: str) -> Callable[[float], Any]:
    """What the daemon does while a request waits: it takes the recording, and then is done with it; it fails without texts."""

    def step() -> None:
        (path,) = (p for p in drop.iterdir() if not p.name.startswith("."))
        waiting = history.ledger.claim("w", 1, NOW + 1, 60.0, allow_isolated=False)
        if not waiting:
            assert path.read_bytes() == DATA
            admission = Admission(path, drop, 10, 1, 1, path.name, "default", "mini", True, 2.0, 3)
            history.ledger.admit([admission], NOW)
            return
        job = waiting[0]
        if texts:
            segments = tuple(Segment(i, i * 1000, i * 1000 + 900, text) for i, text in enumerate(texts))
            history.ledger.finish(
                [Finish(job.job_id, job.generation, MEDIA, ENGINE, TIMINGS, segments)], NOW + 3
            )
        else:
            history.ledger.fail(
                job.job_id,
                job.generation,
                NOW,
                code="no_audio",
                reason="no audio in it",
                remedy="record it again",
            )
        path.unlink()

    async def turn(_: float) -> None:
        step()

    return turn


def send(client: TestClient, name: str = "talk.wav", content: bytes = DATA, **fields: Any) -> Any:
    return client.post(ADDRESS, data={"model": "whisper-1"} | fields, files={"file": (name, content)})


def test_a_recording_is_transcribed_while_the_client_waits(
    history: History, drop: Path, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcriptions, "sleep", work(history, drop, "你好", "再见"))
    answer = send(client, language="zh")
    assert (answer.status_code, answer.json()["text"]) == (200, "你好\n再见")
    verbose = send(client, response_format="verbose_json").json()
    assert [s["text"] for s in verbose["segments"]] == ["你好", "再见"]
    assert (verbose["duration"], verbose["task"]) == (5.0, "transcribe")
    assert send(client, response_format="text").text == "你好\n再见\n"
    srt = send(client, response_format="srt")
    assert "00:00:01,000 --> " in srt.text
    assert send(client, response_format="vtt").text.startswith("WEBVTT")
    job = history.ledger.job(int(srt.headers["x-dropscribe-job"]))
    assert job is not None
    assert job.summary.recording.name.startswith("talk-")
    assert list(drop.iterdir()) == []


def test_a_failed_recording_is_an_error_that_clients_do_not_repeat(
    history: History, drop: Path, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcriptions, "sleep", work(history, drop))
    answer = send(client)
    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "message": "no audio in it (record it again)",
        "type": "invalid_request_error",
        "param": None,
        "code": "no_audio",
    }


def test_what_takes_longer_is_answered_with_its_job(
    history: History, drop: Path, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(transcriptions, "clock", lambda: now[0])
    admit = work(history, drop)

    async def turn(seconds: float) -> None:
        if not now[0]:
            await admit(seconds)
        now[0] += 60

    monkeypatch.setattr(transcriptions, "sleep", turn)
    answer = send(client)
    assert answer.status_code == 202
    job = answer.json()["job"]
    assert answer.headers["location"] == f"/api/v1/jobs/{job}"
    assert client.get(answer.headers["location"]).json()["job"]["state"] == "queued"
    (path,) = drop.iterdir()
    path.unlink()

    async def nothing(_: float) -> None:
        now[0] += 60

    monkeypatch.setattr(transcriptions, "sleep", nothing)
    unseen = send(client)  # no daemon is running
    assert (unseen.status_code, unseen.json()["job"]) == (202, None)
    assert next(drop.iterdir()).name in unseen.headers["location"]


def test_what_is_not_taken_is_told_as_openai_tells_it(drop: Path, client: TestClient) -> None:
    refused = (
        (send(client, "a.exe"), 415),
        (send(client, "a.wav", b""), 400),
        (send(client, response_format="pdf"), 400),
        (send(client, stream="true"), 400),
        (send(client, content=b"x" * 20_001), 413),
        (send(client, content=b"x" * 200_000), 413),
        (client.post(ADDRESS, data={"model": "x"}), 400),
        (client.post(ADDRESS, files=[("file", ("a.wav", DATA)), ("file", ("b.wav", DATA))]), 400),
        (client.post(ADDRESS, files={"file": ("a.wav", DATA)}, headers={"authorization": "Bearer no"}), 401),
        (
            client.post(ADDRESS, files={"file": ("a.wav", DATA)}, headers={"sec-fetch-site": "cross-site"}),
            403,
        ),
        (client.get(ADDRESS), 405),
        (client.get("/v1/engines"), 404),
    )
    for answer, status in refused:
        assert answer.status_code == status, answer.text
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert list(drop.iterdir()) == []


def test_models_and_a_page_without_such_a_folder(history: History, drop: Path, client: TestClient) -> None:
    assert [m["id"] for m in client.get("/v1/models").json()["data"]] == ["paraformer-zh"]
    settings = Settings.model_validate({"database": history.path, "folder": [{"path": drop}]})
    with Site(DatabaseLocation(history.path), settings, Rules(upload_bytes=20_000)) as site:
        answer = send(TestClient(build(site), base_url="http://127.0.0.1"))
    assert (answer.status_code, "openai_folder" in answer.json()["error"]["message"]) == (403, True)
    with pytest.raises(ValueError, match="not watched"):
        Settings.model_validate({"folder": [{"path": drop}], "web": {"openai_folder": "/elsewhere"}})
