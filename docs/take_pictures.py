"""Take the pictures of the page again: a small history with made-up meetings, in Chromium. `.venv/bin/python docs/take_pictures.py`."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import soundfile
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from dropscribe.config import Settings
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import Admission, Finish
from dropscribe.transcript.types import EngineFacts, MediaFacts, Segment, Speaker, Timings, Tokens
from dropscribe.web import serve
from dropscribe.web.app import build
from dropscribe.web.security import Rules
from dropscribe.web.site import Site

PICTURES = Path(__file__).resolve().parent / "pictures"
#: 30 November 2026, 9:00 UTC, epoch seconds.
NOW = 1_796_029_200.0
RATE_HZ, STEP_MS, UPLOAD_BYTES = 16_000, 220, 200 << 20
DESKTOP, PHONE = {"width": 900, "height": 576}, {"width": 390, "height": 780}
MARKS = {"，": 1, "。": 2, "？": 3}
#: Name of a recording, and what is said in it by whom.
MEETINGS = (
    ("2026-11-27 周会.m4a", (
        (1, "大家好，我们开始今天的周会。先看一下上个月的预算。"),
        (2, "上个月的预算用了九成，主要是新服务器的费用。差旅费比计划少。"),
        (1, "那么明年的预算怎么安排？有没有需要增加的项目？"),
        (2, "我建议增加两台机器，用来转写客服的录音。其他项目不变。"),
        (1, "好，下周五之前请把详细的计划发给我。今天就到这里。"),
    )),
    ("2026-11-25 客户访谈.wav", (
        (1, "谢谢您接受访谈。您平时怎么使用我们的产品？"),
        (2, "我们每天用它整理会议记录，最常用的是搜索。预算够的话想买更多。"),
    )),
    ("2026-11-20 董事会.mp3", (
        (1, "第一项议题是明年的预算，请财务部门先说明。"),
        (2, "预算草案已经发给各位，总额和今年相同。"),
    )),
)  # fmt: skip


def segments_of(said: tuple[tuple[int, str], ...]) -> tuple[Segment, ...]:
    """Segments with a token for each character; every ninth one is doubtful."""
    found, at = [], 0
    for index, (speaker, text) in enumerate(said):
        characters = [c for c in text if c not in MARKS]
        marks = [MARKS.get(after, 0) for c, after in zip(text, f"{text[1:]} ", strict=True) if c not in MARKS]
        begins = range(at, at + STEP_MS * len(characters), STEP_MS)
        sure = bytes(60 if i % 9 == 8 else 240 for i in range(len(characters)))
        plain = "".join(characters)
        tokens = Tokens(plain, begins, [begin + STEP_MS - 20 for begin in begins], sure)
        speakers = bytes([speaker]) * len(characters)
        found.append(Segment(index, at, begins[-1] + STEP_MS, plain, tokens, bytes(marks), speakers))
        at = begins[-1] + 3 * STEP_MS
    return tuple(found)


def fill(ledger: Ledger, folder: Path) -> int:
    """Put the meetings on record; returns the job of the first."""
    engine = EngineFacts((("asr", "paraformer-zh"), ("vad", "fsmn-vad")), "cuda:0", "fp16", (), None, 0.5)
    timings = Timings(
        (("decoding", 0.31), ("vad", 0.05), ("recognition", 0.22), ("publishing", 0.01)),
        (8,),
        0.1,
        60_000,
        0.6,
    )
    first = 0
    for number, (name, said) in enumerate(MEETINGS):
        path, at = folder / name, NOW - 90_000 * number
        segments = segments_of(said)
        length_ms = segments[-1].end_ms + 1000
        soundfile.write(path, np.zeros(RATE_HZ * length_ms // 1000, np.int16), RATE_HZ, format="WAV")
        status = path.stat()
        admission = Admission(
            path,
            folder,
            status.st_size,
            status.st_mtime_ns,
            status.st_ino,
            str(number) * 64,
            "default",
            "zh",
            True,
            2.0,
            3,
        )
        ledger.admit([admission], at)
        (claim,) = ledger.claim("host", 1, at + 1, 60.0, allow_isolated=False)
        media = MediaFacts(length_ms, "wav", "pcm_s16le", RATE_HZ, 1, "soundfile")
        speakers = (Speaker(1, "王芳"), Speaker(2, "李雷"))
        finish = Finish(claim.job_id, claim.generation, media, engine, timings, segments, None, speakers)
        assert ledger.finish([finish], at + 3) == []
        first = first or claim.job_id
    return first


@contextmanager
def served(site: Site) -> Iterator[str]:
    """Address of the page."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        server = uvicorn.Server(serve.config_of(build(site)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def take(page: Page, name: str) -> None:
    page.wait_for_timeout(500)
    page.screenshot(path=PICTURES / f"{name}.png", animations="disabled")
    print(f"took {name}.png")


def send(page: Page) -> None:
    """Drop three files on the page of uploads: one is taken, one is too large, one is no recording."""
    page.goto("/upload")
    held = page.evaluate_handle(
        """([files]) => {
          const held = new DataTransfer();
          for (const [name, size] of files) held.items.add(new File([new Uint8Array(size)], name));
          return held;
        }""",
        [[["2026-11-30 早会.m4a", 4000], ["演唱会.wav", UPLOAD_BYTES + 1], ["会议纪要.docx", 10]]],
    )
    page.dispatch_event("#upload", "drop", {"dataTransfer": held})
    page.locator("#sendings li.good").wait_for()


def pictures(browser: Browser, address: str, job: int) -> None:
    context = browser.new_context(base_url=address, viewport=DESKTOP, locale="en-GB", color_scheme="light")
    page = context.new_page()
    page.goto("/?q=预算")
    take(page, "search")
    page.goto(f"/recordings/{job}#t=8.0")
    take(page, "recording")
    page.locator(".said .at a").nth(2).click()
    take(page, "edit")
    send(page)
    take(page, "upload")
    context.close()
    context = browser.new_context(base_url=address, viewport=PHONE, locale="zh-CN", color_scheme="dark")
    page = context.new_page()
    page.goto("/?q=预算")
    take(page, "search-phone")
    context.close()


def main() -> None:
    root = Path(tempfile.gettempdir()) / "dropscribe"
    folder = root / "meetings"
    folder.mkdir(parents=True)
    try:
        location = DatabaseLocation(root / "jobs.db")
        with closing(open_ledger(location)) as ledger:
            job = fill(ledger, folder)
        settings = Settings.model_validate({"database": location.file, "folder": [{"path": folder}]})
        with (
            Site(location, settings, Rules(upload_bytes=UPLOAD_BYTES)) as site,
            served(site) as address,
            sync_playwright() as playwright,
        ):
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
            pictures(browser, address, job)
            browser.close()
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
