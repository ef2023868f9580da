"""Escaping of untrusted names and messages for terminals, and their round trip through JSON."""

from __future__ import annotations

import ast
import io
import json
import unicodedata
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

import dropscribe.cli
from dropscribe import escapes, logs

_anything = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mred\x1b[0m.wav", r"a\x1b[31mred\x1b[0m.wav"),
        ("\x1b]0;title\x07.wav", r"\x1b]0;title\x07.wav"),
        ("\x1b]8;;http://example.com\x1b\\link\x1b]8;;\x1b\\", r"\x1b]8;;http://example.com\x1b\link\x1b]8;;\x1b" + "\\"),
        ("\x9b31m\x9d\x85", r"\x9b31m\x9d\x85"),
        ("a\nfailed: b\r\t\x00\x7f", r"a\nfailed: b\r\t\x00\x7f"),
        ("a\u2028b\u2029", r"a\u2028b\u2029"),
        ("invoice\u202egpj.exe", r"invoice\u202egpj.exe"),
        ("\u2066a\u2069\u200e\u200f\u061c", r"\u2066a\u2069\u200e\u200f\u061c"),
        ("pay\u200bpal\u2060\ufeff\xad", r"pay\u200bpal\u2060\ufeff\xad"),
        ("meet\u200ding \u200c", r"meet\u200ding \u200c"),
        ("会\u200d议", r"会\u200d议"),
        ("a\U000e0041\U000e0042", r"a\U000e0041\U000e0042"),
        ("a\U000e0100\ufe0f\ufe0f", r"a\U000e0100\ufe0f\ufe0f"),
        ("bad\udcff\udc80", r"bad\xff\x80"),
        ("\ud800\uffff\ufdd0", r"\ud800\uffff\ufdd0"),
    ],
)  # fmt: skip
def test_control_and_invisible_characters_are_escaped(text: str, shown: str) -> None:
    assert escapes.one_line(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "meeting.wav", "会议　記録.wav", "회의.m4a", "اجتماع.wav", "می\u200cخواهم.wav", "פגישה.wav", "क्\u200dष.ogg", "ประชุม.mp3",
        "👩\u200d👩\u200d👧.wav", "❤\ufe0f\u200d🔥", "🧑🏿\u200d💻", "1\ufe0f\u20e3", "🇩🇪", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "葛\U000e0100城", "Zoe\u0308", "a\xa0b", "[red]x[/red]", "\\x1b", "\ue000",
    ],
)  # fmt: skip
def test_names_in_any_script_and_emoji_stay_readable(text: str) -> None:
    assert escapes.one_line(text) == text
    assert escapes.dumps(text) == json.dumps(text, ensure_ascii=False)


def test_a_transcript_keeps_its_lines() -> None:
    assert escapes.lines("今天\n\x1b[2J天\r\n") == "今天\n\\x1b[2J天\\r\n"


@given(_anything)
def test_escaped_text_has_no_control_or_bidirectional_characters(text: str) -> None:
    for shown in (escapes.one_line(text), escapes.lines(text).replace("\n", ""), escapes.dumps(text)):
        shown.encode("utf-8")
        assert not any(unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") for c in shown)
        assert not any(unicodedata.bidirectional(c) in _DIRECTING for c in shown)
        assert not {"\u200e", "\u200f", "\u061c"} & set(shown)


_DIRECTING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


@given(st.recursive(_anything, lambda inner: st.lists(inner) | st.dictionaries(_anything, inner)))
def test_json_round_trip(value: object) -> None:
    # Two adjacent halves of a surrogate pair are one character in JSON.
    expected = json.loads(json.dumps(value))
    assert json.loads(escapes.dumps(value)) == expected
    assert json.loads(escapes.dumps(value, indent=2)) == expected


@pytest.mark.parametrize("as_json", [True, False])
def test_messages_and_keys_in_log_lines_are_escaped(as_json: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    hostile = "a\x1b]0;owned\x07\x9b31m\n2026-01-01 [info] forged\u202e\u2028.wav"
    try:
        logs.setup(json_lines=as_json)
        logs.event(
            logs.get("intake"),
            logs.Action.SKIPPED,
            f"{hostile}: skipped",
            path=hostile,
            more=[{"in": hostile}],
        )
    finally:
        structlog.reset_defaults()
    written = stream.getvalue()
    assert written.endswith("\n")
    assert written.count("\n") == 1
    assert not set("\x1b\x07\x9b\u202e\u2028") & set(written)
    if as_json:
        line = json.loads(written)
        assert (line["path"], line["event"], line["more"]) == (
            hostile,
            f"{hostile}: skipped",
            [{"in": hostile}],
        )
    else:
        assert r"a\x1b]0;owned\x07\x9b31m\n2026" in written


_characters = st.text(st.sampled_from('a"\\\n你é'))
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | _characters
_documents = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner) | st.tuples(inner) | st.dictionaries(_characters | st.integers() | st.none(), inner)
    ),
    max_leaves=8,
)


@given(_documents, st.integers(1, 3))
def test_indented_documents_are_those_of_json(document: object, indent: int) -> None:
    assert escapes.dumps(document, indent=indent) == json.dumps(document, ensure_ascii=False, indent=indent)


#: The only command modules that print directly: without untrusted text, or escaping it themselves.
WRITERS = frozenset({"output", "bench", "app", "doctor", "streams"})


def test_commands_print_only_through_escaping_functions() -> None:
    found = set()
    for path in Path(dropscribe.cli.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called in {"print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write"}:
                found.add(path.stem)
    assert found <= WRITERS
