r"""Escape control and invisible characters in untrusted text for terminals and JSON. Pure.

Names, tags and messages may contain anything. Escaped are controls (C0, DEL, C1), line and paragraph separators,
bidirectional controls, invisible characters (Unicode's Default_Ignorable_Code_Point), noncharacters, and lone
surrogates, which represent bytes that are not UTF-8. Letters of every script stay, and invisible characters that a
script or an emoji needs: joiners between letters of joining scripts or emoji, variation selectors, flags made of tags.
"""

from __future__ import annotations

import json
import math
import os
import re
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

#: Characters to escape, as a character class of a regular expression, without C0.
_HARMFUL = (
    r"\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    r"\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
#: Scripts that join letters, symbols and emoji.
_JOINING = (
    r"\u0620-\u08ff\u0900-\u109f\u1780-\u17b3\u17b6-\u17ff\u1810-\u18af\u2190-\u2bff\ua8e0-\uabff\ufb50-\ufdcf\ufdf0-\ufdff"
    r"\ufe0f\ufe70-\ufefc\U00011000-\U00011fff\U0001f000-\U0001faff"
)
_IDEOGRAPHS = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_NEEDED = (
    rf"(?<=[{_JOINING}])[\u200c\u200d](?=[{_JOINING}])"
    r"|(?<=[\u1810-\u18af])[\u180b-\u180f]"
    rf"|(?<=[^\x00-\x22\x24-\x29\x2b-\x2f\x3a-\x7e{_HARMFUL}])[\ufe00-\ufe0f]"
    rf"|(?<=[{_IDEOGRAPHS}])[\U000e0100-\U000e01ef]"
    r"|\U0001f3f4[\U000e0020-\U000e007e]{2,6}\U000e007f"
)
#: Fast search for any such character; `_EACH` then distinguishes the needed ones.
_ANY = re.compile(rf"[\x00-\x1f{_HARMFUL}]")
_ANY_BUT_C0 = re.compile(rf"[{_HARMFUL}]")
_EACH = re.compile(rf"(?P<needed>{_NEEDED})|[\x00-\x1f{_HARMFUL}]")
_EACH_BUT_C0 = re.compile(rf"(?P<needed>{_NEEDED})|[{_HARMFUL}]")
#: Bytes of a name that are not UTF-8 (PEP 383).
_BYTES = range(0xDC80, 0xDD00)


def readable(path: Path | str) -> str:
    r"""Path as valid Unicode text, equal to the path if that is UTF-8; other bytes become `\xff`."""
    text = os.fspath(path)
    return text if text.isascii() else os.fsencode(text).decode("utf-8", "backslashreplace")


def one_line(text: str) -> str:
    r"""Escape `text` to one harmless line: `\n`, `\x1b`, `\u202e`; a byte that is not UTF-8 as `\xff`."""
    if _ANY.search(text) is None:
        return text
    return _EACH.sub(_shown, text)


def lines(text: str) -> str:
    """Escape each line as `one_line` does; line feeds stay."""
    return "\n".join(map(one_line, text.split("\n")))


def in_json(document: str) -> str:
    r"""Escape the same characters in a JSON document as `\uXXXX`; its parsed value does not change."""
    if _ANY_BUT_C0.search(document) is None:
        return document
    return _EACH_BUT_C0.sub(_shown_in_json, document)


def dumps(document: Any, **options: Any) -> str:
    """`json.dumps` with harmless characters unescaped; the result can always be encoded. options: of `json.dumps`."""
    if options.keys() == {"indent"}:
        return in_json(_indented(document, "\n", " " * options["indent"]))
    return in_json(json.dumps(document, ensure_ascii=False, **options))


def _indented(value: Any, line: str, step: str) -> str:
    """`json.dumps` with an indent, in a fifth of its time: that is not written in C. `line`: begin of a line of its parent."""
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is int or (kind is float and math.isfinite(value)):
        return repr(value)
    if not value or not isinstance(value, (dict, list, tuple)):
        return json.dumps(value, ensure_ascii=False)
    inner = line + step
    if isinstance(value, dict):
        parts = [f"{_key(key)}: {_indented(one, inner, step)}" for key, one in value.items()]
        return f"{{{inner}{f',{inner}'.join(parts)}{line}}}"
    return f"[{inner}{f',{inner}'.join([_indented(one, inner, step) for one in value])}{line}]"


def _key(key: Any) -> str:
    """A key of a JSON object, in quotes."""
    return encode_basestring(key) if type(key) is str else json.dumps({key: 0}, ensure_ascii=False)[1:-4]


def _shown(found: re.Match[str]) -> str:
    character = found.group()
    if found["needed"]:
        return character
    if ord(character) in _BYTES:
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def _shown_in_json(found: re.Match[str]) -> str:
    character = found.group()
    return character if found["needed"] else json.dumps(character)[1:-1].replace("\x7f", "\\u007f")
