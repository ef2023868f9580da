"""A Paraformer with a SentencePiece vocabulary: text equals FunASR's, and words have the times of their pieces."""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dropscribe.config import EngineSettings
from dropscribe.engine.core.interfaces import Hypothesis, Pcm, SpeechSegment
from tests.support.engines import FUNASR_WARNS, assembled, on_cpu, segment
from tests.support.models import (
    MINI,
    change,
    change_list,
    copy_of,
    sentence_pieces,
    speaking,
    with_random_weights,
)
from tests.support.seaco import pieces

pytestmark = FUNASR_WARNS

#: English, and a mixed text with single-character tokens and byte tokens.
TEXTS = {
    "en": "the quick brown fox jumps over the lazy dog and runs home again. it's a fine day in the park, they said",
    "mixed": "今天天气 很好 the fox 说 hello world 。你好，世界 isn't it",
}


def narrow(config: dict[str, Any]) -> None:
    """Configuration with few narrow layers, since the weights are random."""
    config["encoder_conf"] |= {"output_size": 64, "linear_units": 128, "num_blocks": 2}
    config["decoder_conf"] |= {"linear_units": 128, "num_blocks": 2, "att_layer_num": 2}
    config["predictor_conf"]["idim"] = 64
    config["tokenizer"] = "SentencepiecesTokenizer"
    config["tokenizer_conf"] = {"unk_symbol": "<unk>", "split_with_space": True}


def plain(config: dict[str, Any]) -> None:
    """Paraformer without timestamps, like paraformer-en."""
    narrow(config)
    config["model"], config["predictor"] = "Paraformer", "CifPredictorV2"
    for name in ("smooth_factor2", "noise_threshold2", "upsample_times", "use_cif1_cnn", "upsample_type"):
        del config["predictor_conf"][name]


def seaco(config: dict[str, Any]) -> None:
    narrow(config)
    config["model"] = "SeacoParaformer"
    more = {"inner_dim": 64, "bias_encoder_type": "lstm", "bias_encoder_bid": False, "NO_BIAS": 3}
    config["model_conf"] |= more
    config["seaco_decoder"] = config["decoder"]
    config["seaco_decoder_conf"] = config["decoder_conf"] | {
        "num_blocks": 6, "att_layer_num": 6, "use_output_layer": False, "wo_input_layer": True,
    }  # fmt: skip


def made(folder: Path, edit: Any, text: str) -> Path:
    copy_of(MINI, folder)
    (folder / "tokens.json").unlink()
    (folder / "spm.model").write_bytes(sentence_pieces(text, 55))
    change(folder, edit)
    change_list(folder, lambda files: files.update(tokenizer_conf={"bpemodel": "spm.model"}))
    return with_random_weights(folder, partial(speaking, tokens_per_s=6.0))  # a token also in 0.3 s


def said_by(loaded: Any, pcms: Sequence[Pcm], hotwords: tuple[str, ...] = ()) -> list[Hypothesis]:
    from dropscribe.engine.models.paraformer.recogniser import ParaformerRecogniser

    said = ParaformerRecogniser(loaded)(
        [segment(p, i, start_ms=1000, hotwords=hotwords) for i, p in enumerate(pcms)]
    )
    return sorted(said, key=lambda h: h.stream)


@pytest.mark.parametrize("text", TEXTS)
def test_its_text_equals_funasrs(text: str, tmp_path: Path) -> None:
    from funasr import AutoModel

    folder = made(tmp_path / "m", plain, TEXTS[text])
    model: Any = AutoModel(model=str(folder), device="cpu", ncpu=1, disable_update=True, disable_pbar=True)
    for one, pcm in zip(said_by(on_cpu(folder), pieces()), pieces(), strict=True):
        wanted = model.generate(input=pcm.astype(np.float32) / 32768, fs=16_000)[0]["text"]
        assert one.text.split() == wanted.split()
        assert one.text
        assert one.text.replace(" ", "") == "".join(token.text for token in one.tokens)
        # Without timestamps words are spread over the segment, in order.
        bounds = [bound for token in one.tokens for bound in (token.start_ms, token.end_ms)]
        assert bounds == sorted(bounds)
        assert bounds[0] == 1000


