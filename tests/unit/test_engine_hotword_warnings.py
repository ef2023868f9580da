"""Unsupported hotwords are reported once."""

from __future__ import annotations

from collections.abc import Sequence

from dropscribe.engine.core.hotword_warnings import HotwordWarnings
from dropscribe.engine.core.interfaces import NO_HOTWORDS
from dropscribe.engine.models.text.hotwords import Spelling


def test_a_model_without_hotword_support_warns_once() -> None:
    said: list[str] = []
    warnings = HotwordWarnings(lambda _: NO_HOTWORDS, said.append)
    for words in ((), ("达摩院",), ("阿里",), ("达摩院",)):
        warnings.check(words)
    assert said == [NO_HOTWORDS]


def test_each_list_is_checked_once_and_only_problems_are_reported() -> None:
    spelling = Spelling({"达": 5, "摩": 6, "院": 7, "<unk>": 8}, 8, {c: (c,) for c in "达摩院"})
    asked: list[tuple[str, ...]] = []

    def complaint(hotwords: Sequence[str]) -> str:
        asked.append(tuple(hotwords))
        return spelling.complaint(hotwords)

    said: list[str] = []
    good, bad = ("达摩院",), ("达摩院", "达X", "阿里", "院")
    warnings = HotwordWarnings(complaint, said.append)
    for words in (good, bad, good, bad):
        warnings.check(words)
    assert asked == [good, bad]
    (text,) = said
    assert text.startswith("2 of 4 hotwords")
    assert text.endswith(": 达X, 阿里")
