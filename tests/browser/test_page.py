"""What people do on the page, in Chromium: search and listen, send, correct, on a phone, in many tabs."""

from __future__ import annotations

import http.client
import re
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import soundfile
from playwright.sync_api import Page, Route, expect
from starlette.testclient import TestClient

from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.web.app import build
from dropscribe.web.security import Rules
from dropscribe.web.site import Site
from tests.browser.conftest import HEARD, LIMIT_MS, UPLOAD_MB, Place, Visitors, until
from tests.support.command_line import outcome
from tests.support.scripted_engine import MARKS, RATE_HZ, SENTENCE_MS, pitch_hz, sentence, tones

expect.set_options(timeout=LIMIT_MS)
#: Begin to analyse what the player plays.
LISTEN = """() => {
  const context = new AudioContext();
  window.heard = context.createAnalyser();
  window.heard.fftSize = 8192;
  window.heard.smoothingTimeConstant = 0;
  context.createMediaElementSource(document.getElementById("sound")).connect(window.heard).connect(context.destination);
  return context.resume();
}"""
#: The second that is played, the loudest frequency in it, Hz (0: silence), and the sentence that is marked.
PLAYED = """() => {
  const found = new Float32Array(window.heard.frequencyBinCount);
  window.heard.getFloatFrequencyData(found);
  let loudest = 0;
  found.forEach((level, i) => { if (level > found[loudest]) loudest = i; });
  const pitch = found[loudest] > -60 ? loudest * window.heard.context.sampleRate / window.heard.fftSize : 0;
  const marked = document.querySelector(".s.playing[aria-current=true]");
  return [document.getElementById("sound").currentTime, pitch, marked && marked.textContent];
}"""
PAUSED = "() => document.getElementById('sound').paused"
AT = "() => document.getElementById('sound').currentTime"
WIDTH = "() => document.documentElement.scrollWidth - window.innerWidth"
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
CHECKED = """async () => {
  const found = await axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] });
  const wrong = found.violations.flatMap((v) => v.nodes.map((n) => v.id + ": " + n.target + ": " + n.failureSummary));
  return found.passes.some((p) => p.id === "color-contrast") ? wrong : ["nothing was checked"];
}"""


def said(page: Page, number: int) -> Any:
    """The sentence of this number on the page of a recording."""
    return page.locator(".s", has_text=sentence(number))


def hears(page: Page, number: int) -> None:
    """Wait until the tone of a sentence is played, and the sentence is marked as the one that is.

    On a busy machine the player may be past it before this process sees it: then it is clicked again.
    """

    def right() -> bool:
        at, pitch, marked = page.evaluate(PLAYED)
        if at > (number + 1) * SENTENCE_MS / 1000:
            said(page, number).click()
        return bool(abs(pitch - pitch_hz(number)) < 40 and marked == sentence(number))

    until(page, right, f"the tone of {sentence(number)} is heard, and it is marked")


@pytest.mark.parametrize("name", HEARD)
def test_a_sentence_that_was_found_is_heard(name: str, place: Place, visitors: Visitors) -> None:
    page = visitors.page()
    page.goto("/")
    page.get_by_role("searchbox").fill(f"{MARKS[3]}字")
    row = page.locator(".jobs > li", has_text=name)
    expect(row.locator("mark")).to_have_text(f"{MARKS[3]}字")
    row.locator(".snippets a").first.click()
    expect(page).to_have_url(re.compile(rf"/recordings/{place.jobs[name]}#t=[67]\.\d+$"))
    expect(page.locator(".s.found")).to_have_text(sentence(3))
    page.evaluate(LISTEN)
    until(page, lambda: 6 < page.evaluate(AT) < 8, "the player is at the place that was found")
    page.keyboard.press("Space")
    hears(page, 3)
    said(page, 5).click()
    hears(page, 5)
    page.keyboard.press("Space")
    until(page, lambda: page.evaluate(PAUSED), "it pauses")
    # Arrows go 5 seconds: from the middle of one sentence into another.
    at = page.evaluate(AT)
    page.keyboard.press("ArrowLeft")
    assert at - 5.1 < page.evaluate(AT) < at - 4.9
    page.keyboard.press("ArrowRight")
    assert abs(page.evaluate(AT) - at) < 0.1
    said(page, 1).focus()
    page.keyboard.press("Enter")
    hears(page, 1)


