"""Punctuation as a stage of the engine: the marks of FunASR, however segments arrive."""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dropscribe.config import EngineSettings, Models
from dropscribe.engine.models import store
from dropscribe.engine.models.model_config import read_model_config
from dropscribe.engine.models.punctuation.words import CharacterSplitter, Vocabulary
from dropscribe.engine.models.text import spacing
from dropscribe.engine.protocol import PLAIN, StreamOptions
from dropscribe.errors import EngineError, OutOfDeviceMemoryError
from dropscribe.transcript.roles import ASR, PUNCTUATION, ModelSet
from dropscribe.transcript.written import marks
from tests.support.engines import FUNASR_WARNS, assembled
from tests.support.models import change, change_list, copy_of, save, weights_of
from tests.support.punctuation import (
    CHARACTERS,
    LARGE,
    MINI,
    divided,
    drawn_text,
    funasr_marks,
    random_model,
    segment_of,
)

if TYPE_CHECKING:
    from dropscribe.engine.models.punctuation.model import PunctuationModel
    from dropscribe.engine.models.punctuation.stage import Punctuation

pytestmark = FUNASR_WARNS
#: A user dictionary: words that jieba has and has not, with and without frequency, one of them twice.
USER_WORDS = [
    "工作计划",
    "交易几乎 3",
    "好欢迎 40 n",
    "5g手机",
    "下一场 0",
    "的人",
    "年轻的医生 1000",
    "的人 77",
]


@cache
def loaded(directory: Path) -> PunctuationModel:
    import torch

    from dropscribe.engine.models.punctuation.model import PunctuationModel

    torch.set_num_threads(1)
    return PunctuationModel(read_model_config(directory), torch.device("cpu"))


def stage_of(model: Any, passes: int = 4) -> Punctuation:
    from dropscribe.engine.models.punctuation.stage import Punctuation

    return Punctuation("auto", model, passes=passes)


def marks_of(stage: Punctuation, segments: Sequence[Sequence[str]], seed: int, stream: int = 1) -> bytes:
    """The marks of a stream whose segments arrive in any order, some of them together."""
    rng = random.Random(seed)
    order = rng.sample(range(len(segments)), len(segments))
    while order:
        count = rng.randrange(1, 5)
        batch = [segment_of(i, segments[i], stream) for i in order[:count]]
        stage.recognised([s for s, _ in batch], [h for _, h in batch])
        order = order[count:]
    return stage.finish([stream])[stream].marks


def expected(
    funasr: Callable[[str], tuple[list[str], list[int]]], segments: Sequence[Sequence[str]]
) -> bytes:
    """FunASR's marks at the tokens in which its words end."""
    tokens = [token for texts in segments for token in texts]
    text = " ".join(spacing.join(texts) for texts in segments)
    words, found = funasr(text)
    assert len(words) == len(found)
    made = bytearray(len(tokens))
    letters = reached = token = 0
    for word, mark in zip(words, found, strict=True):
        letters += len(word)
        while reached < letters:
            reached += len(tokens[token])
            token += 1
        made[token - 1] = mark or made[token - 1]
    return bytes(made)


@pytest.fixture(scope="module")
def mini() -> PunctuationModel:
    return loaded(MINI)


def test_the_bundled_model_sets_the_marks_of_funasr_in_any_order_and_division(mini: PunctuationModel) -> None:
    funasr = funasr_marks(MINI)
    tokens = drawn_text(500, 1)
    for seed, passes in enumerate((1, 4, 1000)):
        segments = divided(tokens, seed)
        made = marks_of(stage_of(mini, passes=passes), segments, seed)
        assert made == expected(funasr, segments)
        assert made[-1] in marks.ENDS
    # All at once: windows are guessed and repaired.
    assert marks_of(stage_of(mini, passes=0), [tokens], 0) == expected(funasr, [tokens])


@pytest.mark.parametrize(
    ("sizes", "blocks", "dictionary", "characters"),
    [
        pytest.param(CHARACTERS, 2, (), 500, id="c"),
        pytest.param(LARGE, 2, USER_WORDS, 500, id="large"),
        pytest.param(None, 0, (), 100_000, id="long-mini", marks=pytest.mark.soak),
        pytest.param(CHARACTERS, 4, (), 100_000, id="long-c", marks=pytest.mark.soak),
        pytest.param(LARGE, 12, USER_WORDS, 100_000, id="long-large", marks=pytest.mark.soak),
    ],
)
def test_models_of_the_official_sizes_set_the_marks_of_funasr(
    sizes: tuple[int, int, int, int] | None,
    blocks: int,
    dictionary: Sequence[str],
    characters: int,
    tmp_path: Path,
) -> None:
    folder = MINI
    if sizes is not None:
        width, heads, _, units = sizes
        folder = random_model(tmp_path / "model", (width, heads, blocks, units), dictionary=dictionary)
    segments = divided(drawn_text(characters, 2), 2)
    found = marks_of(stage_of(loaded(folder)), segments, 3)
    assert found == expected(funasr_marks(folder), segments)
    assert {marks.COMMA, marks.FULL_STOP} <= set(found)
    if sizes is not None:
        assert {marks.QUESTION, marks.PAUSE} <= set(found)
    if characters > 500:
        assert marks_of(stage_of(loaded(folder), passes=0), segments, 4) == found


