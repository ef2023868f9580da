"""Characters a second of the search for numbers, and its score on the cases of the tests.

    python benchmarks/writing_numbers.py [--wetext]

`--wetext` also writes the same cases with the package wetext (`pip install wetext==0.1.8`), for comparison.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dropscribe.transcript.written import numbers

DATA = Path(__file__).resolve().parents[1] / "tests" / "unit" / "data"
TOKEN = re.compile(r"[\u3007\u3400-\u9fff]|[^\s\u3007\u3400-\u9fff]+")
PLAIN = "今天我们来讨论这个项目的情况大家都知道现在的进展还不错"
DATED = "二零二四年十一月二十八号下午三点二十分买了三千五百块钱的东西"
ENGLISH = "so today we talk about the project and everybody knows that things are going well for us"
#: Characters of speech that the daemon writes a second, at 30,000 times the speed of speech.
CHARACTERS_A_SECOND = 135_000


def rate(texts: Sequence[str], seconds: float = 1.0) -> float:
    """Characters a second of processor time."""
    characters, rounds, begun = sum(map(len, texts)), 0, time.process_time()
    while (spent := time.process_time() - begun) < seconds:
        numbers.replacements(texts)
        rounds += 1
    return characters * rounds / spent


def written(spoken: str) -> str:
    texts, out, at = TOKEN.findall(spoken), [], 0
    for one in numbers.replacements(texts):
        out += [*texts[at : one.first], one.text]
        at = one.end
    return " ".join([*out, *texts[at:]])


def score(write: Callable[[str], str]) -> str:
    right = total = 0
    begun = time.process_time()
    for path in sorted(DATA.glob("numbers_*.tsv")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("#"):
                continue
            spoken, expected, _ = line.split("\t")
            total += 1
            right += re.sub(r"\s", "", write(spoken)).lower() == re.sub(r"\s", "", expected).lower()
    return f"{right} of {total} cases, {(time.process_time() - begun) / total * 1e6:.0f} µs each"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wetext", action="store_true")
    chosen = parser.parse_args()
    usual = PLAIN * 24 + DATED
    for name, texts in (
        ("no numerals, characters", PLAIN * 10),
        ("no numerals, tokens", (*PLAIN * 10, "ok")),
        ("no numerals, English", tuple(ENGLISH.split() * 5)),
        ("a number in 97 characters", usual),
        ("the same, tokens", (*usual, "ok")),
        ("numbers only", DATED * 5),
    ):
        measured = rate(texts)
        share = CHARACTERS_A_SECOND / measured
        print(
            f"{name}: {measured / 1e6:.2f} M characters/s, {share:.1%} of one core at {CHARACTERS_A_SECOND:,}/s"
        )
    print(f"dropscribe: {score(written)}")
    if chosen.wetext:
        from wetext import Normalizer  # noqa: PLC0415 - an optional comparison

        chinese, english = (Normalizer(lang=lang, operator="itn") for lang in ("zh", "en"))
        print(f"wetext: {score(lambda said: (english if said.isascii() else chinese).normalize(said))}")


if __name__ == "__main__":
    main()
