"""Unsupported hotwords are reported once."""

from __future__ import annotations

from collections.abc import Sequence

from dropscribe.engine.core.hotword_warnings import HotwordWarnings
from dropscribe.engine.models.text.hotwords import NO_HOTWORDS, Spelling
from dropscribe.engine.protocol import Abort, PcmBlock, StreamOptions


class Script:
    def __init__(self, *turns: list[PcmBlock | Abort]) -> None:
        self.turns = list(turns)

    def take(self, timeout_s: float | None) -> Sequence[PcmBlock | Abort]:
        return self.turns.pop(0)


def block(stream: int, *hotwords: str) -> PcmBlock:
    return PcmBlock(stream, 0, 160, final=False, options=StreamOptions(hotwords))


def test_a_model_without_hotword_support_warns_once_and_every_message_passes() -> None:
    turns: list[list[PcmBlock | Abort]] = [
        [block(1), Abort(2)], [block(3, "达摩院"), block(4, "阿里"), block(3)], [block(5, "达摩院")],
    ]  # fmt: skip
    said: list[str] = []
    notes = HotwordWarnings(Script(*turns), lambda _: NO_HOTWORDS, said.append)
    assert [list(notes.take(0.0)) for _ in range(3)] == turns
    assert said == [NO_HOTWORDS]


def test_each_list_is_checked_once_and_only_problems_are_reported() -> None:
    spelling = Spelling({"达": 5, "摩": 6, "院": 7, "<unk>": 8}, 8, {c: (c,) for c in "达摩院"})
    asked: list[tuple[str, ...]] = []

    def complaint(hotwords: Sequence[str]) -> str:
        asked.append(tuple(hotwords))
        return spelling.complaint(hotwords)

    said: list[str] = []
    good, bad = block(1, "达摩院"), block(2, "达摩院", "达X", "阿里", "院")
    notes = HotwordWarnings(Script([good, bad], [good, bad]), complaint, said.append)
    notes.take(None)
    notes.take(None)
    assert asked == [good.options.hotwords, bad.options.hotwords]
    (text,) = said
    assert text.startswith("2 of 4 hotwords")
    assert text.endswith(": 达X, 阿里")
