"""The page in this process: lists, one recording, its sound and files; hostile names, texts and requests."""

from __future__ import annotations

import io
import os
import struct
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient

from dropscribe.config import Settings
from dropscribe.files import FileSignature
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.media.protocol import Excerpt
from dropscribe.media.sources.playback import play
from dropscribe.transcript.types import Loss, MediaFacts
from dropscribe.web.app import build
from dropscribe.web.security import Rules
from dropscribe.web.site import Site
from tests.support.histories import NOW, History
from tests.support.recorded import admitted, recorded

HOST = "http://127.0.0.1:8970"
RATE = 16_000
HOSTILE = "<script>alert(1)<script>"


def client_of(site: Site) -> TestClient:
    return TestClient(build(site), base_url=HOST, follow_redirects=False)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path / "jobs.db") as filled:
        yield filled


@pytest.fixture
def client(history: History) -> Iterator[TestClient]:
    with Site(DatabaseLocation(history.path), None, Rules()) as site:
        yield client_of(site)


def tones(seconds: int, rate: int = RATE) -> np.ndarray:
    """A tone for each second: 200, 300, … Hz."""
    at = np.arange(rate) / rate
    return np.concatenate([np.sin(2 * np.pi * (200 + 100 * s) * at) * 9000 for s in range(seconds)]).astype(
        np.int16
    )


