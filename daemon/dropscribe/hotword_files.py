"""Lists of hotwords in text files: one to a line, in any usual encoding."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

#: Longest hotword, characters.
LONGEST = 50
#: In FunASR's files a word is followed by its weight; none of our models uses it.
_WEIGHT = re.compile(r"\s+[+-]?\d+(\.\d+)?\s*$")
#: UTF-32 first: its mark begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True, slots=True)
class HotwordList:
    """The hotwords of a file, in order, each once."""

    words: tuple[str, ...]
    weights: int  #: number of words with a weight, which is ignored


def parse(data: bytes, most_bytes: int = 1 << 24) -> HotwordList:
    """Parse a file: one hotword a line; empty lines and those that begin with # are skipped, weights are ignored.

    UTF-8, with or without a byte order mark, UTF-16 and UTF-32 with one, else GBK (GB 18030). Raises ValueError, which
    names the line, and for more than `most_bytes`.
    """
    if len(data) > most_bytes:
        raise ValueError("it is too large for a list of words")
    words: dict[str, None] = {}
    weights = 0
    for number, line in enumerate(_decoded(data).splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        word = _WEIGHT.sub("", line)
        weights += word != line
        word = " ".join(word.split())
        if len(word) > LONGEST:
            raise ValueError(f"line {number} has {len(word)} characters, a hotword has {LONGEST} at most")
        if not word.isprintable():
            raise ValueError(f"line {number} has characters that cannot be printed")
        words[word] = None
    return HotwordList(tuple(words), weights)


def _decoded(data: bytes) -> str:
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)
    for name in (encoding,) if encoding else ("utf-8", "gb18030"):
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
        break
    raise ValueError("it is not a text file in UTF-8, UTF-16 or GBK")
