"""The decisions of the page: hosts, origins, tokens, languages, ranges, forms."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from dropscribe.config import WebSettings
from dropscribe.errors import ConfigError
from dropscribe.ledger.control import Verb
from dropscribe.ledger.records import Hit, JobState, Match
from dropscribe.service.control.commands import person_behind
from dropscribe.service.control.requests import Request
from dropscribe.web import serve
from dropscribe.web.pages.history import cursor_of, filter_of, snippet_of
from dropscribe.web.security import MOST_BODY, Rules, comes_from_here, refusal_of
from dropscribe.web.site import _FLUSH, _parts
from dropscribe.web.sound.ranges import HEADER, Bytes, bytes_of, wav_header
from dropscribe.web.words import CHINESE, ENGLISH, language_of, translate

TEMPLATES = Path(serve.__file__).parent / "templates"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8970", "localhost", "[::1]:8970", "192.0.2.7", "Notes.Example.org:443", "notes.example.org."],
)
def test_known_hosts(host: str) -> None:
    assert Rules(frozenset({"notes.example.org"})).is_host(host)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "localhost.evil.example", "notes.example.org@evil", "[", "127.0.0.1.evil"]
)
def test_a_name_that_leads_here_from_elsewhere_is_refused(host: str) -> None:
    assert not Rules(frozenset({"notes.example.org"})).is_host(host)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "http://here:8970"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "http://here:8970"}, True),
        ({"origin": "http://here"}, False),
        ({"origin": "null"}, False),
        ({}, True),  # a program
    ],
)
def test_where_a_request_comes_from(headers: dict[str, str], expected: bool) -> None:
    assert comes_from_here({"host": "here:8970"} | headers) is expected


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {"sec-fetch-site": "cross-site"}, None),  # a link
        ("POST", {"sec-fetch-site": "cross-site"}, 403),
        ("DELETE", {"origin": "http://evil.example"}, 403),
        ("POST", {"content-length": str(MOST_BODY + 1)}, 413),
        ("POST", {"content-length": "-1"}, 413),
        ("POST", {"content-length": "12"}, None),
        ("GET", {"host": "evil.example"}, 400),
    ],
)
def test_refusals(method: str, headers: dict[str, str], status: int | None) -> None:
    refusal = refusal_of(Rules(), method, "/", {"host": "127.0.0.1:8970"} | headers)
    assert (refusal.status if refusal else None) == status


def test_the_token_is_shown_by_cookie_or_header() -> None:
    rules = Rules(token="a long enough token")
    assert rules.knows_token({}, "Bearer a long enough token")
    assert rules.knows_token({"dropscribe": rules.session()}, "")
    assert not rules.knows_token({"dropscribe": "a long enough token"}, "")
    assert not rules.knows_token({}, "Basic a long enough token")
    assert not rules.knows_token({"dropscribe": "\udcff".encode("utf-8", "replace").decode()}, "Bearer 字")
    assert Rules().knows_token({}, "")


def test_an_address_of_the_network_needs_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="other machines"):
        serve.rules_of(WebSettings.model_validate({"address": "0.0.0.0"}))
    with pytest.raises(ConfigError, match=r"192\.0\.2\.7 can be reached"):
        serve.rules_of(
            WebSettings.model_validate({}), "192.0.2.7"
        )  # that of the socket of the service manager
    file = tmp_path / "web.token"
    file.write_text("short\n")
    open_to_all = WebSettings.model_validate({"address": "0.0.0.0", "token_file": file})
    with pytest.raises(ConfigError, match="at least 16"):
        serve.rules_of(open_to_all)
    file.write_text("# of the page\n0123456789abcdef\n")
    assert serve.rules_of(open_to_all).token == "0123456789abcdef"
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "web.token").write_text("fedcba9876543210")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert serve.rules_of(open_to_all).token == "fedcba9876543210"
    assert serve.rules_of(WebSettings.model_validate({})).token == ""


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", CHINESE),
        ("en-GB,en;q=0.9,zh;q=0.8", ENGLISH),
        ("de, zh-TW;q=0.5, en;q=0.4", CHINESE),
        ("zh;q=0, en;q=0.1", ENGLISH),
        ("fr", ENGLISH),
        ("", ENGLISH),
        ("zh;q=x", ENGLISH),
    ],
)
def test_the_language_is_that_of_the_reader(accepted: str, language: str) -> None:
    assert language_of(accepted) == language


def test_every_text_of_the_templates_has_a_translation() -> None:
    texts = {
        m[2]
        for file in TEMPLATES.glob("*.html")
        for m in re.finditer(r"""\bt\((["'])(.+?)\1[,)]""", file.read_text(encoding="utf-8"))
    }
    texts |= {state.value for state in JobState} | {"held"}
    assert len(texts) > 40
    assert {text for text in texts if translate(text, CHINESE) == text} == set()


def test_templates_have_neither_scripts_nor_styles_in_them() -> None:
    for file in TEMPLATES.glob("*.html"):
        text = file.read_text(encoding="utf-8")
        assert "<style" not in text
        assert "style=" not in text
        assert "<script>" not in text
        assert " on" + "click=" not in text
        assert "hx-on" not in text
        assert "http://" not in text.replace("http://www.w3.org/", "")
        assert "https://" not in text
        assert "|safe" not in text.replace(" ", "")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, Bytes(0, 100, 100, part=False)),
        ("bytes=0-", Bytes(0, 100, 100, part=True)),
        ("bytes=10-19", Bytes(10, 10, 100, part=True)),
        ("bytes=90-500", Bytes(90, 10, 100, part=True)),
        ("bytes=-30", Bytes(70, 30, 100, part=True)),
        ("bytes=-500", Bytes(0, 100, 100, part=True)),
        ("bytes=100-", None),
        ("bytes=-0", None),
        ("bytes=9-3", Bytes(0, 100, 100, part=False)),
        ("bytes=0-1,5-6", Bytes(0, 100, 100, part=False)),
        ("lines=1-2", Bytes(0, 100, 100, part=False)),
        ("bytes=-", Bytes(0, 100, 100, part=False)),
    ],
)
def test_ranges(asked: str | None, expected: Bytes | None) -> None:
    assert bytes_of(asked, 100) == expected


