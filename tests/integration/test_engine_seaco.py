"""SeACo-Paraformer: text of each segment, with and without hotwords, equals FunASR's inference."""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dropscribe.engine.core.interfaces import NO_HOTWORDS, Hypothesis, Pcm, SpeechSegment
from dropscribe.engine.models import store
from dropscribe.engine.models.model_config import read_model_config
from dropscribe.engine.models.text.hotwords import complaint_of
from tests.support.engines import FUNASR_WARNS, segment
from tests.support.seaco import BRIM, CHARACTERS, FEW, MANY, ONE, Hotwords, pieces, random_seaco

MINI = store.BUNDLED / "paraformer-mini"
pytestmark = FUNASR_WARNS


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_seaco(tmp_path_factory.mktemp("seaco"))


@pytest.fixture(scope="module")
def loaded(directory: Path) -> Any:
    import torch

    from dropscribe.engine.models.loading import load

    torch.set_num_threads(1)
    return load(directory, torch.device("cpu"), 1)


def segments(wanted: Sequence[tuple[Pcm, Hotwords]]) -> list[SpeechSegment]:
    return [segment(p, i, hotwords=words) for i, (p, words) in enumerate(wanted)]


def funasr(loaded: Any, pcm: Pcm, hotwords: Hotwords, folder: Path) -> tuple[list[str], list[list[int]]]:
    """Text and positions by FunASR, which reads hotwords of several words from a file."""
    import torch

    options = loaded.options | {
        "tokenizer": loaded.tokenizer, "frontend": loaded.frontend, "device": "cpu", "hotword": None,
    }  # fmt: skip
    if hotwords:
        file = folder / "hotwords.txt"
        file.write_text("\n".join(hotwords), encoding="utf-8")
        options["hotword"] = str(file)
    with torch.no_grad():
        result = loaded.module.inference([pcm.astype(np.float32) / 32768], key=["it"], **options)
    return result[0][0]["text"].split(), result[0][0]["timestamp"]


def compare(loaded: Any, said: Sequence[Hypothesis], wanted: list[SpeechSegment], folder: Path) -> None:
    by_stream = {h.stream: h for h in said}
    for one in wanted:
        assert one.pcm is not None
        words, spans = funasr(loaded, one.pcm, one.options.hotwords, folder)
        tokens = by_stream[one.stream].tokens
        assert [t.text for t in tokens] == words
        assert [[t.start_ms, t.end_ms] for t in tokens] == spans


def test_a_batch_of_segments_with_different_hotwords_gives_what_each_gives_alone(
    loaded: Any, tmp_path: Path
) -> None:
    from dropscribe.engine.models.paraformer.recogniser import ParaformerRecogniser

    lists = ((), FEW, MANY, ONE, BRIM)
    wanted = segments(list(itertools.product(pieces(), lists)))
    said = ParaformerRecogniser(loaded)(wanted)
    compare(loaded, said, wanted, tmp_path)
    # The hotwords must change the text, or the test would prove nothing.
    longest = {
        h.text for h, s in zip(sorted(said, key=lambda h: h.stream), wanted, strict=True) if s.end_ms > 9_000
    }
    assert len(longest) == len(lists)


@pytest.mark.parametrize("silent", ["<unk>", "</s>", "<blank>"])
def test_hotwords_never_put_nothing_in_place_of_a_word(loaded: Any, silent: str) -> None:
    """Where the hotword decoder gives a token without text, FunASR loses a word (its issue 3302)."""
    from dropscribe.engine.models.paraformer.recogniser import ParaformerRecogniser

    (plain,) = ParaformerRecogniser(loaded)(segments([(pieces()[0], ())]))
    bias, preferred = loaded.module.hotword_output_layer.bias.data, loaded.tokenizer.token2id[silent]
    bias[preferred] += 1000.0
    try:
        (heard,) = ParaformerRecogniser(loaded)(segments([(pieces()[0], FEW)]))
    finally:
        bias[preferred] -= 1000.0
    assert heard.text == plain.text != ""
    assert heard.tokens == plain.tokens