def test_texts_do_not_depend_on_each_other(mini: PunctuationModel) -> None:
    texts = {stream: divided(drawn_text(150, stream), stream) for stream in range(1, 5)}
    alone = {stream: marks_of(stage_of(mini), segments, stream, stream) for stream, segments in texts.items()}
    stage = stage_of(mini)
    arrivals = [
        segment_of(i, s, stream) for stream, segments in texts.items() for i, s in enumerate(segments)
    ]
    random.Random(1).shuffle(arrivals)
    for first in range(0, len(arrivals), 5):
        batch = arrivals[first : first + 5]
        stage.recognised([s for s, _ in batch], [h for _, h in batch])
    together = stage.finish(list(texts))
    assert {stream: made.marks for stream, made in together.items()} == alone
    assert all(dict(made.seconds)["punctuation"] > 0 for made in together.values())


def test_words_are_those_of_jieba_with_the_user_dictionary(tmp_path: Path) -> None:
    import jieba

    from dropscribe.engine.models.punctuation.dictionary import Dictionary

    path = tmp_path / "jieba_usr_dict"
    path.write_text("\n".join(["\ufeff新词", "", *USER_WORDS, "好 0", "AB"]), encoding="utf-8")
    jieba.setLogLevel(60)
    theirs, ours = jieba.Tokenizer(), Dictionary(path)
    with path.open("rb") as file:
        theirs.load_userdict(file)
    text = "".join(drawn_text(3000, 7)) + "年轻的医生，5g手机好欢迎ABAB3.5%𠀀日本ァ"
    words = ours.cut(text)
    assert words == list(theirs.cut(text, HMM=False))
    # Cut piece by piece, each up to where nothing that follows matters.
    pieces, rest = [], ""
    for first in range(0, len(text), 37):
        rest += text[first : first + 37]
        settled = ours.settled(rest)
        pieces += ours.cut(rest[:settled])
        rest = rest[settled:]
        assert len(rest) < 100
    assert pieces + ours.cut(rest) == words


class Constant:
    """A model that sets the same mark everywhere."""

    def __init__(self, mark: int) -> None:
        self.mark = mark

    splitter = CharacterSplitter(Vocabulary({}, 0))

    def read(self, windows: Sequence[Any]) -> bytes:
        return bytes((self.mark,)) * sum(map(len, windows))


@pytest.mark.parametrize(
    ("last", "mark", "becomes"),
    [
        ("you", marks.NONE, marks.FULL_STOP),
        ("you.", marks.NONE, marks.NONE),
        ("好", marks.COMMA, marks.FULL_STOP),
        ("好", marks.PAUSE, marks.FULL_STOP),
        ("you", marks.QUESTION, marks.QUESTION),
        ("好。", marks.COMMA, marks.FULL_STOP),
    ],
)
def test_a_text_ends_with_a_sentence_end(last: str, mark: int, becomes: int) -> None:
    assert marks_of(stage_of(Constant(mark)), [["see", last]], 0) == bytes((mark, becomes))


def test_a_text_without_words_has_no_marks() -> None:
    assert marks_of(stage_of(Constant(marks.COMMA)), [[], []], 0) == b""


def test_streams_choose_their_model(mini: PunctuationModel) -> None:
    stage = stage_of(mini)
    assert not stage.wants(PLAIN)
    assert stage.wants(StreamOptions(punctuation="auto"))
    assert not stage.wants(StreamOptions(punctuation="ct-punc"))


def test_a_stream_that_is_dropped_leaves_nothing(mini: PunctuationModel) -> None:
    stage = stage_of(mini)
    segment, hypothesis = segment_of(0, "好")
    stage.recognised([segment], [hypothesis])
    stage.drop(1)
    assert stage.finish([1]) == {}
    assert not stage._texts


