"""Punctuation models with random weights, texts for them, and FunASR's own marks."""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from dropscribe.engine.core.interfaces import Hypothesis, SpeechSegment
from dropscribe.engine.models import store
from dropscribe.engine.models.model_config import read_model_config
from dropscribe.engine.models.text import spacing
from dropscribe.engine.protocol import StreamOptions
from dropscribe.transcript.types import Tokens
from tests.support.models import save

MINI = store.BUNDLED / "ct-punc-mini"
#: Width, heads, blocks and feed-forward units of the official models.
LARGE = (516, 12, 12, 2048)
CHARACTERS = (256, 8, 4, 1024)
#: Sentences of which texts are drawn, as tokens of a recogniser.
SENTENCES = [
    *(
        list(sentence)
        for sentence in (
            "甚至出现交易几乎停滞的情况", "我们今天讨论一下明年的工作计划", "你觉得这个办法怎么样", "大家好欢迎收听今天的节目",
            "他说明天下午三点到北京开会", "这本书的作者是一位年轻的医生", "请问去火车站应该怎么走", "经济发展需要科学技术的支持",
            "因为昨天下了一场大雨所以比赛改在星期三举行", "苹果香蕉和梨都卖完了", "中国的人口超过十三亿", "一下子就忘记了",
        )
    ),
    [*"我们用", "python", *"写了一个", "demo"],
    ["yesterday", "was", *"星期一", "today", "is", "tuesday"],
    ["AT&T", *"公司在", "2024", *"年发布了", "5g", *"手机"],
    ["don't", "worry", "about", "café", *"的价格"],
]  # fmt: skip


def drawn_text(characters: int, seed: int) -> list[str]:
    """Tokens of a text of at least so many characters."""
    rng = random.Random(seed)
    tokens: list[str] = []
    while sum(map(len, tokens)) < characters:
        tokens += rng.choice(SENTENCES)
    return tokens


def divided(tokens: Sequence[str], seed: int, longest: int = 60) -> list[list[str]]:
    """The tokens in segments of random lengths."""
    rng = random.Random(seed)
    parts: list[list[str]] = []
    at = 0
    while at < len(tokens):
        count = rng.randrange(longest)
        parts.append(list(tokens[at : at + count]))
        at += count
    return parts


def segment_of(
    index: int, texts: Sequence[str], stream: int = 1, model: str = "auto"
) -> tuple[SpeechSegment, Hypothesis]:
    """A recognised segment of a stream that is to be punctuated."""
    segment = SpeechSegment(stream, index, 0, 1000, 16_000, 0.0, StreamOptions(punctuation=model))
    times = range(len(texts))
    return segment, Hypothesis(stream, index, spacing.join(texts), Tokens(texts, times, times))


def random_model(
    folder: Path,
    sizes: tuple[int, int, int, int],
    *,
    dictionary: Sequence[str] = (),
    words: Sequence[str] = (),
) -> Path:
    """A model of the given sizes (see `LARGE`) with random weights that set all marks.

    `dictionary`: lines of a user dictionary. `words`: the vocabulary, by default those of `SENTENCES`.
    """
    import torch

    from dropscribe.engine.models.punctuation.config import read_config
    from dropscribe.engine.models.punctuation.network import Parameters

    width, heads, blocks, units = sizes
    folder.mkdir(parents=True, exist_ok=True)
    config = yaml.safe_load((MINI / "config.yaml").read_text(encoding="utf-8"))
    config["model_conf"].update(embed_unit=width, att_unit=width)
    config["encoder_conf"].update(
        input_size=width, output_size=width, attention_heads=heads, linear_units=units, num_blocks=blocks
    )
    (folder / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    files: dict[str, Any] = {"init_param": "model.pt", "config": "config.yaml"}
    files["tokenizer_conf"] = {"token_list": "tokens.json"}
    if dictionary:
        files["jieba_usr_dict"] = "jieba_usr_dict"
        (folder / "jieba_usr_dict").write_text("\n".join(dictionary), encoding="utf-8")
    (folder / "configuration.json").write_text(json.dumps({"file_path_metas": files}), encoding="utf-8")
    spoken = {word for sentence in SENTENCES for word in (*sentence, *_pairs(sentence))}
    (folder / "tokens.json").write_text(json.dumps([*(words or sorted(spoken)), "<unk>"]), encoding="utf-8")
    (folder / "model.pt").touch()
    torch.manual_seed(3)
    module = Parameters(read_config(read_model_config(folder)))
    with torch.no_grad():
        module.embed.weight.normal_()
        # Sentences of some 15 words.
        module.decoder.weight.mul_(2.0)
        module.decoder.bias.copy_(torch.tensor([-9.0, 2.0, 0.4, 0.2, 0.0, 0.0]))
    save(module.state_dict(), folder / "model.pt")
    return folder


def _pairs(sentence: Sequence[str]) -> list[str]:
    return [a + b for a, b in pairwise(sentence)]


def funasr_marks(directory: Path) -> Callable[[str], tuple[list[str], list[int]]]:
    """FunASR's own model: text → its words, and the mark after each."""
    import jieba
    import torch
    from funasr import AutoModel
    from funasr.models.ct_transformer import model as funasr_model

    options = dict(read_model_config(directory).options)
    dictionary = options.pop("jieba_usr_dict", None)
    module, built = AutoModel.build_model(**options, device="cpu", disable_update=True)
    weights = torch.load(directory / "model.pt", weights_only=True)
    module.load_state_dict({name: value.float() for name, value in weights.items()})
    # FunASR loads the dictionary into jieba's global one, where it would stay for other tests.
    cutter = None
    if dictionary is not None:
        jieba.setLogLevel(60)
        cutter = jieba.Tokenizer()
        with Path(dictionary).open("rb") as file:
            cutter.load_userdict(file)
    split_words = funasr_model.split_words

    def marks(text: str) -> tuple[list[str], list[int]]:
        words = split_words(text, jieba_usr_dict=cutter)
        # With a dictionary FunASR would spread the marks over characters, but not for all words.
        funasr_model.split_words = lambda *_, **__: list(words)
        try:
            with torch.inference_mode():
                results, _ = module.inference([text], key=["a"], tokenizer=built["tokenizer"], device="cpu")
        finally:
            funasr_model.split_words = split_words
        return words, [max(0, int(number) - 1) for number in results[0]["punc_array"]]

    return marks