def test_recordings_are_sent_and_their_text_grows(place: Place, visitors: Visitors, tmp_path: Path) -> None:
    sent, dropped = tmp_path / "sent.wav", tmp_path / "dropped.flac"
    soundfile.write(sent, tones(9), RATE_HZ)
    soundfile.write(dropped, tones(5), RATE_HZ)
    (tmp_path / "notes.docx").write_bytes(b"no recording")
    content = sent.read_bytes()
    half = len(content) // 2
    puts: list[str] = []

    def lose_the_first(route: Route) -> None:
        if route.request.method == "PUT" and "sent.wav" in route.request.url:
            puts.append(route.request.url)
            if len(puts) == 1:  # half of it arrives
                part_arrives(route.request.url, content[:half])
                route.abort("connectionreset")
                return
        route.continue_()

    place.pace.write_text("2", encoding="ascii")
    page = visitors.page()
    page.route("**/api/v1/upload?*", lose_the_first)
    page.goto("/upload")
    page.locator("#files").set_input_files([sent, tmp_path / "notes.docx"])
    rows = page.locator("#sendings li")
    expect(rows.filter(has_text="notes.docx")).to_contain_text("no recording by its name")
    expect(rows.filter(has_text="sent.wav")).to_contain_text("connection lost; trying again")
    drop(page, {"dropped.flac": dropped.read_bytes(), "large.wav": (UPLOAD_MB << 20) + 1})
    expect(rows.filter(has_text="large.wav")).to_contain_text(f"larger than {UPLOAD_MB} MiB")
    expect(rows.filter(has_text="sent.wav")).to_contain_text("sent; it will be transcribed")
    expect(rows.filter(has_text="dropped.flac")).to_contain_text("sent; it will be transcribed")
    assert [f"offset={half}" in url for url in puts] == [False, True]
    assert (place.daemon.inbox / "sent.wav").read_bytes() == content
    assert (place.daemon.inbox / "dropped.flac").read_bytes() == dropped.read_bytes()

    rows.filter(has_text="sent.wav").get_by_role("link", name="Show it").click()
    text = page.locator(".partial")
    expect(text).to_contain_text(sentence(1))
    expect(text).not_to_contain_text(sentence(2))
    place.pace.write_text("5", encoding="ascii")
    expect(text).to_contain_text(sentence(4))
    expect(text).not_to_contain_text(sentence(5))
    place.pace.unlink()
    # The page loads itself again at the end, with sentences that can be played.
    expect(page.locator(".heading .state")).to_have_text("done")
    expect(page.locator(".s")).to_have_count(9)