def test_a_model_without_a_dictionary_spells_as_funasr_does(directory: Path, tmp_path: Path) -> None:
    import torch

    from dropscribe.engine.models.loading import load
    from dropscribe.engine.models.paraformer.recogniser import ParaformerRecogniser

    folder = tmp_path / "bare"
    shutil.copytree(directory, folder)
    (folder / "seg_dict").unlink()
    bare = load(folder, torch.device("cpu"), 1)
    # A word must be one token, or all of it is unknown.
    wanted = segments([(pieces()[0], ("丁", "丁七")), (pieces()[0], ("丁", "七 丈"))])
    said = ParaformerRecogniser(bare)(wanted)
    compare(bare, said, wanted, tmp_path)


def test_hotwords_are_encoded_once_for_all_batches_and_old_lists_are_forgotten(loaded: Any) -> None:
    from dropscribe.engine.models.paraformer.recogniser import LISTS_KEPT, ParaformerRecogniser

    recogniser = ParaformerRecogniser(loaded)
    runs: list[None] = []
    hook = loaded.module.bias_encoder.register_forward_hook(lambda *_: runs.append(None))
    short = pieces()[3]
    try:
        for _ in range(3):
            recogniser(segments([(short, FEW), (short, ONE), (short, ()), (short, tuple(FEW))]))
        assert len(runs) == 2
        recogniser(segments([(short, (word,)) for word in CHARACTERS[100 : 100 + LISTS_KEPT]]))
        recogniser(segments([(short, FEW)]))
        assert len(runs) == 2 + LISTS_KEPT + 1
    finally:
        hook.remove()


def test_a_bias_encoder_of_two_directions_reads_each_hotword_from_its_own_end(loaded: Any) -> None:
    import torch

    from dropscribe.engine.models.paraformer.seaco import BiasEncoder

    module, before = loaded.module, (loaded.module.bias_encoder, loaded.module.lstm_proj)
    wide = module.inner_dim
    torch.manual_seed(0)
    module.bias_encoder = torch.nn.LSTM(wide, wide, 2, batch_first=True, bidirectional=True)
    module.lstm_proj = torch.nn.Linear(2 * wide, wide)
    try:
        words = [[5, 6, 7, 8], [9], [10, 11]]
        lengths = torch.tensor([4, 1, 2, 1])
        padded = torch.tensor([[5, 6, 7, 8], [9, 0, 0, 0], [10, 11, 0, 0], [module.sos, 0, 0, 0]])
        with torch.inference_mode():
            wanted = module._hotword_representation(padded, lengths)
            torch.testing.assert_close(BiasEncoder(module)(words), wanted)
    finally:
        module.bias_encoder, module.lstm_proj = before


def test_unsupported_hotwords_are_reported(directory: Path, loaded: Any) -> None:
    import torch

    from dropscribe.engine.models.loading import load
    from dropscribe.engine.models.paraformer.recogniser import ParaformerRecogniser

    recogniser = ParaformerRecogniser(loaded)
    assert recogniser.complaint(MANY) == complaint_of(read_model_config(directory), MANY) == ""
    said = recogniser.complaint(FEW)
    # The doctor must find the same from the directory.
    assert complaint_of(read_model_config(directory), FEW) == said
    assert complaint_of(read_model_config(MINI), FEW) == NO_HOTWORDS
    assert said.startswith("2 of 4 hotwords")
    assert said.endswith(": 上x, hello")
    mini = ParaformerRecogniser(load(MINI, torch.device("cpu"), 1))
    assert mini.complaint(MANY) == NO_HOTWORDS
    with_words, without = segments([(pieces()[0], FEW), (pieces()[0], ())])
    (heard, plain) = sorted(mini([with_words, without]), key=lambda h: h.stream)
    assert heard.text == plain.text != ""
