"""Fixtures: one daemon with a scripted engine, one page, and one browser for all tests of a module."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import soundfile
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    sync_playwright,
)

from dropscribe.transcript.types import MediaFacts
from tests.support import scripted_engine
from tests.support.daemon_process import DaemonProcess, wait_until
from tests.support.histories import History
from tests.support.recorded import recorded

CHROMIUM = shutil.which("chromium")
#: Recordings whose sound is heard: the first is played as it is, the others are decoded for the browser.
HEARD = ("plain.flac", "lossy.mp3", "foreign.aiff")
#: Sentences in each of them.
SENTENCES = 8
#: Largest recording that the page takes, MiB.
UPLOAD_MB = 8
#: Longest wait for what is expected, ms.
LIMIT_MS = 90_000


@dataclass(frozen=True)
class Place:
    """A daemon with recordings, and the address of its page."""

    daemon: DaemonProcess
    address: str
    #: Numbers of jobs by name of the recording.
    jobs: dict[str, int]
    #: A file with the number of sentences that the engine may deliver; none: all.
    pace: Path

    def job(self, name: str) -> int:
        """The newest job of a recording."""
        rows = self.daemon.rows(
            "select j.id from jobs j join recordings r on r.id = j.recording_id where r.path = ? order by j.id desc limit 1",
            str(self.daemon.inbox / name),
        )
        return int(rows[0]["id"])


@dataclass
class Visitors:
    """Browser contexts of people, and what went wrong in them."""

    browser: Browser
    address: str
    contexts: list[BrowserContext] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    #: Addresses whose errors a test brings about.
    expected: list[str] = field(default_factory=list)

    def context(self, **options: Any) -> BrowserContext:
        """A browser of a new person. An error in its console, or a request to elsewhere, fails the test at its end."""
        options = {"locale": "en-GB", "viewport": {"width": 1280, "height": 800}, **options}
        context = self.browser.new_context(base_url=self.address, **options)
        context.set_default_timeout(LIMIT_MS)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.wrong.append(str(error.error)))
        context.on("request", self._request)
        context.on("response", self._response)
        self.contexts.append(context)
        return context

    def page(self, **options: Any) -> Page:
        """A page of a new person."""
        return self.context(**options).new_page()

    def close(self) -> None:
        """End all browsers, and fail on what went wrong."""
        for context in self.contexts:
            context.close()
        assert self.wrong == []

    def _console(self, message: ConsoleMessage) -> None:
        # What a request came to is reported by its answer.
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource"):
            self.wrong.append(f"{message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.wrong.append(f"asked elsewhere: {request.url}")

    def _response(self, response: Response) -> None:
        if response.status >= 400 and not any(text in response.url for text in self.expected):
            self.wrong.append(f"{response.status}: {response.url}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, whose players need no click before they play."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--autoplay-policy=no-user-gesture-required"],
            timeout=LIMIT_MS,
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def place(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A daemon that has transcribed `HEARD` and others, with its page."""
    root = tmp_path_factory.mktemp("browser")
    pace, port = root / "pace", _free_port()
    daemon = DaemonProcess(
        root,
        model="null",
        engine="batch_s = 1",
        extra=f"[web]\nport = {port}\nupload = true\nupload_mb = {UPLOAD_MB}\n[profiles.default]\npartial_after_s = 0.01\n",
        command=scripted_engine.command(pace),
    )
    tones = scripted_engine.tones(SENTENCES)
    with History(daemon.database):
        pass
    spoken = daemon.inbox / "spoken.wav"
    soundfile.write(spoken, tones[: 3 * scripted_engine.RATE_HZ], scripted_engine.RATE_HZ)
    facts = MediaFacts(3000, "wav", "pcm_s16le", scripted_engine.RATE_HZ, 1, "soundfile")
    recorded(daemon.database, spoken, facts, "今天讨论预算", "明天再见", speaker="王芳")
    for i, name in enumerate(HEARD):
        # A sample less each, so that none is a copy of another one.
        soundfile.write(daemon.inbox / name, tones[: len(tones) - i], scripted_engine.RATE_HZ)
    soundfile.write(daemon.inbox / "shared.wav", tones[: len(tones) // 2], scripted_engine.RATE_HZ)
    (daemon.inbox / "broken.wav").write_bytes(b"RIFF no recording" * 99)
    with ExitStack() as stack:
        stack.enter_context(daemon)
        stack.enter_context(_served(daemon, port))
        for name in (*HEARD, "shared.wav"):
            daemon.wait_for(daemon.inbox / name)
        daemon.wait_for(daemon.inbox / "broken.wav", "failed")
        found = Place(daemon, f"http://127.0.0.1:{port}", {}, pace)
        found.jobs.update(
            {name: found.job(name) for name in (*HEARD, "shared.wav", "broken.wav", "spoken.wav")}
        )
        yield found


@pytest.fixture
def visitors(browser: Browser, place: Place) -> Iterator[Visitors]:
    """People with browsers."""
    people = Visitors(browser, place.address)
    yield people
    people.close()


def until(page: Page, condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, while the browser goes on. The page's own policy forbids Playwright's `wait_for_function`."""
    end = time.monotonic() + LIMIT_MS / 1000
    while not condition():
        assert time.monotonic() < end, f"never happened: {what}"
        page.wait_for_timeout(50)


def _free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        return int(listening.getsockname()[1])


class _served:  # noqa: N801 - a context manager
    """`dropscribe web` with the configuration of a daemon."""

    def __init__(self, daemon: DaemonProcess, port: int) -> None:
        self._daemon, self._port = daemon, port

    def __enter__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dropscribe", "web", "--config", str(self._daemon.config)],
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._listens, "the page is served")

    def _listens(self) -> bool:
        assert self._process.poll() is None
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self._port)) == 0

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(60) in {0, -signal.SIGTERM}
