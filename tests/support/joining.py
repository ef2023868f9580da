"""Token sequences to join, and the properties of every result."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

from dropscribe.engine.models.text import spacing
from dropscribe.engine.models.text.joining import join_words

MARKS = frozenset({"<s>", "</s>", "<unk>", "<OOV>", "<blank>", "<sos/eos>", "<|zh|>"})
#: Tokens of every kind in published vocabularies, and of further scripts.
ODD = (
    *MARKS,
    *"0123456789&.@'-_/,:;?!%$#()+*=~^|<>{}[]\"`\\",
    *(f"{digit}@@" for digit in "01235679"),
    *"abcdefghijklmnopqrstuvwxyz",
    *"AIXÉéß",
    "-@@", "'@@", "i'@@", "hel@@", "lo", "a@@", "s@@", "at", "hello", "www", "com", "mp", "year", "@@", "@@@", "x@@y",
    "'s", "'re", "n't", "'t", "t's", "re's", "dn't", "don't", "it's", "i'm", "can't", "’s", "’",
    "今", "天", "年", "元", "〇", "々", "𫖯", "﨎", "今天", "今@@", "AI今", "今AI",
    "カ", "メ@@", "ラ", "ー", "안녕", "하@@", "세요", "Ａ", "ａ@@", "５", "５@@", "，", "。", "《", "》", "（", "）", "“", "”", "·",
    "привет", "при@@", "שלום", "مرحبا", "ก", "ำ", "ि", "\u0301", "²", "½", "٣", "👍", "👨\u200d👩", "\u200b", "\u202e", "\x1b",
    " ", "", "\u3000", "\n", "▁x", "\ud800", "S", "NO_BIAS",
)  # fmt: skip


def sequences(vocabulary: Sequence[str], count: int, seed: int) -> list[list[str]]:
    """Random sequences of up to 16 tokens: of the whole vocabulary, or of its multi-character tokens only."""
    chosen = random.Random(seed)
    odd = [t for t in vocabulary if not (len(t) == 1 and spacing.is_cjk(t))]
    made = []
    for _ in range(count):
        share, length = chosen.random(), chosen.randrange(17)
        made.append([
            chosen.choice(odd if chosen.random() < share else vocabulary) for _ in range(length)
        ])  # fmt: skip
    return made


def check(tokens: Sequence[str]) -> None:
    """Raise AssertionError unless the words of `tokens` have exactly their characters and positions."""
    #: Odd lengths, so that no start equals an end.
    spans = [(20 * i, 20 * i + 11) for i in range(len(tokens))]
    words, places = join_words(tokens, spans)
    assert places is not None
    assert join_words(tokens, None) == (words, None)
    assert len(words) == len(places)
    assert all(words)
    said = [(t.replace("@@", ""), span) for t, span in zip(tokens, spans, strict=True) if t not in MARKS]
    heard = [(_closed(text), span) for text, span in said if _closed(text)]
    assert "".join(words).casefold() == "".join(text for text, _ in heard).casefold()
    assert all(a[1] <= b[0] for a, b in pairwise(places))
    # Each token with text lies in one word, whose text is as long as that of its tokens.
    for word, (start, end) in zip(words, places, strict=True):
        inside = [text for text, (a, b) in heard if start <= a and b <= end]
        assert sum(map(len, inside)) == len(word)
    text = spacing.join(words)
    assert _closed(text) == "".join(words)
    assert text == text.strip()


def _closed(text: str) -> str:
    return "".join(text.split())