@pytest.mark.parametrize("edit", [narrow, seaco])
def test_a_word_lasts_from_its_first_piece_to_its_last(edit: Any, tmp_path: Path) -> None:
    """Compared with the times of the pieces, because FunASR treats each letter of the text as a token."""
    from dropscribe.engine.layers.fbank import sound_of
    from dropscribe.engine.models.paraformer.forward import DecodedBatch, PaddedForward
    from dropscribe.engine.models.paraformer.timestamps import times_of

    folder = made(tmp_path / "m", edit, TEXTS["en"])
    loaded = on_cpu(folder)
    processor = loaded.tokenizer.sp
    said = said_by(loaded, pieces())
    several = 0
    for one, pcm in zip(said, pieces(), strict=True):
        spoken = PaddedForward(loaded.module, loaded.frontend, loaded.device)(
            [sound_of(segment(pcm))], [None]
        )[0]
        decoded = DecodedBatch.of([spoken])
        assert decoded.fires is not None
        times = times_of(*decoded.fires, decoded.bounds, decoded.frames, [1000])
        assert not times.unplaced
        columns = times.columns(0, len(spoken.ids))
        words: list[list[Any]] = []
        for number, start, end in zip(spoken.ids, *columns, strict=True):
            piece = processor.IdToPiece(number)
            if piece.startswith("▁") or not words:
                words.append([piece.removeprefix("▁"), start, end])
            elif piece in ",.":
                words[-1][0] += piece  # punctuation gives a word no time
            else:
                words[-1][0] += piece
                words[-1][2] = end
                several += 1
        words = [word for word in words if word[0]]
        found: list[list[Any]] = [[t.text, t.start_ms, t.end_ms] for t in one.tokens]
        assert [w[0] for w in found] == [w[0] for w in words]
        assert one.text.split() == processor.DecodeIds(spoken.ids).split()
        assert [w for w in found if w[0].isalpha()] == [w for w in words if w[0].isalpha()]
    assert several > 5


def test_hotwords_are_spelt_in_pieces_and_heard(tmp_path: Path) -> None:
    folder = made(tmp_path / "m", seaco, TEXTS["en"])
    loaded = on_cpu(folder)
    from dropscribe.engine.models.paraformer.recogniser import ParaformerRecogniser

    recogniser = ParaformerRecogniser(loaded)
    assert recogniser.complaint(["fox", "the lazy dog"]) == ""
    assert recogniser.complaint(["fox", "漢"]).startswith("1 of 2 hotwords")
    spelling = recogniser._spelling
    assert spelling.numbers_of("fox") == loaded.tokenizer.sp.EncodeAsIds("fox")
    assert [h.text for h in said_by(loaded, pieces(), ("fox", "lazy dog", "漢"))]


def test_a_list_of_tokens_that_are_pieces_is_joined_in_the_same_way(tmp_path: Path) -> None:
    folder = made(tmp_path / "m", narrow, TEXTS["en"])
    wanted = said_by(on_cpu(folder), pieces())
    processor = on_cpu(folder).tokenizer.sp
    tokens = [processor.IdToPiece(i) for i in range(processor.GetPieceSize())]
    (folder / "tokens.json").write_text(json.dumps(tokens), encoding="utf-8")
    change(folder, lambda config: config.update(tokenizer="CharTokenizer"))
    change_list(folder, lambda files: files.update(tokenizer_conf={"token_list": "tokens.json"}))
    assert said_by(on_cpu(folder), pieces()) == wanted


def test_the_engine_starts_with_it(tmp_path: Path) -> None:
    folder = made(tmp_path / "m", plain, TEXTS["en"])
    loaded = assembled(EngineSettings(model=str(folder), vad_model="vad-mini", device="cpu"))
    wanted: list[SpeechSegment] = [segment(pieces()[0])]
    assert next(iter(loaded.recogniser(wanted))).text
