"""Normalise text before it is compared, so that differences of writing do not count as errors."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from dropscribe.scoring.numerals import canonical

#: Scripts written without spaces, in which each character counts as a word: Han, Kana, Bopomofo, Thai, Lao, Khmer, Burmese.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
#: A character of these scripts with its combining marks, or a run of others up to a space.
_WORD = re.compile(rf"[{_UNSPACED}][\u0300-\u036f\u3099\u309a]*|[^\s{_UNSPACED}]+")
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\uff07\u0060\u00b4", "'"))
#: An apostrophe inside of a word, as in "don't", belongs to the word.
_INNER = re.compile(r"(?<=\w)'(?=\w)")
_KEPT = "\ue000"  # private use: stands for an inner apostrophe while punctuation is removed


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What is made equal before comparison. The defaults are those of published error rates for Chinese."""

    case: bool = True  #: letters become lower case
    width: bool = (
        True  #: full-width letters and digits, ligatures and other compatibility forms become usual ones
    )
    punctuation: bool = True  #: marks and symbols are removed, except apostrophes inside of words
    spaces: bool = True  #: spaces do not count as characters
    #: Spoken numbers become digits: `二零二四年`, `三点五` and `百分之二十` equal `2024年`, `3.5` and `20%`.
    numbers: bool = False

    def applied(self, text: str) -> str:
        """The text as it is compared; runs of white space are one blank each."""
        done = unicodedata.normalize("NFKC" if self.width else "NFC", text)
        if self.case:
            done = done.casefold()
        if self.numbers:
            done = canonical(done)
        if self.punctuation:
            done = _INNER.sub(_KEPT, done.translate(_APOSTROPHES))
            done = "".join(" " if unicodedata.category(c)[0] in "PSC" and c != _KEPT else c for c in done)
            done = done.replace(_KEPT, "'")
        return " ".join(done.split())

    def characters(self, text: str) -> str:
        """Characters that count for the character error rate."""
        done = self.applied(text)
        return "".join(done.split()) if self.spaces else done

    def words(self, text: str) -> tuple[str, ...]:
        """Words for the word error rate; a Chinese or Japanese character counts as one."""
        return divided(self.applied(text))


def divided(text: str) -> tuple[str, ...]:
    """Words of a text; a character of a script without spaces is one."""
    return tuple(_WORD.findall(text))
