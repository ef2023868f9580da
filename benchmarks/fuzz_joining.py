"""Fuzz the joining of tokens to words, and measure its speed against FunASR's.

    .venv/bin/python benchmarks/fuzz_joining.py [TOKENS.json|.txt ...] [--count 1000000] [--seed 1] [--out FILE.json]

TOKENS are vocabularies of models; the default is that of the bundled model, extended by every kind of token in
published models. For every sequence it is checked that no exception is raised, that the characters of each token are
in one word, that each word lasts from the start of its first token to the end of its last, in order, and that the
text consists of the words and spaces. Findings are printed, and the exit status is 1.

Joining is then timed, in thousands of tokens per second, against FunASR's `sentence_postprocess` on sequences that it
supports.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import surroundings

from dropscribe.engine.models import store
from dropscribe.engine.models.text import spacing
from dropscribe.engine.models.text.joining import join_tokens
from tests.support import joining

# FunASR prints notices when it is imported; the report goes to standard output.
with contextlib.redirect_stdout(sys.stderr):
    from funasr.utils.postprocess_utils import sentence_postprocess

BUNDLED = store.BUNDLED / "paraformer-mini" / "tokens.json"
#: Sequences generated and checked at a time.
PORTION = 10_000
#: Most findings that are printed.
SHOWN = 20
#: Timed sequences, and tokens in each (a segment of some 10 s).
TIMED, LENGTH = 2_000, 45
WORDS = ("ma@@", "chine", "the", "of", "ne@@", "t@@", "work", "learning", "a", "b")


def main() -> None:
    """Check, measure and report."""
    parser = surroundings.parser(__doc__)
    parser.add_argument("tokens", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    vocabularies = [_read(p) for p in options.tokens] or [[*_read(BUNDLED), *joining.ODD]]
    findings = sum(_check(v, options.count // len(vocabularies), options.seed) for v in vocabularies)
    options.tokens = [p.name for p in options.tokens]
    surroundings.report(
        "fuzz_joining", options, {"findings": findings, "ktokens_per_s": _speeds(vocabularies[0])}
    )
    sys.exit(findings > 0)


def _read(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    listed: list[str] = json.loads(text) if path.suffix == ".json" else text.split("\n")
    return [token for token in listed if token]


def _check(vocabulary: Sequence[str], count: int, seed: int) -> int:
    findings = 0
    for portion in range(0, count, PORTION):
        chosen = joining.sequences(vocabulary, min(PORTION, count - portion), seed + portion)
        for tokens in chosen:
            try:
                joining.check(tokens)
            except Exception as e:  # any exception is a finding
                findings += 1
                if findings <= SHOWN:
                    print(f"finding: {tokens!r}: {e!r}", file=sys.stderr)
    return findings


def _speeds(vocabulary: Sequence[str]) -> dict[str, dict[str, float]]:
    """Thousands of tokens per second by kind of sequence: dropscribe, FunASR."""
    chosen = random.Random(1)
    letters = [t for t in vocabulary if re.fullmatch("[一-鿿]", t)]

    def some(share: float) -> list[list[str]]:
        return [
            [chosen.choice(WORDS if chosen.random() < share else letters) for _ in range(LENGTH)] + ["the"]
            for _ in range(TIMED)
        ]

    chinese = [[chosen.choice(letters) for _ in range(LENGTH)] for _ in range(TIMED)]
    return {
        name: {"ours": _timed(_ours, said), "funasr": _timed(_funasr, said)}
        for name, said in (("chinese", chinese), ("mixed", some(0.2)), ("english", some(1.0)))
    }


def _ours(tokens: list[str], spans: list[tuple[int, int]]) -> Any:
    """Join as `dropscribe.engine.models.text.hypotheses.hypothesis` does."""
    if (text := spacing.unspaced(tokens)) is not None:
        return text
    joined = join_tokens(tokens)
    return joined.text, [spans[i][0] for i in joined.firsts], [spans[i][1] for i in joined.lasts]


def _funasr(tokens: list[str], spans: list[tuple[int, int]]) -> Any:
    return sentence_postprocess(tokens, [list(s) for s in spans])


def _timed(join: Callable[..., Any], sequences: Sequence[list[str]]) -> float:
    spans = [[(20 * i, 20 * i + 11) for i in range(len(tokens))] for tokens in sequences]
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for tokens, places in zip(sequences, spans, strict=True):
            join(tokens, places)
        best = min(best, time.perf_counter() - began)
    return round(sum(map(len, sequences)) / best / 1000, 1)


if __name__ == "__main__":
    main()
