"""Takes out of texts what is nobody's business outside this machine: paths and names of recordings."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

#: An absolute path inside a sentence, and what follows the mark of a folder. A space does not end it: recordings have
#: names with spaces, and a sentence that loses its end tells less than a name tells too much.
_REST = r"""(?=\S)[^\n:;,"'()\[\]{}<>]*"""
_PATH = re.compile(rf"(?<![\w/.>])~?/{_REST}")
_BEHIND_MARK = re.compile(rf"(?<=>)/{_REST}")
#: What stands in quotes was read somewhere: a setting, a name, a tag of the recording.
_QUOTED = re.compile(r"(?<!\w)'[^'\n]*'(?!\w)|\"[^\"\n]*\"|“[^”\n]*”")
#: A shorter stem is a word as often as a name.
_SHORTEST_NAME = 4


class Mask:
    """Replaces paths and names by marks, the same one by the same mark. The key makes marks useless elsewhere.

    A mark says nothing of what it stands for to anybody without the key, which is forgotten with this object: a
    hash without one would be found by trying likely names.
    """

    def __init__(
        self, known: Mapping[str, Iterable[Path]], words: Iterable[str] = (), key: bytes | None = None
    ) -> None:
        """`known`: what (a word for the mark) is where; marks of these paths do not eat the words after them.

        `words`: what people wrote into the settings.
        """
        self._key = os.urandom(32) if key is None else key
        pairs = [(str(path), what) for what, paths in known.items() for path in paths]
        # The longest first, so that a folder does not hide what lies below it.
        self._known = sorted({(p, w) for p, w in pairs if len(p) > 1}, key=lambda pair: -len(pair[0]))
        self._words = sorted({w for w in words if w}, key=len, reverse=True)

    def name(self, path: Path | str) -> str:
        """`<a1b2c3d4>.wav`: extension and hash of a file's name."""
        path = Path(path)
        suffix = path.suffix.lower()
        # An extension is a few letters; what follows the last dot of a name may be half of it.
        return self._mark("", os.fsencode(path.name)) + (suffix if re.fullmatch(r"\.\w{1,5}", suffix) else "")

    def path(self, path: Path | str) -> str:
        """`<folder a1b2c3d4>` where it is known, else `<path a1b2c3d4>`."""
        what = next((w for p, w in self._known if p == str(path)), "path")
        return self._mark(what, os.fsencode(path))

    def word(self, text: str, what: str) -> str:
        """`<profile a1b2c3d4>` for a word that a person chose."""
        return self._mark(what, text.encode("utf-8", "surrogatepass"))

    def text(self, text: str, *names: Path, quotes: bool = True) -> str:
        """A sentence without paths, without the names of these files, and, if asked for, without what it quotes."""
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