def test_the_header_of_a_recording_that_is_decoded_on_the_way() -> None:
    header = wav_header(16_000)
    assert len(header) == HEADER
    assert struct.unpack("<4sI4s", header[:12]) == (b"RIFF", 36 + 32_000, b"WAVE")
    assert struct.unpack("<HHIIHH", header[20:36]) == (1, 1, 16_000, 32_000, 2, 16)
    assert header[36:] == struct.pack("<4sI", b"data", 32_000)
    assert len(wav_header(1 << 40)) == HEADER  # 2 years


def test_a_form_gives_the_filter_of_the_command_line() -> None:
    given = {
        "q": "会议",
        "state": "done",
        "folder": "/srv/\\xff",
        "speaker": "Li",
        "least": "1.5",
        "most": "x",
        "to": "2026-03-01",
    }
    wanted = filter_of(given, [Path("/srv/\udcff")])
    assert (wanted.text, wanted.state, wanted.speaker) == ("会议", JobState.DONE, "Li")
    assert wanted.folder == Path("/srv/\udcff")
    assert (wanted.shortest_s, wanted.longest_s, wanted.since) == (90.0, None, None)
    assert wanted.until is not None
    assert filter_of({"host": "studio"}, []).host == "studio"
    assert filter_of({"host": ""}, []).host is None
    assert filter_of({"state": "held"}, []).held
    assert filter_of({"state": "nonsense", "from": "9999-99-99", "least": "-1"}, []) == filter_of({}, [])
    assert cursor_of("nonsense") is None


def test_a_snippet_is_divided_at_its_matches() -> None:
    hit = Hit(1, Path("/a"), 0.0, 0, 0, 9, "one two one", (Match(0, 3, 500, 600), Match(8, 11, 900, 990)))
    snippet = snippet_of(hit)
    assert snippet.parts == (("one", True), (" two ", False), ("one", True))
    assert snippet.at_ms == 500


@pytest.mark.parametrize(
    ("header", "sent", "visitor"),
    [
        ("", {"x-remote-user": "anna"}, "192.0.2.7"),
        ("x-remote-user", {"x-remote-user": " anna "}, "anna"),
        ("x-remote-user", {}, "192.0.2.7"),
    ],
)
def test_a_visitor_is_named_by_the_proxy_only_where_it_is_asked_to(
    header: str, sent: dict[str, str], visitor: str
) -> None:
    assert Rules(visitor_header=header).visitor(sent, "192.0.2.7") == visitor


def test_the_history_names_visitor_and_user() -> None:
    asked = Request(Verb.CANCEL, visitor="192.0.2.7\n" + "x" * 999)
    assert "\n" not in person_behind(asked, "web (998)")
    assert person_behind(asked, "web (998)").startswith("192.0.2.7")
    assert person_behind(asked, "web (998)").endswith("x on the page of web (998)")
    assert len(person_behind(asked, "web (998)")) < 130
    assert person_behind(Request(Verb.CANCEL), "anna (1000)") == "anna (1000)"


def test_a_page_is_divided_where_its_beginning_is_to_be_sent() -> None:
    assert list(_parts(iter(["<h1>", "会", _FLUSH, "\udcff"]))) == ["<h1>会".encode(), b"\\udcff"]
