"""Joining of SentencePiece tokens to words with spaces and spans."""

from __future__ import annotations

import pytest

from dropscribe.engine.models.text.pieces import Pieces


def words(*pieces: str) -> tuple[str, list[str], list[tuple[int, int]]]:
    """Words of consecutive pieces of 10 ms each."""
    vocabulary = Pieces(["<unk>", "<s>", *pieces], [True, True] + [False] * len(pieces))
    ids = [1, *range(2, 2 + len(pieces))]
    said = vocabulary.words(ids, [(i * 10, i * 10 + 10) for i in range(len(ids))])
    return said.text, said.words, said.spans


@pytest.mark.parametrize(
    ("pieces", "text", "expected"),
    [
        (["The", "▁tri", "bal", "▁chief"], "The tribal chief", ["The", "tribal", "chief"]),
        (["▁the", "▁park"], "the park", ["the", "park"]),
        (["今", "天", "▁the", "▁park", "散"], "今天 the park散", ["今", "天", "the", "park", "散"]),
        (["用", "i", "Phone", "打"], "用iPhone打", ["用", "iPhone", "打"]),
        (["▁", "안", "녕", "▁", "여", "러"], "안녕 여러", ["안녕", "여러"]),
        (["好", "，", "我", "。"], "好，我。", ["好，", "我。"]),
        (["好", "，", "hello", "!"], "好，hello!", ["好，", "hello!"]),
        (["▁don", "'", "t", "▁pay", "▁3", ".", "5", "%"], "don't pay 3.5%", ["don't", "pay", "3.5%"]),
        (["call", "▁911", "▁112"], "call 911 112", ["call", "911", "112"]),
        (["看", "《", "书", "》", "吧"], "看《书》吧", ["看", "《书》", "吧"]),
        (['▁"', "yes", '"', "▁said"], '"yes" said', ['"yes"', "said"]),
        (["<|zh|>", "<|Speech|>", "好", "<|BGM|>", "吧"], "好吧", ["好", "吧"]),
        (["▁a", "▁<|BGM|>", "▁b"], "a b", ["a", "b"]),
        (["<0xE9>", "<0xBE>", "<0x98>", "年"], "\u9f98年", ["\u9f98", "年"]),
        (["。", "好"], "。好", ["。", "好"]),
        (["<|nospeech|>"], "", []),
        (["▁"], "", []),
    ],
)  # fmt: skip
def test_pieces_become_words(pieces: list[str], text: str, expected: list[str]) -> None:
    said, found, spans = words(*pieces)
    assert (said, found) == (text, expected)
    assert len(spans) == len(found)


def test_a_word_lasts_from_its_first_piece_to_its_last() -> None:
    assert words("▁chief", "tain", "▁is")[2] == [(10, 30), (30, 40)]
    assert words("<0xE9>", "<0xBE>", "<0x98>", "年")[2] == [(10, 40), (40, 50)]


def test_punctuation_takes_no_time() -> None:
    assert words("好", "，", "我")[2] == [(10, 20), (30, 40)]
    assert words("《", "书", "》")[2] == [(20, 30)]


def test_invalid_bytes_become_replacement_characters() -> None:
    assert words("<0xE9>", "a")[0] == "\ufffda"