def test_a_pass_that_does_not_fit_the_device_is_divided_and_a_failed_call_may_be_repeated(
    mini: PunctuationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments = divided(drawn_text(900, 8), 8)
    want = marks_of(stage_of(mini, passes=0), segments, 0)
    network, room = mini._network, 200

    def small(windows: Sequence[Any]) -> bytes:
        if sum(map(len, windows)) > room:
            raise OutOfDeviceMemoryError("too many words", operation="recognise")
        return network(windows)

    monkeypatch.setattr(mini, "_network", small)
    monkeypatch.setattr(mini, "_most_words", 1 << 16)
    assert marks_of(stage_of(mini, passes=0), segments, 0) == want
    assert mini._most_words <= 256
    stage, room = stage_of(mini, passes=0), 0
    with pytest.raises(OutOfDeviceMemoryError):
        marks_of(stage, segments, 0)
    room = 200
    assert stage.finish([1])[1].marks == want


def _encoder(**values: Any) -> Callable[[Path], object]:
    return lambda folder: change(folder, lambda config: config["encoder_conf"].update(values))


def _model(**values: Any) -> Callable[[Path], object]:
    return lambda folder: change(folder, lambda config: config["model_conf"].update(values))


def _write(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content, encoding="utf-8")


#: Damage to a model directory, and a part of the message.
DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no vocabulary": (lambda folder: (folder / "tokens.json").unlink(), "lacks tokens.json"),
    "vocabulary of something else": (_write("tokens.json", '{"a": 1}'), "not a list of words"),
    "vocabulary cut short": (_write("tokens.json", '["a", '), "not a list of words in JSON"),
    "a word twice": (_write("tokens.json", '["a", "a", "<unk>"]'), "a word twice"),
    "no unknown word": (_write("tokens.json", '["a"]'), "no <unk>"),
    "smaller vocabulary": (_write("tokens.json", '["a", "<unk>"]'), "lacks 1 of the model's parameters"),
    "huge layers": (_encoder(linear_units=1 << 40), "linear_units"),
    "a million layers": (_encoder(num_blocks=1_000_000), "num_blocks"),
    "sizes that are no numbers": (_encoder(attention_heads="four"), "attention_heads"),
    "heads that do not divide it": (_encoder(attention_heads=5), "do not fit together"),
    "other layers": (_encoder(input_layer="conv2d"), "input_layer"),
    "no marks": (_model(punc_list=None), "no list of marks"),
    "another end": (_model(sentence_end_id=2), "sentence_end_id"),
    "another width": (_model(embed_unit=100), "differ in width"),
    "a dictionary that is missing": (
        lambda folder: change_list(folder, lambda files: files.update(jieba_usr_dict="jieba_usr_dict")),
        "lacks jieba_usr_dict",
    ),
    "a dictionary elsewhere": (
        lambda folder: change_list(folder, lambda files: files.update(jieba_usr_dict="/etc/passwd")),
        "outside the directory",
    ),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_or_hostile_directory_is_refused(damage: str, tmp_path: Path) -> None:
    import torch

    from dropscribe.engine.models.punctuation.model import PunctuationModel

    folder = copy_of(MINI, tmp_path / "model")
    spoil, part = DAMAGED[damage]
    spoil(folder)
    with pytest.raises(EngineError, match=part):
        PunctuationModel(read_model_config(folder), torch.device("cpu"))


def test_weights_that_would_run_code_are_refused(tmp_path: Path) -> None:
    import torch

    from dropscribe.engine.models.punctuation.model import PunctuationModel

    folder = copy_of(MINI, tmp_path / "model")
    save(weights_of(MINI) | {"payload": print}, folder / "model.pt")
    with pytest.raises(EngineError, match="would run code"):
        PunctuationModel(read_model_config(folder), torch.device("cpu"))


def test_a_dictionary_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dropscribe.engine.models.punctuation import dictionary

    path = tmp_path / "jieba_usr_dict"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EngineError, match="not UTF-8"):
        list(dictionary._entries(path))
    path.write_text(f"词 {10**30}\n", encoding="utf-8")
    with pytest.raises(EngineError, match="too frequent"):
        list(dictionary._entries(path))
    monkeypatch.setattr(dictionary, "LARGEST", 3)
    with pytest.raises(EngineError, match="larger than"):
        list(dictionary._entries(path))


def test_models_are_refused_in_another_role() -> None:
    def fetch(name: str) -> Path:
        raise AssertionError(name)

    assert store.resolve("ct-punc-mini", PUNCTUATION, fetch).bundled
    with pytest.raises(EngineError, match="CTTransformer, a punctuation model"):
        store.resolve("ct-punc-mini", ASR, fetch)
    with pytest.raises(EngineError, match="no punctuation model"):
        store.resolve("vad-mini", PUNCTUATION, fetch)


def test_the_engine_loads_the_models_that_profiles_name(tmp_path: Path) -> None:
    models = Models(asr="paraformer-mini", vad="vad-mini")
    settings = EngineSettings(models=models, device="cpu", threads=1)
    loaded = assembled(settings)
    assert loaded.roles == {"asr", "vad", "punctuation"}, "nobody asked for speakers"
    assert dict(loaded.facts.models)[PUNCTUATION] == "ct-punc-mini"
    missing = settings.model_copy(
        update={"sets": (ModelSet("paraformer-mini", "vad-mini", str(tmp_path / "none")),)}
    )
    with pytest.raises(EngineError, match="there is no such directory") as caught:
        assembled(missing)
    assert caught.value.operation == "load punctuation model"
