"""Redact paths and names of recordings in texts that leave this machine."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

#: An absolute path inside a sentence, and the path after the mark of a folder. A space does not end it, since names may
#: contain spaces: rather too much of a sentence is redacted than too little of a name.
_REST = r"""(?=\S)[^\n:;,"'()\[\]{}<>]*"""
_PATH = re.compile(rf"(?<![\w/.>])~?/{_REST}")
_BEHIND_MARK = re.compile(rf"(?<=>)/{_REST}")
#: Quoted text comes from outside: a setting, a name, a tag of the recording.
_QUOTED = re.compile(r"(?<!\w)'[^'\n]*'(?!\w)|\"[^\"\n]*\"|“[^”\n]*”")
#: Shortest stem of a file name that is replaced on its own; shorter ones may be ordinary words.
_SHORTEST_NAME = 4


class Mask:
    """Replace paths and names with marks; the same name always gets the same mark.

    Marks are keyed hashes. The key exists only in this object, since names could be guessed from plain hashes by trying
    likely ones.
    """

    def __init__(
        self, known: Mapping[str, Iterable[Path]], words: Iterable[str] = (), key: bytes | None = None
    ) -> None:
        """`known`: word in the mark → paths that get such marks and are recognised exactly, without the words after.

        `words`: words from the settings that are replaced, too.
        """
        self._key = os.urandom(32) if key is None else key
        pairs = [(str(path), what) for what, paths in known.items() for path in paths]
        # Longest first, so that a folder is not replaced inside the path of its subfolder.
        self._known = sorted({(p, w) for p, w in pairs if len(p) > 1}, key=lambda pair: -len(pair[0]))
        self._words = sorted({w for w in words if w}, key=len, reverse=True)

    def name(self, path: Path | str) -> str:
        """Mark of a file name: hash and extension, `<a1b2c3d4>.wav`."""
        path = Path(path)
        suffix = path.suffix.lower()
        # Only a short suffix is an extension; otherwise a large part of the name may follow its last dot.
        return self._mark("", os.fsencode(path.name)) + (suffix if re.fullmatch(r"\.\w{1,5}", suffix) else "")

    def path(self, path: Path | str) -> str:
        """Mark of a path: `<folder a1b2c3d4>` if it is known, else `<path a1b2c3d4>`."""
        what = next((w for p, w in self._known if p == str(path)), "path")
        return self._mark(what, os.fsencode(path))

    def word(self, text: str, what: str) -> str:
        """Mark of a word chosen by a person: `<profile a1b2c3d4>`."""
        return self._mark(what, text.encode("utf-8", "surrogatepass"))

    def text(self, text: str, *names: Path, quotes: bool = True) -> str:
        """Redact paths, the `names` of these files, words of the settings and, with `quotes`, quoted text."""
        for path in names:
            for form in (str(path), path.name, *([path.stem] if len(path.stem) >= _SHORTEST_NAME else [])):
                if form:
                    text = text.replace(form, self.name(path))
        for word in self._words:
            text = re.sub(rf"(?<![A-Za-z]){re.escape(word)}(?![A-Za-z])", self.word(word, "word"), text)
        for known, what in self._known:
            text = text.replace(known, self._mark(what, os.fsencode(known)))
        if quotes:
            text = _QUOTED.sub(lambda m: self.word(m[0][1:-1], "text"), text)
        text = _BEHIND_MARK.sub(lambda m: f"/{self.word(m[0], 'path')}", text)
        return _PATH.sub(lambda m: self.word(m[0], "path"), text)

    def _mark(self, what: str, data: bytes) -> str:
        digest = hmac.new(self._key, data, hashlib.sha256).hexdigest()[:8]
        return f"<{what} {digest}>" if what else f"<{digest}>"