def part_arrives(url: str, part: bytes) -> None:
    """Send a part of a recording, whose connection is lost behind it."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    connection.request("PUT", f"{parts.path}?{parts.query}", body=part)
    assert connection.getresponse().status == 200
    connection.close()


def drop(page: Page, contents: dict[str, bytes | int]) -> None:
    """Drop files on the page: of these contents, or of zeros of a length."""
    given = [(name, c if isinstance(c, int) else list(c)) for name, c in contents.items()]
    held = page.evaluate_handle(
        """(given) => {
          const held = new DataTransfer();
          for (const [name, content] of given) {
            const bytes = typeof content === "number" ? new Uint8Array(content) : Uint8Array.from(content);
            held.items.add(new File([bytes], name));
          }
          return held;
        }""",
        given,
    )
    page.dispatch_event("#upload", "drop", {"dataTransfer": held})


def test_corrections_outlast_a_redo(place: Place, visitors: Visitors) -> None:
    page = visitors.page()
    page.goto(f"/recordings/{place.jobs['spoken.wav']}")
    page.locator(".said .at a").first.click()
    page.get_by_role("textbox").first.fill("今天讨论<b>结算</b>")
    page.get_by_role("button", name="Save").click()
    shown = page.locator(".heading .state.done")
    expect(shown).to_be_visible()
    expect(page.locator(".s").first).to_have_text("今天讨论<b>结算</b>")
    page.get_by_label("王芳").fill("李雷")
    page.get_by_role("button", name="Name").click()
    expect(shown).to_be_visible()
    expect(page.locator(".who").first).to_contain_text("李雷")
    page.get_by_role("button", name="redo").click()
    expect(shown).to_be_visible()
    expect(page.locator(".s").first).to_have_text("今天讨论<b>结算</b>")
    expect(page.locator(".who").first).to_contain_text("李雷")
    assert (
        "version 4"
        in outcome("jobs", "show", str(place.job("spoken.wav")), "--config", place.daemon.config)[1]
    )
    text = (place.daemon.inbox / "spoken.txt").read_text(encoding="utf-8")
    assert "今天讨论<b>结算</b>" in text
    assert "李雷" in text


def test_of_two_who_correct_at_once_the_second_is_told_and_loses_nothing(
    place: Place, visitors: Visitors
) -> None:
    job = place.jobs["shared.wav"]
    first, second = visitors.page(), visitors.page(locale="zh-CN")
    for page in (first, second):
        page.goto(f"/recordings/{job}/edit?at={SENTENCE_MS}")
    first.get_by_role("textbox").fill("这里有地球")
    second.get_by_role("textbox").fill("这里有土地")
    first.get_by_role("button", name="Save").click()
    expect(first.locator(".heading .state.done")).to_be_visible()
    second.get_by_role("button", name="保存").click()
    expect(second.get_by_role("status")).to_be_visible()
    expect(second.get_by_role("textbox")).to_have_value("这里有土地")
    expect(first.locator(".s").nth(1)).to_have_text("这里有地球")


def test_twenty_tabs_are_all_live(place: Place, visitors: Visitors) -> None:
    context = visitors.context()
    tabs = [context.new_page() for _ in range(20)]
    for tab in tabs:
        tab.goto("/status")
    assert outcome("pause", "--config", place.daemon.config)[0] == 0
    for tab in tabs:
        expect(tab.locator("#now")).to_contain_text("All folders: paused by")
    tabs[7].get_by_role("button", name="Resume all").click()
    for tab in tabs:
        expect(tab.locator("#now")).not_to_contain_text("All folders: paused by")


def test_every_page_is_accessible_in_both_schemes_and_languages_and_fits_a_phone(
    place: Place, visitors: Visitors
) -> None:
    visitors.expected.append("/recordings/999")
    jobs = place.jobs
    failed, done = f"/recordings/{jobs['broken.wav']}", f"/recordings/{jobs[HEARD[0]]}"
    addresses = {
        "/": "list", f"/?q={MARKS[2]}字&least=0.1": "search", done: "recording", failed: "failed", f"{done}/edit?at=0": "edit",
        "/upload": "send", "/status": "status", "/recordings/999": "error", "/login": "login",
    }  # fmt: skip
    found = []
    with Site(DatabaseLocation(place.daemon.database), None, Rules(token="x" * 20)) as site:
        login = TestClient(build(site), base_url=place.address).get("/login").text
    # Colours of both schemes, and sizes and places on a desk and a phone, in one half of all combinations.
    # What looks like another page in the dark and on a phone is checked there on that page only.
    alike = {"search", "failed", "error", "login", "edit"}
    for locale, language, scheme, width in (("en-GB", "en", "light", 1280), ("zh-CN", "zh-CN", "dark", 390)):
        page = visitors.page(locale=locale, color_scheme=scheme, viewport={"width": width, "height": 800})
        page.route("**/login", lambda route: route.fulfill(body=login, content_type="text/html"))
        for address, name in addresses.items():
            page.goto(address)
            if name != "login":
                assert page.locator("html").get_attribute("lang") == language
            if name == "send":
                drop(page, {"x.docx": 1})
            if scheme == "light" or name not in alike:
                page.evaluate(AXE)
                found += [f"{name}, {scheme}: {fault}" for fault in page.evaluate(CHECKED)]
            page.set_viewport_size({"width": 390, "height": 800})
            if page.evaluate(WIDTH) > 0:
                found.append(f"{name}, {language}: wider than a phone")
            page.set_viewport_size({"width": width, "height": 800})
        dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
        assert dark == (scheme == "dark")
    assert found == []