def tone_of(samples: np.ndarray) -> int:
    """Second whose tone this is, of a piece inside it."""
    spectrum = np.abs(np.fft.rfft(samples.astype(float) * np.hanning(len(samples))))
    return round((int(spectrum.argmax()) * RATE / len(samples) - 200) / 100)


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> None:
    with wave.open(os.fspath(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())


def facts(
    seconds: int, container: str = "wav", codec: str = "pcm_s16le", losses: tuple[Loss, ...] = ()
) -> MediaFacts:
    return MediaFacts(seconds * 1000, container, codec, RATE, 1, "soundfile", losses=losses)


def test_the_list_pages_filters_and_escapes(history: History, client: TestClient) -> None:
    history.failed(f"{HOSTILE}\udcff.wav", "no audio <b>at all</b>", "record it again", NOW + 99)
    for i in range(60):
        history.waiting(f"{i:02}.wav", NOW + i)
    first = client.get("/").text
    assert "59.wav" in first
    assert "05.wav" not in first
    assert HOSTILE not in first
    assert "&lt;script&gt;alert(1)&lt;script&gt;\\xff.wav" in first
    (older,) = [line.split('"')[1] for line in first.splitlines() if 'rel="next"' in line]
    second = client.get(older.replace("&amp;", "&")).text
    assert "05.wav" in second
    assert "59.wav" not in second
    assert "no audio &lt;b&gt;at all&lt;/b&gt; (record it again)" in client.get("/?state=failed").text
    assert "05.wav" in client.get("/?path=05.").text
    assert "没有符合条件的录音。" in client.get("/?speaker=nobody", headers={"accept-language": "zh-CN"}).text


def test_words_are_found_and_marked_and_lead_to_their_second(history: History, client: TestClient) -> None:
    job = history.done("a.wav", "今天开会", f"讨论预算 {HOSTILE}")
    copy = history.copied("copy.wav", "a.wav")
    history.done("b.wav", "别的事情")
    found = client.get("/", params={"q": "讨论预算"}).text
    assert "<mark>讨论预算</mark>" in found
    assert HOSTILE not in found
    assert f'href="/recordings/{job}#t=1.00"' in found
    assert f'href="/recordings/{copy}#t=1.00"' in found
    assert "b.wav" not in found
    assert "今天<mark>开</mark>" in client.get("/", params={"q": "开"}).text


def test_one_recording_with_speakers_times_doubts_and_files(
    tmp_path: Path, history: History, client: TestClient
) -> None:
    history.ledger.close()
    recording = tmp_path / f"{HOSTILE}.wav"
    write_wav(recording, tones(3))
    job = recorded(history.path, recording, facts(3), "你好", "再见", speaker="王<芳>")
    page = client.get(f"/recordings/{job}").text
    assert "<script>alert" not in page
    assert "王&lt;芳&gt;" in page
    assert 'data-start="1.000"' in page
    assert "<u>好</u>" in page
    assert f"/recordings/{job}/original" in page
    assert "try 1 begins" in page
    text = client.get(f"/recordings/{job}/files/txt")
    assert "你好" in text.text
    assert text.headers["content-disposition"].startswith(
        'attachment; filename="_script_alert(1)_script_.txt";'
    )
    assert client.get(f"/recordings/{job}/files/docx").content.startswith(b"PK")
    for nothing in (
        f"/recordings/{job}/files/exe",
        "/recordings/99",
        f"/recordings/{1 << 70}",
        "/recordings/0/sound.wav",
        "/static/..%2fapp.py",
        "/static/../app.py",
    ):
        assert client.get(nothing).status_code == 404


def test_the_text_of_a_recording_in_progress_is_shown(
    tmp_path: Path, history: History, client: TestClient
) -> None:
    recording, partial = tmp_path / "a.wav", tmp_path / "a.partial.txt"
    write_wav(recording, tones(1))
    partial.write_text("到目前为止 <b>", encoding="utf-8")
    job, generation = admitted(history.path, recording)
    assert history.ledger.intend_partial((job, generation), partial, "0" * 64, (), NOW + 2)
    page = client.get(f"/recordings/{job}").text
    assert "到目前为止 &lt;b&gt;" in page
    assert 'hx-trigger="every 2s"' in page
    assert "hx-refresh" not in client.get(f"/recordings/{job}", headers={"hx-request": "true"}).headers
    partial.unlink()
    partial.symlink_to("/etc/passwd")
    assert "root:" not in client.get(f"/recordings/{job}").text
    history.ledger.fail(
        job, generation, NOW + 3, code="no_audio", reason="no audio", remedy="record it again"
    )
    ended = client.get(f"/recordings/{job}", headers={"hx-request": "true"})
    assert ended.headers["hx-refresh"] == "true"


def test_the_original_is_served_in_ranges_and_only_while_it_is_the_same(
    tmp_path: Path, history: History, client: TestClient
) -> None:
    history.ledger.close()
    recording = tmp_path / "a.wav"
    write_wav(recording, tones(2))
    job = recorded(history.path, recording, facts(2), "你好")
    data = recording.read_bytes()
    address = f"/recordings/{job}/original"
    whole = client.get(address)
    assert (whole.content, whole.headers["content-type"]) == (data, "audio/wav")
    part = client.get(address, headers={"range": "bytes=100-199", "if-range": whole.headers["etag"]})
    assert (part.status_code, part.content) == (206, data[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(data)}"
    assert client.get(address, headers={"range": "bytes=100-199", "if-range": '"old"'}).status_code == 200
    assert client.get(address, headers={"range": f"bytes={len(data)}-"}).status_code == 416
    assert client.head(address).headers["content-length"] == str(len(data))
    secret = tmp_path / "secret"
    secret.write_bytes(data)
    recording.unlink()
    recording.symlink_to(secret)  # in its folder, but another file
    os.utime(secret, ns=(1, 1))
    assert client.get(address).status_code == 404
    assert "no longer where it was" in client.get(f"/recordings/{job}").text


def test_a_recording_is_played_from_where_it_was_moved_to(tmp_path: Path, history: History) -> None:
    folder, archive = tmp_path / "in", tmp_path / "archive"
    folder.mkdir()
    archive.mkdir()
    write_wav(folder / "a.wav", tones(1))
    job = recorded(history.path, folder / "a.wav", facts(1), "你好")
    profile = {"after_done": "move:../archive"}
    settings = Settings.model_validate(
        {"database": history.path, "folder": [{"path": folder}], "profiles": {"default": profile}}
    )
    with Site(DatabaseLocation(history.path), settings, Rules()) as site:
        client = client_of(site)
        departure = history.ledger.keeping.depart(job, archive / "a.wav", NOW + 9)
        assert departure is not None
        (folder / "a.wav").rename(archive / "a.wav")
        history.ledger.keeping.departed(departure.recording_id, NOW + 9, outputs_follow=False)
        assert client.get(f"/recordings/{job}/original").status_code == 200
        (archive / "a.wav").rename(tmp_path / "b.wav")
        (archive / "a.wav").symlink_to(tmp_path / "b.wav")  # out of the folder
        assert client.get(f"/recordings/{job}/original").status_code == 404


def test_sound_is_decoded_to_exactly_the_second_asked_for(
    tmp_path: Path, history: History, client: TestClient
) -> None:
    history.ledger.close()
    recording = tmp_path / "a.aiff"
    soundfile.write(recording, tones(40), RATE)
    job = recorded(history.path, recording, facts(40, "aiff", "pcm_s16be"), "你好")
    address = f"/recordings/{job}/sound.wav"
    begin = 44 + 2 * (RATE * 33 + 1600)
    part = client.get(address, headers={"range": f"bytes={begin + 1}-{begin + 2 * 8000}"})
    assert part.status_code == 206
    assert part.headers["content-range"] == f"bytes {begin + 1}-{begin + 16_000}/{44 + 2 * RATE * 40}"
    samples = np.frombuffer(part.content[1:-1], "<i2")  # it began inside a sample
    assert np.array_equal(samples, tones(40)[RATE * 33 + 1601 : RATE * 33 + 1600 + 8000])
    head = client.get(address, headers={"range": "bytes=0-99"}).content
    assert head[:4] == b"RIFF"
    assert np.array_equal(np.frombuffer(head[44:], "<i2"), tones(1)[:28])
    assert client.head(address).headers["content-length"] == str(44 + 2 * RATE * 40)


@pytest.mark.parametrize("codec", ["libmp3lame", "aac", "flac", "libopus"])
def test_seeking_finds_the_second_in_compressed_recordings(codec: str, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    kind = {"libmp3lame": "mp3", "aac": "m4a", "flac": "flac", "libopus": "ogg"}[codec]
    path = tmp_path / f"a.{kind}"
    rate = 48_000 if codec == "libopus" else 44_100
    with av.open(os.fspath(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(tones(45, rate)[None, :], format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    written: list[bytes] = []
    signature = FileSignature.of(path.stat())
    for first in (31, 40):
        written.clear()
        play(
            Excerpt(path, tmp_path, signature, first * RATE, RATE, "auto", from_start=False),
            1.0,
            written.append,
        )
        samples = np.frombuffer(b"".join(written), "<i2")
        assert len(samples) == RATE
        # Nearly to the edges of the second, so that less than 40 ms are wrong.
        assert [tone_of(samples[a : a + 1600]) for a in (640, 7200, RATE - 2240)] == [first] * 3


def test_requests_from_elsewhere_and_without_the_token(history: History) -> None:
    job = history.done("a.wav", "你好")
    rules = Rules(frozenset({"notes.example.org"}), "0123456789abcdef")
    with Site(DatabaseLocation(history.path), None, rules) as site:
        client = client_of(site)
        assert client.get("/", headers={"host": "evil.example"}).status_code == 400
        for address in ("/", f"/recordings/{job}", f"/recordings/{job}/files/txt"):
            assert client.get(address).headers["location"] == "/login"
        assert client.get("/static/style.css").status_code == 200
        wrong = client.post("/login", data={"token": "wrong"}, headers={"origin": HOST})
        assert (wrong.status_code, "set-cookie" in wrong.headers) == (403, False)
        assert (
            client.post(
                "/login", data={"token": "0123456789abcdef"}, headers={"origin": "http://evil"}
            ).status_code
            == 403
        )
        right = client.post(
            "/login", data={"token": "0123456789abcdef"}, headers={"sec-fetch-site": "same-origin"}
        )
        assert right.status_code == 303
        assert "HttpOnly" in right.headers["set-cookie"]
        assert "SameSite=strict" in right.headers["set-cookie"]
        assert client.get("/").status_code == 200
        bearer = {"authorization": "Bearer 0123456789abcdef"}
        assert client_of(site).get("/", headers=bearer).status_code == 200
        big = client.post("/login", content=b"x" * 100_000, headers={"origin": HOST})
        assert big.status_code == 413


def test_answers_carry_the_policy_of_the_page_and_errors_say_what_to_do(tmp_path: Path) -> None:
    with Site(DatabaseLocation(tmp_path / "none.db"), None, Rules()) as site:
        answer = client_of(site).get("/")
    assert answer.status_code == 503
    assert "there is no database" in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_another_database_at_its_place_is_seen(tmp_path: Path, history: History, client: TestClient) -> None:
    history.done("old.wav", "你好")
    assert "old.wav" in client.get("/").text
    history.ledger.close()
    with History(tmp_path / "other.db") as other:
        other.done("new.wav", "你好")
    for ending in ("-wal", "-shm"):  # as a restored backup
        history.path.with_name(history.path.name + ending).unlink(missing_ok=True)
    (tmp_path / "other.db").replace(history.path)
    assert "new.wav" in client.get("/").text


def test_wav_header_agrees_with_the_library(tmp_path: Path, history: History, client: TestClient) -> None:
    history.ledger.close()
    recording = tmp_path / "a.wav"
    write_wav(recording, tones(2))
    job = recorded(history.path, recording, facts(3), "你好")  # a second more than there is: silence
    with wave.open(io.BytesIO(client.get(f"/recordings/{job}/sound.wav").content)) as file:
        assert (file.getframerate(), file.getnframes()) == (RATE, 3 * RATE)
        samples = np.array(struct.unpack(f"<{3 * RATE}h", file.readframes(3 * RATE)))
    assert np.array_equal(samples[: 2 * RATE], tones(2))
    assert not samples[2 * RATE :].any()
