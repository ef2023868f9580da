"""Actions, status and /api/v1 of the page in this process, without a daemon: it writes the ledger itself then."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from dropscribe.config import Settings
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.ledger.records import JobState
from dropscribe.web.app import build
from dropscribe.web.pages.charts import HEIGHT, Span, chart_of
from dropscribe.web.pages.live import gpus_of
from dropscribe.web.security import Rules
from dropscribe.web.site import Site
from tests.support.histories import NOW, History

HOST = "http://127.0.0.1:8970"
HERE = {"sec-fetch-site": "same-origin"}


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path / "jobs.db") as filled:
        yield filled


@pytest.fixture
def site(history: History, tmp_path: Path) -> Iterator[Site]:
    folders = [{"path": "/in"}, {"path": "/other"}]
    service = {"metrics_file": tmp_path / "dropscribe.prom"}
    settings = Settings.model_validate({"database": history.path, "folder": folders, "service": service})
    with Site(DatabaseLocation(history.path), settings, Rules()) as made:
        yield made


@pytest.fixture
def client(site: Site) -> TestClient:
    return TestClient(build(site), base_url=HOST, follow_redirects=False, headers=HERE)


def state_of(history: History, job: int) -> JobState:
    detail = history.ledger.job(job)
    assert detail is not None
    return detail.summary.state


def test_actions_on_a_job_answer_with_the_state_found_and_made(history: History, client: TestClient) -> None:
    failed = history.failed("a.wav", "no audio", "record it again")
    done = history.done("c.wav", "你好")
    waiting = history.waiting("b.wav")
    assert ">retry<" in client.get(f"/recordings/{failed}").text
    assert "failed → queued" in client.post(f"/recordings/{failed}/retry").text
    assert state_of(history, failed) is JobState.QUEUED
    assert "data-ask" in client.get(f"/recordings/{waiting}").text
    client.post(f"/recordings/{waiting}/priority", data={"priority": "7"})
    found = history.ledger.job(waiting)
    assert found is not None
    assert found.summary.priority == 7
    assert (
        "write a whole number"
        in client.post(f"/recordings/{waiting}/priority", data={"priority": "much"}).text
    )
    assert "queued → cancelled" in client.post(f"/recordings/{waiting}/cancel").text
    refused = client.post(f"/recordings/{done}/cancel").text
    assert 'class="card problem" role="status"' in refused
    new = client.post(f"/recordings/{done}/redo")
    assert new.status_code == 303
    assert re.fullmatch(r"/recordings/\d+", new.headers["location"])
    assert client.post(f"/recordings/{done}/burn").status_code == 404
    assert (
        client.post(f"/recordings/{done}/retry", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    )
    assert client.get(f"/recordings/{done}/retry").status_code == 405


def test_folders_are_paused_and_resumed(history: History, client: TestClient) -> None:
    assert "working → paused" in client.post("/status/pause", data={"folder": "/in"}).text
    assert [str(p.folder) for p in history.ledger.pauses()] == ["/in"]
    page = client.get("/status").text
    assert "Resume /in" in page
    assert "Pause /other" in page
    assert "it is no watched folder" in client.post("/status/pause", data={"folder": "/elsewhere"}).text
    assert "paused → working" in client.post("/status/resume", data={"folder": "/in"}).text
    assert client.post("/status/drain").status_code == 404


def test_the_status_shows_queue_failures_and_charts(history: History, client: TestClient) -> None:
    history.done("a.wav", "你好")
    history.waiting("b.wav")
    page = client.get("/status").text
    assert "no daemon is running on this database" in page
    assert page.count("<svg") == 2
    assert re.search(r"<td>/in</td>", page)
    now = client.get("/status?part=now").text
    assert "<svg" not in now
    assert 'id="now"' in now


def test_metrics_are_those_of_the_daemon(client: TestClient, tmp_path: Path) -> None:
    missing = client.get("/metrics")
    assert (missing.status_code, missing.json()["error"]["operation"]) == (503, "read metrics")
    text = 'dropscribe_gpu_busy_ratio{gpu="0"} 0.5\ndropscribe_gpu_memory_used_bytes{gpu="0"} 1e+09\n'
    (tmp_path / "dropscribe.prom").write_text(text)
    answer = client.get("/metrics")
    assert answer.text == text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    (gpu,) = gpus_of(text)
    assert (gpu.busy, gpu.used_bytes, gpu.total_bytes) == (0.5, 1e9, None)
    assert "50 % busy" in client.get("/status").text


def test_charts_show_audio_and_failures() -> None:
    chart = chart_of([Span("a", 0, 0, 0.0), Span("b", 3, 1, 7200.0), Span("c", 1, 0, 1.0)])
    assert [bar.audio for bar in chart.bars] == [0.0, HEIGHT, 1.0]
    assert [bar.failed for bar in chart.bars] == [0.0, HEIGHT / 4, 0.0]
    assert (chart.done, chart.failed, chart.audio_s) == (4, 1, 7201.0)
    assert chart_of([]).bars == ()


def test_documents_are_those_of_the_command_line(history: History, client: TestClient) -> None:
    job = history.done("a.wav", "讨论预算")
    history.failed("b.wav", "no audio", "record it again", NOW + 5)
    listed = client.get("/api/v1/jobs?limit=1").json()
    assert (listed["schema"], [j["recording"] for j in listed["jobs"]]) == (
        "dropscribe/jobs/1",
        ["/in/b.wav"],
    )
    more = client.get("/api/v1/jobs", params={"after": listed["next"]}).json()
    assert ([j["id"] for j in more["jobs"]], more["next"]) == ([job], None)
    assert client.get(f"/api/v1/jobs/{job}").json()["job"]["text"] == "讨论预算"
    assert client.get(f"/api/v1/jobs/{job}/transcript/txt").text.startswith("讨论预算")
    assert client.get("/api/v1/search?q=预算").json()["hits"][0]["job"] == job
    assert client.get("/api/v1/status").json()["counts"]["done"] == 1
    assert client.get("/api/v1/stats?by=folder").json()["groups"][0]["done"] == 1
    assert (
        client.get("/api/v1/jobs?text=预算&at_least_s=1&since=2026-11-01T00:00:00Z").json()["jobs"][0]["id"]
        == job
    )


def test_actions_of_programs(history: History, site: Site) -> None:
    client = TestClient(build(site), base_url=HOST)  # sends no Origin, as programs do
    failed = history.failed("b.wav", "no audio", "record it again")
    again = client.post(f"/api/v1/jobs/{failed}/retry")
    assert (again.status_code, again.json()["jobs"][0]["made"]) == (200, "queued")
    changed = client.post(f"/api/v1/jobs/{failed}/priority", json={"priority": -3})
    assert changed.json()["jobs"][0]["changed"]
    assert client.post("/api/v1/pause", json={"folder": "/in"}).json()["made"] == "paused"
    assert client.post("/api/v1/resume", json={"folder": "/in"}).json()["made"] == "working"
    assert client.post("/api/v1/jobs/99/cancel").status_code == 409
    done = history.done("a.wav", "你好", now=NOW - 50)
    redo = client.post(f"/api/v1/jobs/{done}/redo").json()
    assert (redo["schema"], redo["jobs"][0]["version"]) == ("dropscribe/redo/1", 2)


UNANSWERED = {
    "/api/v1/jobs?state=odd": 400,
    "/api/v1/jobs?limit=0": 400,
    "/api/v1/jobs?limit=9999999999999999999": 400,
    "/api/v1/jobs?after=x": 400,
    "/api/v1/jobs?since=yesterday": 400,
    "/api/v1/jobs?at_least_s=nan": 400,
    "/api/v1/stats?by=nothing": 400,
    "/api/v1/jobs/99": 404,
    "/api/v1/jobs/99/transcript/txt": 404,
    "/api/v1/nothing": 405,
    "/api/v2/jobs": 404,
}


def test_what_cannot_be_answered_is_told_in_a_document(client: TestClient) -> None:
    answers = {address: client.get(address) for address in UNANSWERED}
    assert {address: answer.status_code for address, answer in answers.items()} == UNANSWERED
    assert {answer.json()["schema"] for answer in answers.values()} == {"dropscribe/error/1"}


def test_the_description_names_every_address_and_no_other(site: Site, client: TestClient) -> None:
    document: dict[str, Any] = client.get("/api/v1/openapi.json").json()
    described = set(document["paths"])
    programs = ("/api/", "/v1/")
    routes = [r.path for r in build(site).routes if isinstance(r, Route) and r.path.startswith(programs)]
    plain = {re.sub(r":\w+}", "}", path) for path in routes}
    generic = {"/api/v1/jobs/{job}/{verb}", "/api/v1/{verb}", "/api/v1/openapi.json"}
    assert plain - generic <= described
    verbs = {f"/api/v1/jobs/{{job}}/{verb}" for verb in ("retry", "cancel", "redo", "priority")}
    assert described == (plain - generic) | verbs | {"/api/v1/pause", "/api/v1/resume"}


# uploads


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture
def sender(history: History, drop: Path) -> Iterator[TestClient]:
    settings = Settings.model_validate(
        {"database": history.path, "folder": [{"path": drop}], "service": {"free_floor_mb": 0}}
    )
    with Site(DatabaseLocation(history.path), settings, Rules(upload_bytes=300_000)) as made:
        yield TestClient(build(made), base_url=HOST, headers=HERE)


def said(drop: Path, name: str = "a.wav", size: int = 200_000, **more: object) -> dict[str, str]:
    return {"folder": str(drop), "name": name, "size": str(size), "key": "1"} | {
        k: str(v) for k, v in more.items()
    }


def test_a_recording_that_is_sent_appears_whole_and_goes_on_after_a_lost_connection(
    drop: Path, sender: TestClient
) -> None:
    data = bytes(range(250)) * 800
    address = "/api/v1/upload"
    assert sender.get(address, params=said(drop)).json() == {"offset": 0, "size": 200_000}
    half = sender.put(address, params=said(drop, offset=0), content=data[:90_000])
    assert (half.status_code, half.json()["offset"]) == (200, 90_000)
    (unfinished,) = drop.iterdir()
    assert unfinished.name.startswith(".")
    wrong = sender.put(address, params=said(drop, offset=0), content=data)
    assert (wrong.status_code, wrong.json()["offset"]) == (409, 90_000)
    assert sender.get(address, params=said(drop)).json()["offset"] == 90_000
    rest = sender.put(address, params=said(drop, offset=90_000), content=data[90_000:])
    assert (rest.status_code, rest.json()["recording"]) == (201, str(drop / "a.wav"))
    assert [p.name for p in drop.iterdir()] == ["a.wav"]
    assert (drop / "a.wav").read_bytes() == data
    again = sender.get(address, params=said(drop))
    assert (again.status_code, "already" in again.json()["error"]["reason"]) == (409, True)


REFUSED: tuple[tuple[dict[str, Any], int], ...] = (
    ({"name": "../a.wav"}, 400),
    ({"name": ".a.wav"}, 400),
    ({"name": "a\0.wav"}, 400),
    ({"name": "x" * 300 + ".wav"}, 400),
    ({"name": "a.exe"}, 415),
    ({"name": "a.txt"}, 415),
    ({"size": 300_001}, 413),
    ({"size": 0}, 400),
    ({"size": "-5"}, 400),
    ({"folder": "/etc"}, 404),
)


def test_what_is_not_taken_is_told_before_it_is_sent(drop: Path, sender: TestClient) -> None:
    for changes, status in REFUSED:
        given = said(drop) | {name: str(value) for name, value in changes.items()}
        answer = sender.get("/api/v1/upload", params=given)
        assert (answer.status_code, answer.json()["schema"]) == (status, "dropscribe/error/1"), changes
    assert list(drop.iterdir()) == []


def test_more_than_was_announced_or_allowed_is_refused(
    drop: Path, sender: TestClient, client: TestClient
) -> None:
    assert sender.put("/api/v1/upload", params=said(drop, size=10), content=b"x" * 11).status_code == 413
    assert sender.put("/api/v1/upload", params=said(drop), content=b"x" * 300_001).status_code == 413
    foreign = {"sec-fetch-site": "cross-site"}
    assert sender.put("/api/v1/upload", params=said(drop), content=b"x", headers=foreign).status_code == 403
    assert not [p for p in drop.iterdir() if not p.name.startswith(".")]
    assert client.get("/api/v1/upload", params=said(drop)).status_code == 403  # off
    assert client.get("/upload").status_code == 403
    page = sender.get("/upload").text
    assert str(drop) in page
    assert 'data-most="300000"' in page


# corrections


def test_a_sentence_is_corrected_on_the_page(history: History, client: TestClient) -> None:
    job = history.done("a.wav", "你好", "<再见>")
    page = client.get(f"/recordings/{job}").text
    assert f'href="/recordings/{job}/edit?at=1000"' in page
    form = client.get(f"/recordings/{job}/edit", params={"at": "1000"}).text
    assert "&lt;再见&gt;</textarea>" in form
    assert "你好" not in form
    sent = {"start-1": "1000", "said-1": "<再见>", "text-1": "<b>再会</b>\n"}
    assert client.post(f"/recordings/{job}/correct", data=sent | {"text-1": "<再见>"}).headers[
        "location"
    ] == (f"/recordings/{job}")
    foreign = {"sec-fetch-site": "cross-site"}
    assert client.post(f"/recordings/{job}/correct", data=sent, headers=foreign).status_code == 403
    made = client.post(f"/recordings/{job}/correct", data=sent)
    assert (made.status_code, made.headers["location"]) == (303, f"/recordings/{job + 1}#t=1.000")
    shown = client.get(f"/recordings/{job + 1}").text
    assert "&lt;b&gt;再会&lt;/b&gt;" in shown
    assert "/edit?at=" not in shown  # its files are not written yet
    again = client.post(f"/recordings/{job}/correct", data=sent)
    assert "is not finished yet" in again.text
    assert "&lt;b&gt;再会&lt;/b&gt;</textarea>" in again.text  # what was written stays
    for at in ("x", "5"):
        answer = client.get(f"/recordings/{job}/edit", params={"at": at})
        assert answer.status_code == 404 or "<textarea" not in answer.text


def test_corrections_of_programs(history: History, client: TestClient) -> None:
    job = history.done("a.wav", "你好")
    address = f"/api/v1/jobs/{job}/correct"
    wrong = client.post(address, json={"edits": [{"start_ms": 0, "said": "再见", "text": "x"}]})
    assert (wrong.status_code, "by now" in wrong.json()["error"]["reason"]) == (400, True)
    assert client.post(address, json={"edits": 5}).status_code == 400
    edits = [{"start_ms": 0, "said": "你好", "text": "您好"}]
    made = client.post(address, json={"edits": edits}).json()
    assert (made["schema"], made["jobs"][0]["new_job"]) == ("dropscribe/redo/1", job + 1)
    assert client.post(address, json={"edits": edits}).status_code == 409
    named = client.post(f"/api/v1/jobs/{job}/rename-speaker", json={"speaker": 1, "name": "王芳"})
    assert (named.status_code, "no speaker 1" in named.json()["error"]["reason"]) == (400, True)
